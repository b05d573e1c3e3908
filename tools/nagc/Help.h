// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What nagc says of itself.
#ifndef NAG_TOOLS_NAGC_HELP_H
#define NAG_TOOLS_NAGC_HELP_H

#include "Commands.h"

namespace nag::tool {

/// Prepares --version and what --help says below the options of a subcommand,
/// or of nagc itself for "". Called once, before the command line is parsed.
void setUpHelp(llvm::StringRef command);

/// `nagc completion`.
Command getCompletionCommand();

} // namespace nag::tool

#endif // NAG_TOOLS_NAGC_HELP_H
