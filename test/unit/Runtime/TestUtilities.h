// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A scratch folder, error texts, and a hand-written program for runtime tests.
#ifndef NAG_TEST_UNIT_RUNTIME_TESTUTILITIES_H
#define NAG_TEST_UNIT_RUNTIME_TESTUTILITIES_H

#include "nag/Runtime/Program.h"
#include "gtest/gtest.h"
#include <functional>
#include <string>

namespace nag::runtime {

/// A folder of its own for every test, removed with it.
class ScratchTest : public testing::Test {
protected:
  ScratchTest();
  ~ScratchTest() override;

  std::string getPath(llvm::StringRef name) const;
  /// Writes a file and returns its path.
  std::string writeFile(llvm::StringRef name, llvm::StringRef text) const;
  std::vector<std::string> listFolder(llvm::StringRef name) const;

  std::string scratch;
};

std::string readFile(llvm::StringRef path);

/// The text of an error, "" for success.
std::string getText(llvm::Error error);
template <typename T> std::string getText(llvm::Expected<T> value) {
  return getText(value.takeError());
}

/// The value of a result that must be there.
template <typename T> T take(llvm::Expected<T> value) {
  if (!value) {
    ADD_FAILURE() << llvm::toString(value.takeError());
    std::abort();
  }
  return std::move(*value);
}

/// A model of the next token from the last: logits = table[token] +
/// gate_scale * sum over layers l of alpha_l * bias_l; gates are |gate_scale *
/// alpha_l|. Rows of the table have mean zero. AdamW without weight decay.
class BigramProgram : public Program {
public:
  static constexpr int64_t layers = 2;

  BigramProgram(int64_t batchSize, int64_t sequence, int64_t vocabulary);

  llvm::ArrayRef<FunctionInfo> functions() const override {
    return functionInfos;
  }
  llvm::ArrayRef<ParameterInfo> parameters() const override {
    return parameterInfos;
  }
  const llvm::json::Object &config() const override { return configuration; }
  Device &device() override { return host; }
  llvm::Error call(llvm::StringRef function,
                   llvm::ArrayRef<void *> arguments) override;

  llvm::json::Object configuration;
  std::vector<ParameterInfo> parameterInfos;
  std::vector<FunctionInfo> functionInfos;
  /// Called before every function.
  std::function<void(llvm::StringRef)> onCall;

private:
  class Frame;
  void describeParameters();
  void describeFunctions();
  void evaluate(const Frame &frame, bool withGradients) const;
  void accumulate(const Frame &frame) const;
  void apply(const Frame &frame) const;
  void constrain(const Frame &frame) const;
  void computeLogits(const Frame &frame, int32_t token, float *logits) const;
  void writeLogits(const Frame &frame) const;
  void writeGates(const Frame &frame) const;

  int64_t batch, seq, vocab;
  HostDevice host;
};

} // namespace nag::runtime

#endif // NAG_TEST_UNIT_RUNTIME_TESTUTILITIES_H
