// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Session.h"

#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "nag/Target/CPU/Compiler.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace llvm;
using namespace nag;
using namespace nag::tool;

extern "C" void omp_set_num_threads(int count);

static constexpr int kMaxThreads = 1024;

SessionOptions::SessionOptions(cl::SubCommand &command)
    : input(cl::Positional, cl::sub(command), cl::Required,
            cl::desc("<model.mlir>")),
      threads("threads", cl::sub(command), cl::init(0), cl::value_desc("T"),
              cl::desc("Threads (default: one per processor)")),
      target("target", cl::sub(command), cl::init("cpu"), cl::value_desc("cpu"),
             cl::desc("Where to run (default: cpu)")),
      device("device", cl::sub(command), cl::value_desc("name"),
             cl::desc("Device of the target; the cpu has none to choose")),
      precision("precision", cl::sub(command), cl::init("f32"),
                cl::value_desc("f32"),
                cl::desc("Precision of contractions (default: f32)")) {}

Error SessionOptions::check() const {
  auto wrong = [](const Twine &option, const Twine &expected,
                  const Twine &actual) {
    return make_error<UsageError>(option + ": expected " + expected +
                                  ", but got '" + actual + "'");
  };
  if (target != "cpu")
    return wrong("--target", "cpu", target);
  if (!device.empty())
    return wrong("--device", "no device for the target cpu", device);
  if (precision != "f32")
    return wrong("--precision", "f32 for the target cpu", precision);
  bool isGiven = threads.getNumOccurrences() > 0;
  if (isGiven && (threads < 1 || threads > kMaxThreads))
    return wrong("--threads", "a number in [1, " + Twine(kMaxThreads) + "]",
                 Twine(threads));
  return Error::success();
}

/// A program's parameters are told by its @loss; a program without needs them
/// on the arguments of the same names.
static void copyParameters(mlir::func::FuncOp from, mlir::func::FuncOp to) {
  StringMap<ParamAttr> parameters;
  for (unsigned i = 0, e = from.getNumArguments(); i != e; ++i)
    if (auto attr = from.getArgAttrOfType<ParamAttr>(i, kParamAttrName))
      parameters[attr.getName()] = attr;
  for (unsigned i = 0, e = to.getNumArguments(); i != e; ++i) {
    auto name = to.getArgAttrOfType<mlir::StringAttr>(i, kNameAttrName);
    if (ParamAttr attr = name ? parameters.lookup(name) : ParamAttr())
      to.setArgAttr(i, kParamAttrName, attr);
  }
}

/// Leaves only what is called. Fails when that is missing.
static Error keepCalledFunctions(mlir::ModuleOp module, Purpose purpose,
                                 StringRef path) {
  auto loss = module.lookupSymbol<mlir::func::FuncOp>("loss");
  auto logits = module.lookupSymbol<mlir::func::FuncOp>("logits");
  bool isGenerating = purpose == Purpose::Generate;
  if (isGenerating ? !logits : !loss)
    return createStringError(path + ": expected a function @" +
                             (isGenerating ? "logits" : "loss") +
                             ", but got none");
  if (isGenerating && loss) {
    copyParameters(loss, logits);
    loss.erase();
  } else if (logits) {
    logits.erase();
  }
  return Error::success();
}

static mlir::DialectRegistry makeRegistry() {
  mlir::DialectRegistry registry;
  registerDialects(registry);
  cpu::registerTranslations(registry);
  return registry;
}

Model::Model(StringRef file, Purpose use)
    : path(file), purpose(use), context(makeRegistry()) {}

Expected<std::unique_ptr<Model>> Model::read(StringRef path, Purpose purpose) {
  std::unique_ptr<Model> model(new Model(path, purpose));
  auto module = readModule(path, model->context);
  if (!module)
    return module.takeError();
  model->module = std::move(*module);
  if (Error error = keepCalledFunctions(*model->module, purpose, path))
    return error;
  return model;
}

std::optional<int64_t> Model::getVocabulary() const {
  auto config =
      module.get()->getAttrOfType<mlir::DictionaryAttr>(kConfigAttrName);
  auto size = config ? config.getAs<mlir::IntegerAttr>("vocab") : nullptr;
  return size ? std::optional(size.getInt()) : std::nullopt;
}

Expected<std::unique_ptr<runtime::Program>> Model::compile() {
  DiagnosticCollector diagnostics(context);
  cpu::CompileOptions options;
  options.differentiate = purpose == Purpose::Train;
  auto program = cpu::createProgram(*module, options);
  if (program)
    return program;
  std::string message = toString(program.takeError());
  return diagnostics.takeError(path + ": " + message);
}

Expected<std::unique_ptr<Model>> SessionOptions::open(Purpose purpose) const {
  if (Error error = check())
    return error;
  if (threads > 0)
    omp_set_num_threads(threads);
  return Model::read(input, purpose);
}

DataOptions::DataOptions(cl::SubCommand &command)
    : first("data", cl::sub(command), cl::value_desc("path..."),
            cl::desc("Text files, folders of them, or .bin files of tokens")),
      more(cl::Positional, cl::sub(command), cl::desc("[more data paths]")),
      validationFraction("val-fraction", cl::sub(command),
                         cl::init(runtime::DatasetOptions().validationFraction),
                         cl::value_desc("x"),
                         cl::desc("Share of every file kept for validation")),
      bytesPerToken("bytes-per-token", cl::sub(command), cl::init(0.0),
                    cl::value_desc("x"),
                    cl::desc("Bytes of text per token of .bin files, for bits "
                             "per byte")) {}

Expected<runtime::Dataset> DataOptions::open(const Model &model) const {
  runtime::DatasetOptions options;
  options.paths.assign(first.begin(), first.end());
  options.paths.insert(options.paths.end(), more.begin(), more.end());
  if (options.paths.empty())
    return make_error<UsageError>("--data: expected a path, but got none");
  if (!(validationFraction >= 0 && validationFraction <= 1))
    return make_error<UsageError>("--val-fraction: expected a number in [0, 1]"
                                  ", but got '" +
                                  Twine(std::to_string(validationFraction)) +
                                  "'");
  options.validationFraction = validationFraction;
  options.bytesPerToken = bytesPerToken;
  if (auto vocabulary = model.getVocabulary())
    options.vocabulary = *vocabulary;
  return runtime::Dataset::open(options);
}
