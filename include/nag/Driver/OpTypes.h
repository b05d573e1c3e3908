// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Types of ops that are built by hand as text.
#ifndef NAG_DRIVER_OPTYPES_H
#define NAG_DRIVER_OPTYPES_H

#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace nag::driver {

/// The result types of `op` ("nag.linear") on operands of these types, with
/// these attributes ("{heads = 4 : i64}"). Fails on unknown ops, on texts that
/// do not parse, on operands that do not fit, and on ops whose results do not
/// follow from their operands.
llvm::Expected<std::vector<std::string>>
inferResultTypes(llvm::StringRef op, llvm::ArrayRef<std::string> operands,
                 llvm::StringRef attributes);

} // namespace nag::driver

#endif // NAG_DRIVER_OPTYPES_H
