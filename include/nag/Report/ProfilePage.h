// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A profile as one HTML page that needs nothing else: style, program and
// numbers are in it.
#ifndef NAG_REPORT_PROFILEPAGE_H
#define NAG_REPORT_PROFILEPAGE_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/JSON.h"

namespace nag::report {

/// `profile` is what profile::toJSON yields. The page shows the rooflines of
/// its devices with every kernel on them, the traffic of kernels against the
/// fewest bytes, and tables.
void writeProfilePage(const llvm::json::Value &profile, llvm::StringRef title,
                      llvm::raw_ostream &os);

} // namespace nag::report

#endif // NAG_REPORT_PROFILEPAGE_H
