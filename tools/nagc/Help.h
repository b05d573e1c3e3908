// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What nagc says of itself.
#ifndef NAG_TOOLS_NAGC_HELP_H
#define NAG_TOOLS_NAGC_HELP_H

#include "Commands.h"

namespace nag::tool {

/// Examples of a subcommand, ready to be printed below its options; those of
/// nagc itself for "" and names of no subcommand.
llvm::StringRef getExamples(llvm::StringRef command);

/// `nagc completion`.
Command getCompletionCommand();

/// Version, commit, kind of build, LLVM, targets.
void printVersion(llvm::raw_ostream &os);

} // namespace nag::tool

#endif // NAG_TOOLS_NAGC_HELP_H
