// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Progress.h"
#include "llvm/Support/FormatVariadic.h"
#include <algorithm>

using namespace nag::runtime;

std::string nag::runtime::formatDuration(double seconds) {
  int64_t total = int64_t(std::max(seconds, 0.0) + 0.5);
  int64_t hours = total / 3600, minutes = total / 60 % 60, rest = total % 60;
  if (hours)
    return llvm::formatv("{0}:{1,0+2}:{2,0+2}", hours, minutes, rest);
  return llvm::formatv("{0}:{1,0+2}", minutes, rest);
}

Progress::Progress(llvm::raw_ostream *stream, bool isTerminal, int64_t first,
                   int64_t total)
    : out(stream), terminal(isTerminal), firstStep(first), totalSteps(total),
      start(Clock::now()) {}

double Progress::getSecondsLeft(int64_t step) const {
  double elapsed = std::chrono::duration<double>(Clock::now() - start).count();
  return elapsed / double(std::max<int64_t>(step - firstStep, 1)) *
         double(totalSteps - step);
}

static std::string formatStatus(const StepMetrics &metrics, int64_t total,
                                double secondsLeft) {
  std::string text =
      llvm::formatv("step {0}/{1}  loss {2:F4}  {3:F0} tokens/s  ETA {4}",
                    metrics.step, total, metrics.loss, metrics.tokensPerSecond,
                    formatDuration(secondsLeft));
  if (metrics.validation)
    text += llvm::formatv("  validation {0:F4}", metrics.validation->loss);
  if (metrics.validation && metrics.validation->bitsPerByte)
    text +=
        llvm::formatv(" ({0:F4} bits/byte)", *metrics.validation->bitsPerByte);
  return text;
}

void Progress::update(const StepMetrics &metrics) {
  if (!out)
    return;
  if (terminal)
    return draw(metrics);
  int64_t interval = std::max<int64_t>(totalSteps / 20, 1);
  if (metrics.validation || metrics.step % interval == 0 ||
      metrics.step == totalSteps || metrics.step == firstStep + 1)
    print(metrics);
}

void Progress::print(const StepMetrics &metrics) {
  *out << formatStatus(metrics, totalSteps, getSecondsLeft(metrics.step))
       << '\n';
  out->flush();
}

void Progress::draw(const StepMetrics &metrics) {
  constexpr std::chrono::milliseconds interval(100);
  Clock::time_point now = Clock::now();
  bool last = metrics.step == totalSteps || metrics.validation;
  if (drawn && !last && now - lastDrawn < interval)
    return;
  constexpr int64_t width = 20;
  int64_t filled = width * metrics.step / std::max<int64_t>(totalSteps, 1);
  *out << "\r[" << std::string(filled, '=') << std::string(width - filled, ' ')
       << "] "
       << formatStatus(metrics, totalSteps, getSecondsLeft(metrics.step))
       << "\x1b[K";
  // A validation result stays on the screen.
  drawn = !metrics.validation;
  if (metrics.validation)
    *out << '\n';
  out->flush();
  lastDrawn = now;
}

void Progress::message(llvm::StringRef text) {
  if (!out)
    return;
  finish();
  *out << text << '\n';
  out->flush();
}

void Progress::finish() {
  if (out && drawn)
    *out << '\n';
  drawn = false;
}
