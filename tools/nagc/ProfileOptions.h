// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What profile and tune share: the program, the chip, how it is compiled.
#ifndef NAG_TOOLS_NAGC_PROFILEOPTIONS_H
#define NAG_TOOLS_NAGC_PROFILEOPTIONS_H

#include "Commands.h"

#include "nag/Profile/Profile.h"

namespace nag::tool {

class ProfileOptions {
public:
  /// `deviceText` describes --device.
  ProfileOptions(llvm::cl::SubCommand &command, llvm::StringRef deviceText);

  /// Fails on wrong use.
  llvm::Expected<profile::Options> read() const;
  /// Reads the module anew and measures it.
  llvm::Expected<profile::Profile>
  measure(const profile::Options &options) const;
  /// Reads the module anew and lowers its kernels before the observer's eyes.
  llvm::Error inspect(cuda::ProgramObserver &observer) const;
  llvm::StringRef getInput() const { return input; }

private:
  struct Module;
  llvm::Expected<std::unique_ptr<Module>> readModule() const;

  llvm::cl::opt<std::string> input;
  llvm::cl::opt<std::string> target;
  llvm::cl::opt<std::string> chip;
  llvm::cl::opt<std::string> precision;
  llvm::cl::opt<std::string> device;
};

/// "profile: kernel 12 of at most 40, 3 s" on the standard error: redrawn on a
/// terminal, else a line now and then where it takes long.
class CountProgress {
public:
  explicit CountProgress(std::string workName, std::string unitName = "kernel");
  std::function<void(int64_t, int64_t)> getCallback();
  void finish();

private:
  void update(int64_t done, int64_t total);

  std::string work, unit;
  bool isTerminal, isDrawn = false;
  double start, last;
};

} // namespace nag::tool

#endif // NAG_TOOLS_NAGC_PROFILEOPTIONS_H
