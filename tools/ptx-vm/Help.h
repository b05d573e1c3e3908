// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What ptx-vm says of itself.
#ifndef NAG_TOOLS_PTXVM_HELP_H
#define NAG_TOOLS_PTXVM_HELP_H

#include "llvm/ADT/StringRef.h"

namespace ptxvm_tool {

/// Prepares --version and what --help says below the options of a subcommand,
/// or of ptx-vm itself for "". Called once, before the command line is parsed.
void setUpHelp(llvm::StringRef command);

} // namespace ptxvm_tool

#endif // NAG_TOOLS_PTXVM_HELP_H
