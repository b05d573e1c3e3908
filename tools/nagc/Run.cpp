// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nagc run: calls functions of a module on tensors from files.
#include "Session.h"

#include "nag/Runtime/Safetensors.h"

#include "llvm/Support/FormatVariadic.h"

using namespace llvm;
using namespace nag;
using runtime::Buffer;
using runtime::FunctionInfo;
using runtime::SafetensorsFile;
using runtime::TensorInfo;

static cl::SubCommand
    runCommand("run", "Call functions of a module on tensors from files");

static tool::SessionOptions session(runCommand);
static cl::list<std::string>
    calls("call", cl::sub(runCommand), cl::OneOrMore,
          cl::value_desc("function:in:out"),
          cl::desc("A function, the .safetensors file with the arguments it "
                   "reads, and the file to write its results to; may be given "
                   "several times"));
static cl::opt<std::string>
    differentiated("differentiate", cl::sub(runCommand),
                   cl::value_desc("function"),
                   cl::desc("Add the vector-Jacobian product of a function as "
                            "<function>.gradients"));

namespace {
struct Call {
  std::string function, input, output;
};
} // namespace

static Expected<Call> parseCall(StringRef text) {
  SmallVector<StringRef, 3> parts;
  text.split(parts, ':');
  if (parts.size() != 3 || is_contained(parts, ""))
    return make_error<tool::UsageError>(
        "--call: expected function:input.safetensors:output.safetensors, but "
        "got '" +
        text + "'");
  return Call{parts[0].str(), parts[1].str(), parts[2].str()};
}

/// The argument's tensor in the file, of the right type.
static Expected<const runtime::SafetensorsEntry *>
findInput(const SafetensorsFile &file, const TensorInfo &argument) {
  std::string expected = runtime::formatType(argument.dtype, argument.shape);
  const runtime::SafetensorsEntry *entry = file.lookup(argument.name);
  if (!entry)
    return createStringError(file.path() + ": tensor '" + argument.name +
                             "': expected " + expected + ", but it is missing");
  std::string actual = runtime::formatType(entry->dtype, entry->shape);
  if (actual != expected)
    return createStringError(file.path() + ": tensor '" + argument.name +
                             "': expected " + expected + ", but got " + actual);
  return entry;
}

/// A buffer for the argument, filled when the function reads it; other buffers
/// hold bytes that read as NaN.
static Expected<Buffer> makeBuffer(runtime::Device &device,
                                   const SafetensorsFile &file,
                                   const TensorInfo &argument) {
  size_t bytes = argument.getByteSize();
  auto buffer = Buffer::create(device, bytes, /*zeroed=*/false);
  if (!buffer)
    return buffer.takeError();
  std::vector<uint8_t> filler;
  const void *source = nullptr;
  if (argument.access == TensorInfo::Access::Write) {
    filler.assign(bytes, 0xff);
    source = filler.data();
  } else {
    auto entry = findInput(file, argument);
    if (!entry)
      return entry.takeError();
    source = (*entry)->data.data();
  }
  if (Error error = device.copyToDevice(buffer->get(), source, bytes))
    return error;
  return buffer;
}

static Error writeResults(runtime::Device &device, const FunctionInfo &function,
                          ArrayRef<Buffer> buffers, StringRef path) {
  std::vector<runtime::SafetensorsSource> tensors;
  std::vector<uint8_t> host;
  for (auto [argument, buffer] : zip_equal(function.arguments, buffers)) {
    if (argument.access == TensorInfo::Access::Read)
      continue;
    auto read = [&device, &host, &source = buffer]() -> Expected<const void *> {
      host.resize(source.size());
      if (Error error =
              device.copyToHost(host.data(), source.get(), source.size()))
        return error;
      return host.data();
    };
    tensors.push_back({argument.name, argument.dtype, argument.shape, read});
  }
  return runtime::writeSafetensors(path, tensors, {});
}

/// Kernels do not look at what they index with.
static Error checkInput(ArrayRef<driver::IndexRange> ranges, StringRef function,
                        const SafetensorsFile &file,
                        const TensorInfo &argument) {
  if (argument.access == TensorInfo::Access::Write)
    return Error::success();
  auto entry = findInput(file, argument);
  if (!entry)
    return entry.takeError();
  if (Error error = driver::checkIndices(ranges, function, argument,
                                         (*entry)->data.data()))
    return createStringError(file.path() + ": " + toString(std::move(error)));
  return Error::success();
}

static Error runCall(runtime::Program &program, const Call &call,
                     ArrayRef<driver::IndexRange> ranges) {
  const FunctionInfo *function = program.lookup(call.function);
  if (!function)
    return createStringError("expected a function of the program, but got '" +
                             call.function + "'");
  auto file = SafetensorsFile::open(call.input);
  if (!file)
    return file.takeError();
  std::vector<Buffer> buffers;
  SmallVector<void *> arguments;
  for (const TensorInfo &argument : function->arguments) {
    if (Error error = checkInput(ranges, call.function, *file, argument))
      return error;
    auto buffer = makeBuffer(program.device(), *file, argument);
    if (!buffer)
      return buffer.takeError();
    arguments.push_back(buffer->get());
    buffers.push_back(std::move(*buffer));
  }
  if (Error error = program.call(call.function, arguments))
    return error;
  return writeResults(program.device(), *function, buffers, call.output);
}

static Expected<int> run() {
  std::vector<Call> parsed;
  for (const std::string &text : calls) {
    auto call = parseCall(text);
    if (!call)
      return call.takeError();
    parsed.push_back(std::move(*call));
  }
  std::vector<driver::IndexRange> ranges;
  auto program = session.compile(differentiated, ranges);
  if (!program)
    return program.takeError();
  for (const Call &call : parsed)
    if (Error error = runCall(**program, call, ranges))
      return error;
  return tool::kDone;
}

tool::Command nag::tool::getRunCommand() { return {runCommand, run}; }
