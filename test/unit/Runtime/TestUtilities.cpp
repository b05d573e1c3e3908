// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "TestUtilities.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include <cmath>
#include <fstream>

using namespace nag::runtime;
namespace fs = llvm::sys::fs;

//===- Files and errors ---------------------------------------------------===//

ScratchTest::ScratchTest() {
  llvm::SmallString<128> path;
  EXPECT_FALSE(fs::createUniqueDirectory("nag-runtime", path));
  scratch = std::string(path);
}

ScratchTest::~ScratchTest() { fs::remove_directories(scratch); }

std::string ScratchTest::getPath(llvm::StringRef name) const {
  return (scratch + "/" + name).str();
}

std::string ScratchTest::writeFile(llvm::StringRef name,
                                   llvm::StringRef text) const {
  std::string path = getPath(name);
  fs::create_directories(llvm::sys::path::parent_path(path));
  std::ofstream(path, std::ios::binary).write(text.data(), text.size());
  return path;
}

std::vector<std::string> ScratchTest::listFolder(llvm::StringRef name) const {
  std::vector<std::string> names;
  std::error_code code;
  for (fs::directory_iterator it(getPath(name), code), end; it != end;
       it.increment(code))
    names.push_back(llvm::sys::path::filename(it->path()).str());
  llvm::sort(names);
  return names;
}

std::string nag::runtime::readFile(llvm::StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  return buffer ? (*buffer)->getBuffer().str() : "";
}

std::string nag::runtime::getText(llvm::Error error) {
  return error ? llvm::toString(std::move(error)) : "";
}

//===- The program --------------------------------------------------------===//

/// Arguments of one call by name.
class BigramProgram::Frame {
public:
  Frame(const FunctionInfo &function, llvm::ArrayRef<void *> buffers)
      : info(function), arguments(buffers) {}

  /// The argument of that name, or null.
  template <typename T = float> T *get(llvm::StringRef name) const {
    const TensorInfo *argument = info.lookup(name);
    return argument
               ? static_cast<T *>(arguments[argument - info.arguments.data()])
               : nullptr;
  }

  float getGateScale() const {
    const float *scale = get("gate_scale");
    return scale ? *scale : 1;
  }

private:
  const FunctionInfo &info;
  llvm::ArrayRef<void *> arguments;
};

static constexpr const char *tableName = "table.weight";
static constexpr const char *biasName = "transformer.h.{layer}.bias";
static constexpr const char *alphaName = "transformer.h.{layer}.alpha";

BigramProgram::BigramProgram(int64_t batchSize, int64_t sequence,
                             int64_t vocabulary)
    : batch(batchSize), seq(sequence), vocab(vocabulary) {
  configuration = llvm::json::Object{{"batch", batch},
                                     {"seq", seq},
                                     {"vocab", vocab},
                                     {"layers", layers},
                                     {"residual", "nag"}};
  describeParameters();
  describeFunctions();
}

void BigramProgram::describeParameters() {
  Init normal, power;
  normal.kind = Init::Kind::Normal;
  normal.std = 0.5;
  power.kind = Init::Kind::Power;
  power.exponent = -0.5;
  power.stride = 2;
  power.offset = 1;
  parameterInfos = {
      {tableName, 0, DType::F32, {vocab, vocab}, "matrix", normal, "zero_mean"},
      {biasName, layers, DType::F32, {layers, vocab}, "matrix", normal, ""},
      {alphaName, layers, DType::F32, {layers}, "gate", power, ""}};
}

void BigramProgram::describeFunctions() {
  using Access = TensorInfo::Access;
  auto scalar = [](const char *name, Access access = Access::Read) {
    return TensorInfo{name, DType::F32, {}, access};
  };
  auto add = [&](std::vector<TensorInfo> &arguments, const char *prefix,
                 Access access) {
    for (const ParameterInfo &info : parameterInfos)
      arguments.push_back({prefix + info.name, info.dtype, info.shape, access});
  };
  TensorInfo tokens{"tokens", DType::I32, {batch, seq}, Access::Read};
  TensorInfo targets{"targets", DType::I32, {batch, seq}, Access::Read};
  TensorInfo gates{"gates", DType::F32, {layers, batch, seq}, Access::Write};
  TensorInfo logits{"logits", DType::F32, {batch, seq, vocab}, Access::Write};
  std::vector<TensorInfo> evaluate = {tokens, targets, scalar("gate_scale")};
  add(evaluate, "", Access::Read);
  evaluate.push_back(scalar("loss", Access::Write));
  evaluate.push_back(gates);
  std::vector<TensorInfo> gradients = evaluate, accumulate, apply, constrain;
  add(gradients, "grad:", Access::Write);
  add(accumulate, "grad:", Access::Read);
  add(accumulate, "acc:", Access::ReadWrite);
  for (const char *prefix : {"", "m:", "v:"})
    add(apply, prefix, Access::ReadWrite);
  add(apply, "grad:", Access::Read);
  for (const char *name : {"lr", "step", "grad_scale", "clip"})
    apply.push_back(scalar(name));
  apply.push_back(scalar("grad_norm", Access::Write));
  add(constrain, "", Access::ReadWrite);
  std::vector<TensorInfo> logitsArguments = {tokens, scalar("gate_scale")};
  add(logitsArguments, "", Access::Read);
  logitsArguments.push_back(logits);
  functionInfos = {{"gradients", gradients},   {"loss", evaluate},
                   {"accumulate", accumulate}, {"apply", apply},
                   {"constrain", constrain},   {"logits", logitsArguments}};
}

