// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Program.h"

#include "nag/Runtime/Routing.h"

#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

namespace nb = nanobind;
using namespace nag;
using namespace nag::python;
using runtime::ParameterInfo;
using runtime::TensorInfo;

static Weights create(const Program &program, const std::string &prefix,
                      bool zeroed) {
  auto buffers =
      runtime::ParameterBuffers::create(program.state->get(), prefix, zeroed);
  return Weights(program.state, take(std::move(buffers)));
}

/// The array of a parameter: a view of the weights' own memory.
static nb::object getParameter(nb::handle self, const std::string &name) {
  auto &weights = nb::cast<Weights &>(self);
  runtime::Program &program = *weights.state->program;
  for (const ParameterInfo &info : program.parameters()) {
    if (info.name != name)
      continue;
    TensorInfo tensor{info.name, info.dtype, info.shape,
                      TensorInfo::Access::ReadWrite};
    return viewArray(*weights.state, tensor, weights.buffers.lookup(name),
                     self);
  }
  raise(ErrorKind::Argument,
        "expected a parameter of the program, but got '" + name + "'");
}

/// Runs with the GIL released; `work` returns an llvm::Error.
template <typename Work> static void runReleased(ErrorKind kind, Work work) {
  llvm::Error error = [&] {
    nb::gil_scoped_release released;
    return work();
  }();
  check(std::move(error), kind);
}

static void load(Weights &weights, const std::string &path) {
  runReleased(ErrorKind::Checkpoint, [&]() -> llvm::Error {
    auto loaded = runtime::loadWeights(*weights.state->program, path);
    if (!loaded)
      return loaded.takeError();
    return weights.buffers.copyFrom(*loaded);
  });
}

/// Writes a plain safetensors file; the arrays' names are the parameters'.
static void save(const Weights &weights, const std::string &path) {
  std::vector<runtime::SafetensorsSource> sources;
  weights.buffers.appendSources(sources);
  std::map<std::string, std::string> metadata = {
      {"config", toText(weights.state->program->config())}};
  runReleased(ErrorKind::Checkpoint, [&] {
    return runtime::writeSafetensors(path, sources, metadata);
  });
}

/// Writes a checkpoint that nagc reads and resumes. `thresholds` are those of
/// depth routing, in the type of the scalars; none: no tensor of them.
static std::string saveCheckpoint(const std::string &folder,
                                  const std::vector<Weights *> &parts,
                                  int64_t step, uint64_t seed,
                                  const std::vector<double> &thresholds) {
  std::vector<runtime::SafetensorsSource> sources;
  for (const Weights *part : parts)
    part->buffers.appendSources(sources);
  llvm::StringRef type =
      parts.front()->state->program->config().getString("dtype").value_or("");
  std::vector<char> values;
  if (!thresholds.empty())
    sources.push_back(runtime::makeThresholdsSource(
        type == "f64" ? runtime::DType::F64 : runtime::DType::F32, thresholds,
        values));
  runtime::TrainingState state;
  state.step = step;
  state.seed = seed;
  std::string path;
  runReleased(ErrorKind::Checkpoint, [&]() -> llvm::Error {
    auto opened = runtime::CheckpointFolder::open(folder, /*keep=*/0);
    if (!opened)
      return opened.takeError();
    path = opened->getPath(step);
    return opened->save(state, parts.front()->state->program->config(),
                        sources);
  });
  return path;
}

/// Reads a whole checkpoint and returns its step and seed.
static nb::tuple loadCheckpoint(const std::string &path,
                                const std::vector<Weights *> &parts) {
  runtime::TrainingState state;
  runReleased(ErrorKind::Checkpoint, [&]() -> llvm::Error {
    auto file = runtime::resolveCheckpoint(path);
    if (!file)
      return file.takeError();
    auto opened = runtime::SafetensorsFile::open(*file);
    if (!opened)
      return opened.takeError();
    auto saved = runtime::readTrainingState(*opened);
    if (!saved)
      return saved.takeError();
    state = *saved;
    if (llvm::Error failure = runtime::checkConfig(
            *opened, parts.front()->state->program->config(),
            /*requireConfig=*/true))
      return failure;
    for (Weights *part : parts)
      if (llvm::Error failure = part->buffers.load(*opened))
        return failure;
    return llvm::Error::success();
  });
  return nb::make_tuple(state.step, state.seed);
}

/// The thresholds of a checkpoint that has as many as `count`.
static std::vector<double> readThresholds(const std::string &path,
                                          int64_t count,
                                          const std::string &policy) {
  std::vector<double> values;
  runReleased(ErrorKind::Checkpoint, [&]() -> llvm::Error {
    auto file = runtime::resolveCheckpoint(path);
    if (!file)
      return file.takeError();
    auto opened = runtime::SafetensorsFile::open(*file);
    if (!opened)
      return opened.takeError();
    auto read = runtime::readThresholds(*opened, count, policy);
    if (!read)
      return read.takeError();
    values = std::move(*read);
    return llvm::Error::success();
  });
  return values;
}

void nag::python::bindWeights(nb::module_ &module) {
  nb::class_<Weights>(module, "Weights",
                      "One array per parameter, of the program's types.")
      .def_static("create", &create, nb::arg("program"), nb::arg("prefix"),
                  nb::arg("zeroed"))
      .def("array",
           [](nb::object self, const std::string &name) {
             return getParameter(self, name);
           })
      .def("initialize",
           [](Weights &self, uint64_t seed) {
             runReleased(ErrorKind::Plain,
                         [&] { return self.buffers.initialize(seed); });
           })
      .def("load", &load, nb::arg("path"))
      .def("save", &save, nb::arg("path"));
  module.def("save_checkpoint", &saveCheckpoint, nb::arg("folder"),
             nb::arg("parts"), nb::arg("step"), nb::arg("seed"),
             nb::arg("thresholds"));
  module.def("read_thresholds", &readThresholds, nb::arg("path"),
             nb::arg("count"), nb::arg("policy"));
  module.def("load_checkpoint", &loadCheckpoint, nb::arg("path"),
             nb::arg("parts"));
}
