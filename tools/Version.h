// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the tools say of their build; CMake defines NAG_VERSION, NAG_COMMIT and
// NAG_BUILD_TYPE for the one file of each tool that includes this.
#ifndef NAG_TOOLS_VERSION_H
#define NAG_TOOLS_VERSION_H

#include "llvm/Config/llvm-config.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/raw_ostream.h"

namespace nag::tool {

/// "nagc 0.1.0 (commit 1ec3bf2, Release build)" and the LLVM below it.
inline void printBuild(llvm::StringRef tool, llvm::raw_ostream &os) {
  os << tool << " " NAG_VERSION " (commit " NAG_COMMIT ", " NAG_BUILD_TYPE
     << " build)\nLLVM " LLVM_VERSION_STRING "\n";
}

/// Leaves the options of LLVM's own parts out of the help without a subcommand.
inline void hideLibraryOptions() {
  static llvm::cl::OptionCategory none("");
  llvm::cl::HideUnrelatedOptions(none);
}

} // namespace nag::tool

#endif // NAG_TOOLS_VERSION_H
