// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Workers.h"

#include <condition_variable>
#include <mutex>
#include <thread>
#include <unistd.h>
#include <vector>

namespace ptxvm {
namespace {

class Pool {
public:
  void run(unsigned helpers, const std::function<void()> &work) {
    std::lock_guard<std::mutex> only(caller);
    while (started < helpers) {
      std::thread([this] { serve(); }).detach();
      ++started;
    }
    {
      std::lock_guard<std::mutex> lock(guard);
      task = &work;
      open = running = helpers;
    }
    wake.notify_all();
    work();
    std::unique_lock<std::mutex> lock(guard);
    // Helpers that have not begun find nothing left to do: call them off.
    running -= open;
    open = 0;
    done.wait(lock, [this] { return running == 0; });
  }

private:
  void serve() {
    std::unique_lock<std::mutex> lock(guard);
    for (;;) {
      wake.wait(lock, [this] { return open != 0; });
      --open;
      const std::function<void()> &work = *task;
      lock.unlock();
      work();
      lock.lock();
      if (--running == 0)
        done.notify_one();
    }
  }

  std::mutex caller, guard;
  std::condition_variable wake, done;
  unsigned started = 0;
  unsigned open = 0;    // helpers that may still take the task
  unsigned running = 0; // helpers that have not finished it
  const std::function<void()> *task = nullptr;
};

/// Never destroyed: its threads wait in it until the process ends. A forked
/// child has no such threads and starts its own.
Pool &pool() {
  static pid_t owner = 0;
  static Pool *current = nullptr;
  static std::mutex guard;
  std::lock_guard<std::mutex> lock(guard);
  if (!current || owner != getpid()) {
    current = new Pool();
    owner = getpid();
  }
  return *current;
}

} // namespace

void runOnWorkers(unsigned count, const std::function<void()> &work) {
  if (count <= 1)
    work();
  else
    pool().run(count - 1, work);
}

} // namespace ptxvm
