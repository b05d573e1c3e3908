// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Parameters.h"
#include "nag/Runtime/Elements.h"
#include "nag/Runtime/Errors.h"
#include "nag/Runtime/Random.h"
#include "nag/Runtime/Routing.h"
#include "llvm/ADT/StringSet.h"
#include <cmath>
#include <memory>

using namespace nag::runtime;

static constexpr llvm::StringLiteral layerMark = "{layer}";

std::string nag::runtime::getLayerName(llvm::StringRef name, int64_t layer) {
  auto [before, after] = name.split(layerMark);
  return llvm::formatv("{0}{1}{2}", before, layer, after).str();
}

/// What the program says of the buffer `prefix` + parameter name.
static ParameterInfo describe(const Program &program, llvm::StringRef prefix,
                              const ParameterInfo &parameter) {
  ParameterInfo info = parameter;
  std::string name = (prefix + parameter.name).str();
  for (const FunctionInfo &function : program.functions())
    if (const TensorInfo *argument = function.lookup(name)) {
      info.dtype = argument->dtype;
      info.shape = argument->shape;
      break;
    }
  return info;
}

static llvm::Error checkParameter(const ParameterInfo &info) {
  if (!isFloat(info.dtype))
    return makeError("parameter '{0}': expected a float type, but got {1}",
                     info.name, getName(info.dtype));
  if ((info.layers > 0) != llvm::StringRef(info.name).contains(layerMark))
    return makeError("parameter '{0}': expected \"{1}\" in the name of a stack "
                     "and only there",
                     info.name, layerMark);
  if (info.layers > 0 &&
      (info.shape.empty() || info.shape.front() != info.layers))
    return makeError("parameter '{0}': expected a leading dimension of {1} "
                     "layers, but got {2}",
                     info.name, info.layers,
                     formatType(info.dtype, info.shape));
  return llvm::Error::success();
}

llvm::Expected<ParameterBuffers>
ParameterBuffers::create(Program &program, llvm::StringRef prefix,
                         bool zeroed) {
  ParameterBuffers result;
  result.device = &program.device();
  result.namePrefix = prefix.str();
  for (const ParameterInfo &parameter : program.parameters()) {
    ParameterInfo info = describe(program, prefix, parameter);
    if (llvm::Error failure = checkParameter(info))
      return failure;
    llvm::Expected<Buffer> buffer =
        Buffer::create(program.device(), info.getByteSize(), zeroed);
    if (!buffer)
      return buffer.takeError();
    result.indexOfName[info.name] = result.entries.size();
    result.entries.push_back({std::move(info), std::move(*buffer)});
  }
  return result;
}

void *ParameterBuffers::lookup(llvm::StringRef parameter) const {
  auto found = indexOfName.find(parameter);
  return found == indexOfName.end() ? nullptr
                                    : entries[found->second].buffer.get();
}

size_t ParameterBuffers::getByteSize() const {
  size_t bytes = 0;
  for (const Entry &entry : entries)
    bytes += entry.info.getByteSize();
  return bytes;
}

//===- Initialisation -----------------------------------------------------===//

static double getInitialValue(const ParameterInfo &info,
                              const RandomStream &random, int64_t index) {
  const Init &init = info.init;
  switch (init.kind) {
  case Init::Kind::Zeros:
    return 0;
  case Init::Kind::Constant:
    return init.value;
  case Init::Kind::Normal:
    return init.std * random.normal(index);
  case Init::Kind::Uniform:
    return init.std * std::sqrt(3.0) * (2 * random.uniform(index) - 1);
  case Init::Kind::Power:
    int64_t perLayer =
        getNumElements(info.shape) / std::max<int64_t>(info.layers, 1);
    double layer = double(index / perLayer);
    return std::pow(init.stride * layer + init.offset, init.exponent);
  }
  llvm_unreachable("unknown kind of initial values");
}

static void fill(const ParameterInfo &info, uint64_t seed, void *values) {
  RandomStream random(seed, "init", info.name);
  int64_t elements = getNumElements(info.shape);
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < elements; ++i)
    writeElement(info.dtype, values, i, getInitialValue(info, random, i));
}

llvm::Error ParameterBuffers::initialize(uint64_t seed) {
  for (Entry &entry : entries) {
    if (device->isHost()) {
      fill(entry.info, seed, entry.buffer.get());
      continue;
    }
    std::vector<char> staging(entry.info.getByteSize());
    fill(entry.info, seed, staging.data());
    if (llvm::Error failure = device->copyToDevice(
            entry.buffer.get(), staging.data(), staging.size()))
      return failure;
  }
  return llvm::Error::success();
}

