// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// SIGINT and SIGTERM as a question that a loop asks.
#ifndef NAG_RUNTIME_INTERRUPT_H
#define NAG_RUNTIME_INTERRUPT_H

#include <signal.h>

namespace nag::runtime {

/// While one of these lives, the first SIGINT or SIGTERM is noted; a second
/// ends the process as usual. One at a time.
class InterruptGuard {
public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard &) = delete;
  InterruptGuard &operator=(const InterruptGuard &) = delete;

  /// The signal that came, or 0.
  int pending() const;

private:
  struct sigaction oldInterrupt, oldTerminate;
};

} // namespace nag::runtime

#endif // NAG_RUNTIME_INTERRUPT_H
