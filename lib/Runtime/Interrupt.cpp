// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Interrupt.h"

using namespace nag::runtime;

static volatile sig_atomic_t noted = 0;

static void note(int number) { noted = number; }

InterruptGuard::InterruptGuard() {
  noted = 0;
  struct sigaction action = {};
  action.sa_handler = note;
  // The handler serves once: the next signal has its usual effect. Products use
  // the stack pointer for other things (Kernels.cpp): another stack.
  action.sa_flags = SA_RESTART | SA_RESETHAND | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &oldInterrupt);
  sigaction(SIGTERM, &action, &oldTerminate);
}

InterruptGuard::~InterruptGuard() {
  sigaction(SIGINT, &oldInterrupt, nullptr);
  sigaction(SIGTERM, &oldTerminate, nullptr);
}

int InterruptGuard::pending() const { return noted; }
