// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Results.h"

#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace ptxvm_tool;

/// "N" or "N<separator>REST"; the argument must be a live array.
static Expected<size_t> arrayIndex(StringRef text,
                                   const std::vector<Argument> &arguments) {
  size_t index;
  if (text.getAsInteger(10, index) || index >= arguments.size() ||
      !arguments[index].isArray || arguments[index].isFreed)
    return createStringError(inconvertibleErrorCode(),
                             "expected the index of an array argument, but "
                             "got '" +
                                 text + "'");
  return index;
}

static std::vector<uint8_t> readBack(const Argument &argument,
                                     ptxvm::DeviceMemory &memory) {
  std::vector<uint8_t> bytes(argument.count * argument.type->size);
  memory.read(argument.address, bytes.data(), bytes.size());
  return bytes;
}

Expected<std::vector<Printed>>
ptxvm_tool::collectArrays(const KernelRun &request,
                          ptxvm::DeviceMemory &memory) {
  std::vector<Printed> result;
  for (const std::string &text : request.prints) {
    auto [indexText, countText] = StringRef(text).split(':');
    Expected<size_t> index = arrayIndex(indexText, request.arguments);
    if (!index)
      return index.takeError();
    const Argument &argument = request.arguments[*index];
    uint64_t count = argument.count;
    if (!countText.empty() && countText.getAsInteger(10, count))
      return createStringError(inconvertibleErrorCode(),
                               "expected a count, but got '" + countText + "'");
    std::vector<uint8_t> bytes = readBack(argument, memory);
    Printed printed{*index, {}};
    for (uint64_t k = 0; k < std::min(count, argument.count); ++k)
      printed.values.push_back(formatElement(*argument.type, bytes, k));
    result.push_back(std::move(printed));
  }
  return result;
}

Error ptxvm_tool::writeOutputs(const KernelRun &request,
                               ptxvm::DeviceMemory &memory) {
  for (const std::string &text : request.outputs) {
    auto [indexText, path] = StringRef(text).split('=');
    Expected<size_t> index = arrayIndex(indexText, request.arguments);
    if (!index)
      return index.takeError();
    const Argument &argument = request.arguments[*index];
    if (Error error =
            writeNumpy(path, *argument.type, readBack(argument, memory)))
      return error;
  }
  return Error::success();
}

void ptxvm_tool::printText(const ptxvm::LaunchResult &result,
                           const std::vector<Printed> &arrays,
                           bool showCounters) {
  outs() << result.output;
  for (const Printed &printed : arrays) {
    outs() << "arg " << printed.index << ":";
    for (const std::string &value : printed.values)
      outs() << " " << value;
    outs() << "\n";
  }
  for (const ptxvm::Finding &finding : result.findings)
    outs() << finding.str() << "\n";
  if (!showCounters)
    return;
  for (const auto &[name, value] : ptxvm::listCounters(result.counters))
    outs() << StringRef(name.data(), name.size()) << ": " << value << "\n";
  for (size_t k = 0; k < result.counters.warpInstructionsByClass.size(); ++k)
    if (uint64_t count = result.counters.warpInstructionsByClass[k]) {
      std::string_view name =
          ptxvm::nameOf(static_cast<ptxvm::InstructionClass>(k));
      outs() << "warp_instructions." << StringRef(name.data(), name.size())
             << ": " << count << "\n";
    }
}

static json::Array dimArray(const ptxvm::Dim3 &dim) {
  return json::Array{dim.x, dim.y, dim.z};
}

void ptxvm_tool::printJson(const ptxvm::LaunchResult &result,
                           const std::vector<Printed> &arrays, double seconds) {
  json::Object root;
  root["message"] = result.message;
  root["seconds"] = seconds;
  root["output"] = result.output;
  json::Array findings;
  for (const ptxvm::Finding &finding : result.findings)
    findings.push_back(
        json::Object{{"kind", std::string(ptxvm::nameOf(finding.kind))},
                     {"kernel", finding.kernel},
                     {"line", finding.line},
                     {"block", dimArray(finding.block)},
                     {"thread", dimArray(finding.thread)},
                     {"address", finding.address},
                     {"message", finding.message},
                     {"count", finding.count}});
  root["findings"] = std::move(findings);
  json::Object counters, classes, values;
  for (const auto &[name, value] : ptxvm::listCounters(result.counters))
    counters[std::string(name)] = value;
  for (size_t k = 0; k < result.counters.warpInstructionsByClass.size(); ++k)
    classes[std::string(
        ptxvm::nameOf(static_cast<ptxvm::InstructionClass>(k)))] =
        result.counters.warpInstructionsByClass[k];
  counters["warp_instructions_by_class"] = std::move(classes);
  root["counters"] = std::move(counters);
  for (const Printed &printed : arrays)
    values[std::to_string(printed.index)] = json::Array(printed.values);
  root["args"] = std::move(values);
  outs() << formatv("{0:2}", json::Value(std::move(root))) << "\n";
}

void ptxvm_tool::printTime(const Timing &timing,
                           const ptxvm::Counters &counters) {
  outs() << json::Value(json::Object{
                {"seconds", timing.seconds},
                {"processor_seconds", timing.processorSeconds},
                {"thread_instructions", counters.threadInstructions},
                {"tensor_flops", counters.tensorFlops}})
         << "\n";
}
