// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Program.h"

#include "nag/Runtime/Errors.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

namespace nb = nanobind;
using namespace nag;
using namespace nag::python;
using runtime::TensorInfo;

std::string nag::python::toText(const llvm::json::Object &object) {
  return llvm::formatv("{0}", llvm::json::Value(llvm::json::Object(object)));
}

static const char *getAccessName(TensorInfo::Access access) {
  switch (access) {
  case TensorInfo::Access::Read:
    return "read";
  case TensorInfo::Access::Write:
    return "write";
  case TensorInfo::Access::ReadWrite:
    return "readwrite";
  }
  llvm_unreachable("all kinds of access are covered");
}

static const runtime::FunctionInfo &lookup(const ProgramState &state,
                                           const std::string &name) {
  runtime::Program &program = state.get();
  if (const runtime::FunctionInfo *info = program.lookup(name))
    return *info;
  std::string known;
  for (const runtime::FunctionInfo &info : program.functions())
    known += (known.empty() ? "" : ", ") + info.name;
  raise(ErrorKind::Argument,
        "expected a function of " + known + ", but got '" + name + "'");
}

static void checkNames(const runtime::FunctionInfo &info, nb::dict arrays) {
  for (auto [key, value] : arrays) {
    auto name = nb::cast<std::string>(key);
    if (!info.lookup(name))
      raise(ErrorKind::Argument, "function '" + info.name +
                                     "': expected an argument of its own, but "
                                     "got '" +
                                     name + "'");
  }
}

Call nag::python::bindCall(const Program &program, const std::string &function,
                           nb::dict arrays) {
  const runtime::FunctionInfo &info = lookup(*program.state, function);
  checkNames(info, arrays);
  Call call{program.state, function, {}, {}, {}};
  for (const TensorInfo &argument : info.arguments) {
    nb::str name(argument.name.c_str(), argument.name.size());
    std::string where =
        "function '" + function + "': argument '" + argument.name + "'";
    nb::object value;
    if (arrays.contains(name))
      value = nb::borrow(arrays[name]);
    else if (argument.access == TensorInfo::Access::Write)
      value = allocateArray(program.state, argument, /*zeroed=*/false);
    else
      raise(ErrorKind::Argument,
            where + ": expected " +
                runtime::formatType(argument.dtype, argument.shape) +
                ", but got nothing");
    AnyArray array = getArray(*program.state, argument, value, where);
    call.arguments.push_back(const_cast<void *>(array.data()));
    call.arrays.push_back(std::move(array));
    if (argument.access != TensorInfo::Access::Read)
      call.results[name] = value;
  }
  return call;
}

void Call::checkIndices() const {
  const runtime::Program &program = state->get();
  for (auto [info, data] :
       llvm::zip(program.lookup(function)->arguments, arguments))
    if (info.access != TensorInfo::Access::Write)
      check(driver::checkIndices(state->indexRanges, function, info, data),
            ErrorKind::Argument);
}

void Call::run(std::optional<uintptr_t> stream) const {
  runtime::Program &program = state->get();
  if (program.device().isHost())
    checkIndices();
  llvm::Error error = [&] {
    nb::gil_scoped_release released;
    std::lock_guard<std::mutex> lock(state->mutex);
    return stream ? program.enqueue(function, arguments,
                                    reinterpret_cast<void *>(*stream))
                  : program.call(function, arguments);
  }();
  check(std::move(error));
}

static nb::list describeFunctions(const Program &program) {
  nb::list functions;
  for (const runtime::FunctionInfo &info : program.state->get().functions()) {
    nb::list arguments;
    for (const TensorInfo &argument : info.arguments)
      arguments.append(nb::make_tuple(
          argument.name, std::string(runtime::getName(argument.dtype)),
          nb::tuple(nb::cast(argument.shape)), getAccessName(argument.access)));
    functions.append(nb::make_tuple(info.name, arguments));
  }
  return functions;
}

static nb::list describeParameters(const Program &program) {
  nb::list parameters;
  for (const runtime::ParameterInfo &info : program.state->get().parameters())
    parameters.append(nb::make_tuple(info.name,
                                     std::string(runtime::getName(info.dtype)),
                                     nb::tuple(nb::cast(info.shape)),
                                     info.layers, info.group, info.constraint));
  return parameters;
}

void nag::python::bindProgram(nb::module_ &module) {
  nb::class_<Call>(module, "Call",
                   "A function whose arguments are bound to arrays.")
      .def("__call__", &Call::run, nb::arg("stream").none() = nb::none(),
           "Runs the function once; the GIL is released meanwhile. With the "
           "handle of a CUDA stream, sends the work there and does not wait.")
      .def_ro("function", &Call::function)
      .def_ro("results", &Call::results,
              "The arrays that the function writes, by name.");

  nb::class_<Program>(module, "Program", "A compiled program.")
      .def("describe_functions", &describeFunctions,
           "(name, [(argument, dtype, shape, access)]) per function.")
      .def("describe_parameters", &describeParameters,
           "(name, dtype, shape, layers, group, constraint) per parameter.")
      .def("config_json",
           [](const Program &self) {
             return toText(self.state->get().config());
           })
      .def("device",
           [](const Program &self) {
             return self.state->get().device().getDLPackDevice();
           })
      .def("bind", &bindCall, nb::arg("function"), nb::arg("arrays"))
      .def("to_device",
           [](const Program &self, nb::object array) {
             return toDevice(self.state, array);
           })
      .def("to_host",
           [](const Program &self, nb::object array) {
             return toHost(self.state, array);
           })
      .def("close", [](Program &self) { self.state->closed = true; })
      .def_prop_ro("closed", [](const Program &self) {
        return self.state->closed.load();
      });
}
