// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Functions of a program, called on made-up arguments.
#ifndef NAG_LIB_PROFILE_CALLS_H
#define NAG_LIB_PROFILE_CALLS_H

#include "nag/Runtime/Program.h"

#include <optional>

namespace nag::profile {

/// The thresholds that a function is given, where it takes some, instead of
/// numbers like others, and how to go on from one call to the next.
struct Thresholds {
  std::optional<double> rate;
  std::vector<float> values;
  size_t rounds = 0;
  /// Of each sub-layer the share of gates that reached its threshold in the
  /// last call.
  std::vector<double> executedShares;

  /// Thresholds are for gates that no warm-up scales.
  llvm::Error set(runtime::Device &device, const runtime::TensorInfo &argument,
                  const runtime::Buffer &buffer);
  /// Takes over those that the rate makes of the `gates` in the buffer, and
  /// notes what the call's own did.
  llvm::Error adapt(runtime::Device &device,
                    const runtime::TensorInfo &argument,
                    const runtime::Buffer &buffer);
};

/// A function and its buffers: tokens at random, small numbers, zeros where
/// neither is.
class Call {
public:
  static llvm::Expected<Call> prepare(runtime::Program &program,
                                      llvm::StringRef name,
                                      Thresholds &thresholds);

  llvm::Error run(runtime::Program &program) const;
  /// Adapts thresholds to the gates that the call has written, if any.
  llvm::Error adapt(runtime::Program &program, Thresholds &thresholds) const;

private:
  const runtime::FunctionInfo *function = nullptr;
  std::vector<runtime::Buffer> buffers;
};

} // namespace nag::profile

#endif // NAG_LIB_PROFILE_CALLS_H