llvm::Error BigramProgram::call(llvm::StringRef function,
                                llvm::ArrayRef<void *> arguments) {
  if (onCall)
    onCall(function);
  Frame frame(*lookup(function), arguments);
  if (function == "gradients" || function == "loss")
    evaluate(frame, function == "gradients");
  else if (function == "accumulate")
    accumulate(frame);
  else if (function == "apply")
    apply(frame);
  else if (function == "constrain")
    constrain(frame);
  else
    writeLogits(frame);
  return llvm::Error::success();
}

void BigramProgram::computeLogits(const Frame &frame, int32_t token,
                                  float *logits) const {
  float scale = frame.getGateScale();
  for (int64_t j = 0; j < vocab; ++j) {
    logits[j] = frame.get(tableName)[token * vocab + j];
    for (int64_t l = 0; l < layers; ++l)
      logits[j] +=
          scale * frame.get(alphaName)[l] * frame.get(biasName)[l * vocab + j];
  }
}

void BigramProgram::writeLogits(const Frame &frame) const {
  for (int64_t i = 0; i < batch * seq; ++i)
    computeLogits(frame, frame.get<int32_t>("tokens")[i],
                  frame.get("logits") + i * vocab);
}

void BigramProgram::writeGates(const Frame &frame) const {
  if (!frame.get("gates"))
    return;
  float scale = frame.getGateScale();
  for (int64_t l = 0; l < layers; ++l)
    std::fill_n(frame.get("gates") + l * batch * seq, batch * seq,
                std::abs(scale * frame.get(alphaName)[l]));
}

void BigramProgram::evaluate(const Frame &frame, bool withGradients) const {
  writeGates(frame);
  const int32_t *tokens = frame.get<int32_t>("tokens");
  const int32_t *targets = frame.get<int32_t>("targets");
  std::vector<float> p(vocab), total(vocab), table(vocab * vocab);
  auto counted = float(std::count_if(targets, targets + batch * seq,
                                     [](int32_t t) { return t >= 0; }));
  double loss = 0;
  for (int64_t i = 0; i < batch * seq; ++i) {
    if (targets[i] < 0)
      continue;
    computeLogits(frame, tokens[i], p.data());
    float sum = 0;
    for (float &value : p)
      sum += value = std::exp(value);
    loss -= std::log(p[targets[i]] / sum);
    for (int64_t j = 0; j < vocab; ++j) {
      float d = (p[j] / sum - float(j == targets[i])) / counted;
      total[j] += d;
      table[tokens[i] * vocab + j] += d;
    }
  }
  *frame.get("loss") = float(loss / counted);
  if (!withGradients)
    return;
  float scale = frame.getGateScale();
  std::copy(table.begin(), table.end(),
            frame.get(std::string("grad:") + tableName));
  for (int64_t l = 0; l < layers; ++l) {
    float &alpha = frame.get(std::string("grad:") + alphaName)[l];
    alpha = 0;
    for (int64_t j = 0; j < vocab; ++j) {
      frame.get(std::string("grad:") + biasName)[l * vocab + j] =
          scale * frame.get(alphaName)[l] * total[j];
      alpha += scale * frame.get(biasName)[l * vocab + j] * total[j];
    }
  }
}

void BigramProgram::accumulate(const Frame &frame) const {
  for (const ParameterInfo &info : parameterInfos)
    for (int64_t i = 0; i < getNumElements(info.shape); ++i)
      frame.get("acc:" + info.name)[i] += frame.get("grad:" + info.name)[i];
}

void BigramProgram::apply(const Frame &frame) const {
  float norm = 0, scale = *frame.get("grad_scale"), clip = *frame.get("clip");
  for (const ParameterInfo &info : parameterInfos)
    for (int64_t i = 0; i < getNumElements(info.shape); ++i)
      norm += std::pow(scale * frame.get("grad:" + info.name)[i], 2.0f);
  *frame.get("grad_norm") = norm = std::sqrt(norm);
  if (clip > 0 && norm > clip)
    scale *= clip / norm;
  float step = *frame.get("step"), lr = *frame.get("lr");
  float firstBias = 1 - std::pow(0.9f, step);
  float secondBias = 1 - std::pow(0.95f, step);
  for (const ParameterInfo &info : parameterInfos)
    for (int64_t i = 0; i < getNumElements(info.shape); ++i) {
      float g = scale * frame.get("grad:" + info.name)[i];
      float &m = frame.get("m:" + info.name)[i];
      float &v = frame.get("v:" + info.name)[i];
      m = 0.9f * m + 0.1f * g;
      v = 0.95f * v + 0.05f * g * g;
      frame.get(info.name)[i] -=
          lr * (m / firstBias) / (std::sqrt(v / secondBias) + 1e-8f);
    }
  constrain(frame);
}

void BigramProgram::constrain(const Frame &frame) const {
  for (int64_t row = 0; row < vocab; ++row) {
    float *values = frame.get(tableName) + row * vocab, sum = 0;
    for (int64_t j = 0; j < vocab; ++j)
      sum += values[j];
    for (int64_t j = 0; j < vocab; ++j)
      values[j] -= sum / float(vocab);
  }
}