llvm::Error ParameterBuffers::copyFrom(const ParameterBuffers &other) {
  for (const Entry &entry : entries) {
    auto found = other.indexOfName.find(entry.info.name);
    const Entry *source = found == other.indexOfName.end()
                              ? nullptr
                              : &other.entries[found->second];
    std::string expected = formatType(entry.info.dtype, entry.info.shape);
    if (!source)
      return makeError("parameter '{0}': expected {1}, but got none",
                       entry.info.name, expected);
    std::string actual = formatType(source->info.dtype, source->info.shape);
    if (actual != expected)
      return makeError("parameter '{0}': expected {1}, but got {2}",
                       entry.info.name, expected, actual);
    std::vector<char> staging;
    const void *data = source->buffer.get();
    if (!device->isHost()) {
      staging.resize(entry.info.getByteSize());
      if (llvm::Error failure =
              device->copyToHost(staging.data(), data, staging.size()))
        return failure;
      data = staging.data();
    }
    if (llvm::Error failure = device->copyToDevice(entry.buffer.get(), data,
                                                   entry.info.getByteSize()))
      return failure;
  }
  return llvm::Error::success();
}

//===- Files --------------------------------------------------------------===//

std::vector<ParameterBuffers::Slice>
ParameterBuffers::getSlices(const Entry &entry) const {
  const ParameterInfo &info = entry.info;
  if (info.layers == 0)
    return {{namePrefix + info.name, info.shape, entry.buffer.get(),
             info.getByteSize()}};
  std::vector<Slice> slices;
  size_t bytes = info.getByteSize() / info.layers;
  std::vector<int64_t> shape(info.shape.begin() + 1, info.shape.end());
  for (int64_t layer = 0; layer < info.layers; ++layer)
    slices.push_back({namePrefix + getLayerName(info.name, layer), shape,
                      static_cast<char *>(entry.buffer.get()) + layer * bytes,
                      bytes});
  return slices;
}

void ParameterBuffers::appendSources(
    std::vector<SafetensorsSource> &sources) const {
  auto staging = std::make_shared<std::vector<char>>();
  for (const Entry &entry : entries)
    for (Slice &slice : getSlices(entry)) {
      auto read = [device = device, staging, data = slice.data,
                   bytes = slice.bytes]() -> llvm::Expected<const void *> {
        if (device->isHost())
          return data;
        staging->resize(bytes);
        if (llvm::Error failure =
                device->copyToHost(staging->data(), data, bytes))
          return failure;
        return staging->data();
      };
      sources.push_back({std::move(slice.name), entry.info.dtype,
                         std::move(slice.shape), std::move(read)});
    }
}

llvm::Error ParameterBuffers::load(const SafetensorsFile &file) {
  for (const Entry &entry : entries)
    for (const Slice &slice : getSlices(entry)) {
      std::string expected = formatType(entry.info.dtype, slice.shape);
      const SafetensorsEntry *found = file.lookup(slice.name);
      if (!found)
        return makeError("{0}: tensor '{1}': expected {2}, but the file has no "
                         "such tensor",
                         file.path(), slice.name, expected);
      if (found->dtype != entry.info.dtype || found->shape != slice.shape)
        return makeError("{0}: tensor '{1}': expected {2}, but got {3}",
                         file.path(), slice.name, expected,
                         formatType(found->dtype, found->shape));
      if (llvm::Error failure =
              device->copyToDevice(slice.data, found->data.data(), slice.bytes))
        return failure;
    }
  return llvm::Error::success();
}

llvm::Error
nag::runtime::checkNoForeignTensors(const SafetensorsFile &file,
                                    const Program &program,
                                    llvm::ArrayRef<llvm::StringRef> prefixes) {
  llvm::StringSet<> names;
  for (const ParameterInfo &info : program.parameters()) {
    if (info.layers == 0)
      names.insert(info.name);
    for (int64_t layer = 0; layer < info.layers; ++layer)
      names.insert(getLayerName(info.name, layer));
  }
  for (const auto &[name, entry] : file.entries()) {
    if (name == thresholdsTensor)
      continue;
    llvm::StringRef rest = name;
    for (llvm::StringRef prefix : prefixes)
      if (rest.consume_front(prefix))
        break;
    if (!names.contains(rest))
      return makeError("{0}: tensor '{1}': not a parameter of this model",
                       file.path(), name);
  }
  return llvm::Error::success();
}
