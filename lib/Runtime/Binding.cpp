// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Binding.h"
#include "nag/Runtime/Elements.h"
#include "nag/Runtime/Errors.h"
#include "llvm/ADT/STLExtras.h"
#include <cmath>

using namespace nag::runtime;

static bool isKnownArgument(llvm::StringRef name) {
  static constexpr llvm::StringLiteral known[] = {
      "tokens",         "targets",        "gate_scale",
      "loss",           "gates",          "lr",
      "step",           "grad_scale",     "clip",
      "grad_norm",      "logits",         "positions",
      "cache:keys",     "cache:values",   "new:keys",
      "new:values",     "prompt:keys",    "prompt:values",
      "rotary:cos",     "rotary:sin",     "thresholds",
      "skip_rate",      "aux_weight",     "offsets",
      "threshold_keep", "threshold_step", "norms",
      "cache:rows",     "cache:counts",   "new:tokens",
      "prompt:tokens",  "reach"};
  return llvm::is_contained(known, name);
}

/// Copies of parameters, which the program makes and keeps.
static bool isCopy(llvm::StringRef name) { return name.starts_with("bf16:"); }

llvm::Expected<void *> NamedBuffers::require(llvm::StringRef function,
                                             const TensorInfo &argument) {
  if (copies && isCopy(argument.name))
    return copies->require(function, argument);
  auto found = entries.find(argument.name);
  if (found != entries.end()) {
    const Entry &entry = found->second;
    if (entry.info.dtype == argument.dtype &&
        entry.info.shape == argument.shape)
      return entry.buffer.get();
    return makeError("function '{0}': argument '{1}': expected {2}, as in "
                     "other functions, but got {3}",
                     function, argument.name,
                     formatType(entry.info.dtype, entry.info.shape),
                     formatType(argument.dtype, argument.shape));
  }
  if (!isKnownArgument(argument.name) && !isCopy(argument.name))
    return makeError("function '{0}': unknown argument '{1}'", function,
                     argument.name);
  llvm::Expected<Buffer> buffer =
      Buffer::create(device, argument.getByteSize(), /*zeroed=*/true);
  if (!buffer)
    return buffer.takeError();
  void *data = buffer->get();
  entries[argument.name] = {argument, std::move(*buffer)};
  return data;
}

const TensorInfo *NamedBuffers::lookup(llvm::StringRef name) const {
  auto found = entries.find(name);
  return found == entries.end() ? nullptr : &found->second.info;
}

llvm::Error NamedBuffers::write(llvm::StringRef name, const void *host) {
  const Entry &entry = entries.find(name)->second;
  return device.copyToDevice(entry.buffer.get(), host,
                             entry.info.getByteSize());
}

llvm::Error NamedBuffers::read(llvm::StringRef name, void *host) const {
  const Entry &entry = entries.find(name)->second;
  return device.copyToHost(host, entry.buffer.get(), entry.info.getByteSize());
}

llvm::Error NamedBuffers::readPart(llvm::StringRef name, size_t offset,
                                   size_t bytes, void *host) const {
  const Entry &entry = entries.find(name)->second;
  const char *from = static_cast<const char *>(entry.buffer.get()) + offset;
  return device.copyToHost(host, from, bytes);
}

llvm::Error NamedBuffers::writePart(llvm::StringRef name, size_t offset,
                                    size_t bytes, const void *host) {
  const Entry &entry = entries.find(name)->second;
  return device.copyToDevice(static_cast<char *>(entry.buffer.get()) + offset,
                             host, bytes);
}

static llvm::Error checkScalar(const TensorInfo &info) {
  if (getNumElements(info.shape) == 1 && isFloat(info.dtype))
    return llvm::Error::success();
  return makeError("argument '{0}': expected a float scalar, but got {1}",
                   info.name, formatType(info.dtype, info.shape));
}

llvm::Error NamedBuffers::writeScalar(llvm::StringRef name, double value) {
  const TensorInfo *info = lookup(name);
  if (!info)
    return llvm::Error::success();
  if (llvm::Error failure = checkScalar(*info))
    return failure;
  double storage;
  writeElement(info->dtype, &storage, 0, value);
  return write(name, &storage);
}

llvm::Expected<double> NamedBuffers::readScalar(llvm::StringRef name) const {
  const TensorInfo *info = lookup(name);
  if (!info)
    return NAN;
  if (llvm::Error failure = checkScalar(*info))
    return failure;
  double storage;
  if (llvm::Error failure = read(name, &storage))
    return failure;
  return readElement(info->dtype, &storage, 0);
}

llvm::Expected<BatchShape>
nag::runtime::getBatchShape(const NamedBuffers &buffers) {
  const TensorInfo *tokens = buffers.lookup("tokens");
  if (!tokens)
    return makeError("the program has no argument 'tokens'");
  const TensorInfo *targets = buffers.lookup("targets");
  for (const TensorInfo *info : {tokens, targets})
    if (info &&
        (info->dtype != DType::I32 || info->shape.size() != 2 ||
         getNumElements(info->shape) < 1 || info->shape != tokens->shape))
      return makeError("argument '{0}': expected [batch, seq] i32, but got {1}",
                       info->name, formatType(info->dtype, info->shape));
  return BatchShape{tokens->shape[0], tokens->shape[1]};
}

/// The parameter buffer of an argument, or null.
static void *lookupParameter(llvm::ArrayRef<ParameterBinding> parameters,
                             llvm::StringRef argument) {
  for (const ParameterBinding &binding : parameters)
    if (argument.starts_with(binding.prefix))
      if (void *data = binding.buffers->lookup(
              argument.drop_front(binding.prefix.size())))
        return data;
  return nullptr;
}

llvm::Expected<BoundFunction>
BoundFunction::bind(Program &program, llvm::StringRef function,
                    llvm::ArrayRef<ParameterBinding> parameters,
                    NamedBuffers &others) {
  const FunctionInfo *info = program.lookup(function);
  if (!info)
    return makeError("the program has no function '{0}'", function);
  BoundFunction bound;
  bound.program = &program;
  bound.name = function.str();
  for (const TensorInfo &argument : info->arguments) {
    if (void *data = lookupParameter(parameters, argument.name)) {
      bound.arguments.push_back(data);
      continue;
    }
    llvm::Expected<void *> data = others.require(function, argument);
    if (!data)
      return data.takeError();
    bound.arguments.push_back(*data);
  }
  return bound;
}

llvm::Error nag::runtime::callOnParameters(Program &program,
                                           llvm::StringRef function,
                                           const ParameterBuffers &parameters,
                                           NamedBuffers &others) {
  if (!program.lookup(function))
    return llvm::Error::success();
  auto call =
      BoundFunction::bind(program, function, {{"", &parameters}}, others);
  return call ? call->call() : call.takeError();
}

llvm::Error nag::runtime::roundParameters(Program &program,
                                          const ParameterBuffers &parameters,
                                          NamedBuffers &others) {
  return callOnParameters(program, "round", parameters, others);
}
