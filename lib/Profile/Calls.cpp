// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Calls.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/bit.h"

#include <random>

using namespace llvm;
using namespace nag;
using namespace nag::profile;
using runtime::Buffer;
using runtime::TensorInfo;

template <typename T>
static Error fillWith(runtime::Device &device, const TensorInfo &argument,
                      const Buffer &buffer, function_ref<T()> next) {
  std::vector<T> values(runtime::getNumElements(argument.shape));
  for (T &value : values)
    value = next();
  return device.copyToDevice(buffer.get(), values.data(),
                             argument.getByteSize());
}

/// Numbers below `limit` for tokens and the like, and small ones of f32 and
/// bf16: with equal gates, depth routing would always choose the first tokens,
/// or all. All other buffers hold zeros.
static Error fill(runtime::Device &device, const TensorInfo &argument,
                  const Buffer &buffer, int64_t limit) {
  std::mt19937 random(argument.shape.size());
  auto small = [&] {
    return static_cast<float>(random()) * 0x1p-35f - 0x1p-4f;
  };
  if (argument.dtype == runtime::DType::F32)
    return fillWith<float>(device, argument, buffer, small);
  // The upper half of an f32.
  if (argument.dtype == runtime::DType::BF16)
    return fillWith<uint16_t>(device, argument, buffer, [&] {
      return static_cast<uint16_t>(bit_cast<uint32_t>(small()) >> 16);
    });
  if (argument.dtype != runtime::DType::I32)
    return Error::success();
  return fillWith<int32_t>(device, argument, buffer, [&] {
    return static_cast<int32_t>(random() % limit);
  });
}

/// The threshold by which closest to `skipped` of the magnitudes fall short of
/// it. Equal ones, as early gates of the same token, skip together or not.
static float findThreshold(MutableArrayRef<float> magnitudes, size_t skipped) {
  llvm::sort(magnitudes);
  float value = magnitudes[skipped];
  auto [first, last] =
      std::equal_range(magnitudes.begin(), magnitudes.end(), value);
  size_t less = first - magnitudes.begin(), more = last - magnitudes.begin();
  bool closerWithout = more - skipped < skipped - less;
  // Somebody has to be executed.
  return closerWithout && last != magnitudes.end() ? *last : value;
}

/// The threshold of each sub-layer that the share `rate` of its `gates` does
/// not reach.
static std::vector<float> findThresholds(std::vector<float> gates, size_t count,
                                         double rate) {
  size_t tokens = gates.size() / count;
  size_t skipped = std::min<size_t>(rate * tokens, tokens - 1);
  std::vector<float> thresholds;
  for (float &gate : gates)
    gate = std::abs(gate);
  for (size_t first = 0; first < gates.size(); first += tokens)
    thresholds.push_back(findThreshold(
        MutableArrayRef<float>(gates).slice(first, tokens), skipped));
  return thresholds;
}

/// Of each sub-layer's `gates` the share that reaches its threshold.
static std::vector<double> countReaching(ArrayRef<float> gates,
                                         ArrayRef<float> thresholds) {
  size_t tokens = gates.size() / thresholds.size();
  std::vector<double> shares;
  for (float threshold : thresholds) {
    auto reaches = [&](float gate) { return !(std::abs(gate) < threshold); };
    shares.push_back(double(count_if(gates.take_front(tokens), reaches)) /
                     double(tokens));
    gates = gates.drop_front(tokens);
  }
  return shares;
}

Error Thresholds::set(runtime::Device &device, const TensorInfo &argument,
                      const Buffer &buffer) {
  bool isScale = argument.name == "gate_scale";
  if (!rate || (!isScale && argument.name != "thresholds"))
    return Error::success();
  const float one = 1.0f;
  if (!isScale)
    values.resize(runtime::getNumElements(argument.shape));
  return device.copyToDevice(buffer.get(), isScale ? &one : values.data(),
                             argument.getByteSize());
}

Error Thresholds::adapt(runtime::Device &device, const TensorInfo &argument,
                        const Buffer &buffer) {
  std::vector<float> gates(runtime::getNumElements(argument.shape));
  Error error =
      device.copyToHost(gates.data(), buffer.get(), argument.getByteSize());
  if (error)
    return error;
  executedShares = countReaching(gates, values);
  values = findThresholds(std::move(gates), values.size(), *rate);
  return Error::success();
}

Expected<Call> Call::prepare(runtime::Program &program, StringRef name,
                             Thresholds &thresholds) {
  Call call;
  call.function = program.lookup(name);
  if (!call.function)
    return createStringError("expected a function @" + name + ", but got none");
  runtime::Device &device = program.device();
  int64_t vocabulary = program.config().getInteger("vocab").value_or(1);
  for (const TensorInfo &argument : call.function->arguments) {
    auto buffer = Buffer::create(device, argument.getByteSize(),
                                 /*zeroed=*/true);
    if (!buffer)
      return buffer.takeError();
    if (Error error = fill(device, argument, *buffer, vocabulary))
      return error;
    if (Error error = thresholds.set(device, argument, *buffer))
      return error;
    call.buffers.push_back(std::move(*buffer));
  }
  return call;
}

Error Call::run(runtime::Program &program) const {
  SmallVector<void *> arguments;
  for (const Buffer &buffer : buffers)
    arguments.push_back(buffer.get());
  return program.call(function->name, arguments);
}

Error Call::adapt(runtime::Program &program, Thresholds &thresholds) const {
  for (auto [argument, buffer] : zip_equal(function->arguments, buffers))
    if (!thresholds.values.empty() && argument.name == "gates")
      return thresholds.adapt(program.device(), argument, buffer);
  return Error::success();
}
