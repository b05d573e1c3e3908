// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Program.h"

#include "nag/Driver/Generation.h"
#include "nag/Driver/OpTypes.h"
#include "nag/Driver/PublicCheckpoint.h"
#include "nag/Model/Cost.h"
#include "nag/Support/Json.h"

#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

namespace nb = nanobind;
using namespace nag;
using namespace nag::python;

/// A complete configuration from some of its fields, both as JSON.
static std::string completeConfig(const std::string &text,
                                  const std::string &origin) {
  std::optional<llvm::json::Object> object = parseJsonObject(text);
  if (!object)
    raise(ErrorKind::Config, origin + ": expected a JSON object");
  model::ConfigBuilder builder;
  check(builder.setPreset("tiny", origin), ErrorKind::Config);
  check(builder.setAll(*object, origin), ErrorKind::Config);
  return toText(model::toJSON(take(builder.finish(), ErrorKind::Config)));
}

static std::string readConfigFile(const std::string &path) {
  model::ConfigBuilder builder;
  check(builder.setPreset("tiny", path), ErrorKind::Config);
  check(builder.readFile(path), ErrorKind::Config);
  return toText(model::toJSON(take(builder.finish(), ErrorKind::Config)));
}

static std::unique_ptr<driver::Model> buildModel(const std::string &text) {
  std::optional<llvm::json::Object> object = parseJsonObject(text);
  if (!object)
    raise(ErrorKind::Config, "config: expected a JSON object");
  model::ConfigBuilder builder;
  check(builder.setAll(*object, "config"), ErrorKind::Config);
  return take(driver::Model::build(take(builder.finish(), ErrorKind::Config)));
}

static RecomputeMode parseRecompute(const std::string &name) {
  if (name == "none")
    return RecomputeMode::None;
  if (name == "cheap")
    return RecomputeMode::Cheap;
  if (name == "all")
    return RecomputeMode::All;
  raise(ErrorKind::Argument,
        "recompute: expected none, cheap or all, but got '" + name + "'");
}

/// Fields of TargetOptions by their names in Python.
static driver::TargetOptions readTarget(nb::dict values) {
  driver::TargetOptions options;
  const std::pair<const char *, std::string driver::TargetOptions::*> texts[] =
      {{"target", &driver::TargetOptions::target},
       {"device", &driver::TargetOptions::device},
       {"chip", &driver::TargetOptions::chip},
       {"precision", &driver::TargetOptions::precision},
       {"schedule", &driver::TargetOptions::schedule}};
  for (auto [name, field] : texts)
    options.*field = nb::cast<std::string>(values[name]);
  options.threads = nb::cast<int64_t>(values["threads"]);
  if (nb::object cache = values["kernel_cache"]; !cache.is_none())
    options.kernelCache = nb::cast<std::string>(cache);
  check(options.check(), ErrorKind::Argument);
  return options;
}

static Program compile(const driver::Model &model,
                       const std::vector<std::string> &functions,
                       const std::string &differentiate,
                       const std::string &recompute, nb::dict target,
                       std::optional<std::array<int64_t, 3>> generation,
                       double budget) {
  driver::CompileOptions options;
  options.functions = functions;
  options.differentiate = differentiate;
  options.recompute = parseRecompute(recompute);
  options.target = readTarget(target);
  using Result = llvm::Expected<std::unique_ptr<runtime::Program>>;
  auto program = [&]() -> Result {
    nb::gil_scoped_release released;
    if (!generation)
      return model.compile(options);
    auto [batch, prompt, capacity] = *generation;
    auto copy =
        driver::copyForGeneration(model, {batch, prompt, capacity, budget});
    if (!copy)
      return copy.takeError();
    return (*copy)->compile(options);
  }();
  return {std::make_shared<ProgramState>(take(std::move(program)),
                                         model.getIndexRanges())};
}

static std::vector<std::string>
inferTypes(const std::string &op, const std::vector<std::string> &operands,
           const std::string &attributes) {
  return take(driver::inferResultTypes(op, operands, attributes));
}

static std::string importCheckpoint(
    const std::string &weights, const std::string &config,
    const std::vector<std::pair<std::string, std::string>> &settings,
    const std::string &output) {
  driver::ImportOptions options{weights, config, settings};
  auto work = [&]() -> llvm::Expected<std::string> {
    nb::gil_scoped_release released;
    auto known = driver::readPublicConfig(options);
    if (!known)
      return known.takeError();
    if (llvm::Error error = driver::importWeights(options, *known, output))
      return error;
    return toText(model::toJSON(*known));
  };
  return take(work(), ErrorKind::Checkpoint);
}

static void exportCheckpoint(const std::string &checkpoint,
                             const std::string &output,
                             const std::string &config,
                             const std::string &dtype) {
  driver::ExportOptions options{checkpoint, {}};
  if (!dtype.empty() && !(options.dtype = runtime::parseDType(dtype)))
    raise(ErrorKind::Argument,
          "dtype: expected f32, bf16, f16 or f64, but got '" + dtype + "'");
  auto work = [&] {
    nb::gil_scoped_release released;
    return driver::exportWeights(options, output, config);
  };
  check(work(), ErrorKind::Checkpoint);
}

void nag::python::bindModel(nb::module_ &module) {
  module.def("import_checkpoint", &importCheckpoint, nb::arg("weights"),
             nb::arg("config"), nb::arg("settings"), nb::arg("output"));
  module.def("export_checkpoint", &exportCheckpoint, nb::arg("checkpoint"),
             nb::arg("output"), nb::arg("config"), nb::arg("dtype"));
  module.def("complete_config", &completeConfig, nb::arg("text"),
             nb::arg("origin"));
  module.def("read_config_file", &readConfigFile, nb::arg("path"));
  module.def("config_schema", [] { return toText(model::getConfigSchema()); });
  module.def("list_presets", &model::listPresets);
  module.def("list_targets", &driver::listTargets);
  module.def("infer_types", &inferTypes, nb::arg("op"), nb::arg("operands"),
             nb::arg("attributes"),
             "The result types of an op on operands of these types.");
  nb::class_<driver::Model>(module, "Model", "A verified module of nag ops.")
      .def_static("build", &buildModel, nb::arg("config"))
      .def_static(
          "parse",
          [](const std::string &text, const std::string &name) {
            return take(driver::Model::parse(text, name));
          },
          nb::arg("text"), nb::arg("name"))
      .def_static(
          "read",
          [](const std::string &path) {
            return take(driver::Model::read(path));
          },
          nb::arg("path"))
      .def("print", &driver::Model::print)
      .def("can_derive_norms", &driver::Model::canDeriveNorms)
      .def("config_json",
           [](const driver::Model &self) {
             return toText(
                 model::toJSON(take(self.readConfig(), ErrorKind::Config)));
           })
      .def("compile", &compile, nb::arg("functions"), nb::arg("differentiate"),
           nb::arg("recompute"), nb::arg("target"),
           nb::arg("generation").none() = nb::none(), nb::arg("budget") = 0.0);
}
