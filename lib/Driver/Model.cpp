// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Driver/Model.h"

#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "nag/Dialect/Nag/Transforms/HostSignature.h"
#include "nag/Dialect/Nag/Transforms/InspectionPasses.h"
#include "nag/Dialect/Nag/Transforms/RoutingPasses.h"
#include "nag/Driver/Diagnostics.h"
#include "nag/Model/Build.h"
#include "nag/Runtime/Errors.h"
#include "nag/Support/Nesting.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"
#include <cstring>

using namespace llvm;
using namespace nag;
using namespace nag::driver;

using OwningModule = mlir::OwningOpRef<mlir::ModuleOp>;

//===- Reading ------------------------------------------------------------===//

static const mlir::DialectRegistry &getRegistry() {
  static const mlir::DialectRegistry registry = [] {
    mlir::DialectRegistry all;
    registerDialects(all);
    return all;
  }();
  return registry;
}

/// MLIR's parser recurses without a limit.
static Error checkNesting(StringRef text, StringRef name) {
  constexpr size_t limit = 256;
  std::optional<size_t> at = findDeepBracket(text, "([{<", ")]}>", limit);
  if (!at)
    return Error::success();
  return createStringError(
      formatv("{0}:{1}: expected at most {2} brackets within one another", name,
              text.take_front(*at).count('\n') + 1, limit)
          .str());
}

static Expected<OwningModule> parse(std::unique_ptr<MemoryBuffer> buffer,
                                    StringRef name,
                                    mlir::MLIRContext &context) {
  if (Error error = checkNesting(buffer->getBuffer(), name))
    return std::move(error);
  DiagnosticCollector diagnostics(context);
  SourceMgr sources;
  sources.AddNewSourceBuffer(std::move(buffer), SMLoc());
  auto module = mlir::parseSourceFile<mlir::ModuleOp>(sources, &context);
  if (!module)
    return diagnostics.takeError(name + ": expected a module");
  return module;
}

static Expected<std::unique_ptr<MemoryBuffer>> open(StringRef path) {
  auto buffer = MemoryBuffer::getFileOrSTDIN(path, /*IsText=*/true);
  if (!buffer)
    return createStringError(path + ": " + buffer.getError().message());
  return std::move(*buffer);
}

Expected<OwningModule> nag::driver::readModule(StringRef path,
                                               mlir::MLIRContext &context) {
  auto buffer = open(path);
  if (!buffer)
    return buffer.takeError();
  return ::parse(std::move(*buffer), path, context);
}

Model::Model(StringRef origin) : name(origin), context(getRegistry()) {}

Error Model::parseBuffer(std::unique_ptr<MemoryBuffer> buffer) {
  auto parsed = ::parse(std::move(buffer), name, context);
  if (!parsed)
    return parsed.takeError();
  module = std::move(*parsed);
  return Error::success();
}

Expected<std::unique_ptr<Model>> Model::read(StringRef path) {
  auto buffer = open(path);
  if (!buffer)
    return buffer.takeError();
  std::unique_ptr<Model> model(new Model(path));
  if (Error error = model->parseBuffer(std::move(*buffer)))
    return error;
  return model;
}

Expected<std::unique_ptr<Model>> Model::parse(StringRef text, StringRef name) {
  std::unique_ptr<Model> model(new Model(name));
  if (Error error =
          model->parseBuffer(MemoryBuffer::getMemBufferCopy(text, name)))
    return error;
  return model;
}

Expected<std::unique_ptr<Model>>
Model::build(const model::ModelConfig &config) {
  std::unique_ptr<Model> model(new Model("model"));
  model::loadModelDialects(model->context);
  DiagnosticCollector diagnostics(model->context);
  model->module = model::buildModel(model->context, config);
  if (failed(mlir::verify(*model->module)))
    return diagnostics.takeError("the model does not verify");
  return model;
}

std::string Model::print() const {
  std::lock_guard<std::mutex> lock(mutex);
  std::string text;
  raw_string_ostream os(text);
  model::printModel(module.get(), os);
  return text;
}

Expected<model::ModelConfig> Model::readConfig() const {
  return model::readConfig(module.get(), name);
}

std::optional<int64_t> Model::getVocabulary() const {
  auto config =
      module.get()->getAttrOfType<mlir::DictionaryAttr>(kConfigAttrName);
  auto size = config ? config.getAs<mlir::IntegerAttr>("vocab") : nullptr;
  return size ? std::optional(size.getInt()) : std::nullopt;
}

//===- Arguments that are indices -----------------------------------------===//

namespace {
struct ArgumentRange {
  IndexRange range;
  bool isNamed; // by nag.name

  bool agreesWith(const ArgumentRange &other) const {
    return range.argument != other.range.argument ||
           (isNamed && other.isNamed && range.limit == other.range.limit &&
            range.ignored == other.range.ignored);
  }
};
} // namespace

/// The range of the argument that a value is; nothing for other values.
static std::optional<ArgumentRange> rangeOf(mlir::Value value, int64_t limit,
                                            std::optional<int64_t> ignored) {
  auto argument = dyn_cast<mlir::BlockArgument>(value);
  auto function =
      argument
          ? dyn_cast<mlir::func::FuncOp>(argument.getOwner()->getParentOp())
          : nullptr;
  if (!function)
    return std::nullopt;
  unsigned index = argument.getArgNumber();
  bool isNamed = function.getArgAttr(index, kNameAttrName) != nullptr;
  return ArgumentRange{{function.getName().str(),
                        getArgumentBufferName(function, index), limit, ignored},
                       isNamed};
}

/// Lets names speak for any function where all that have them agree.
static std::vector<IndexRange>
shareNames(const std::vector<ArgumentRange> &ranges) {
  std::vector<IndexRange> shared;
  for (const ArgumentRange &own : ranges) {
    IndexRange &range = shared.emplace_back(own.range);
    if (own.isNamed && llvm::all_of(ranges, [&](const ArgumentRange &other) {
          return own.agreesWith(other);
        }))
      range.function.clear();
  }
  return shared;
}

std::vector<IndexRange> Model::getIndexRanges() const {
  std::vector<ArgumentRange> ranges;
  auto add = [&](mlir::Value value, int64_t limit,
                 std::optional<int64_t> ignored) {
    if (auto range = rangeOf(value, limit, ignored))
      ranges.push_back(std::move(*range));
  };
  auto addTargets = [&](auto loss) {
    add(loss.getTargets(), loss.getVocab(),
        static_cast<int32_t>(loss.getIgnoreIndex()));
  };
  auto addPlaces = [&](auto op, mlir::Value all) {
    ArrayRef<int64_t> shape =
        cast<mlir::RankedTensorType>(all.getType()).getShape();
    add(op.getIndices(), shape[0] * shape[1], -1);
    add(op.getOffsets(), op.getIndices().getType().getDimSize(0) + 1,
        std::nullopt);
  };
  module.get().walk([&](mlir::Operation *op) {
    TypeSwitch<mlir::Operation *>(op)
        .Case<EmbeddingOp>([&](EmbeddingOp look) {
          add(look.getTokens(), look.getTable().getType().getDimSize(0),
              std::nullopt);
        })
        .Case<EmbeddingVJPOp>([&](EmbeddingVJPOp look) {
          add(look.getTokens(), look.getRows(), std::nullopt);
        })
        .Case<TakeOp>([&](TakeOp take) { addPlaces(take, take.getSource()); })
        .Case<PutOp>([&](PutOp put) { addPlaces(put, put.getRest()); })
        .Case<CrossEntropyOp, TokenLossOp, HeadLossOp>(addTargets);
  });
  return shareNames(ranges);
}

Error nag::driver::checkIndices(ArrayRef<IndexRange> ranges, StringRef function,
                                const runtime::TensorInfo &argument,
                                const void *data) {
  if (argument.dtype != runtime::DType::I32)
    return Error::success();
  function.consume_back(".gradients");
  int64_t count = runtime::getNumElements(argument.shape);
  for (const IndexRange &range : ranges) {
    if (range.argument != argument.name ||
        (!range.function.empty() && range.function != function))
      continue;
    for (int64_t i = 0; i < count; ++i) {
      // The data may lie anywhere.
      int32_t value;
      std::memcpy(&value, static_cast<const char *>(data) + i * sizeof(value),
                  sizeof(value));
      if ((value < 0 || value >= range.limit) && value != range.ignored)
        return runtime::makeError(
            "argument '{0}': expected numbers in [0, {1}){2}, but got {3}",
            argument.name, range.limit,
            range.ignored ? formatv(" or {0}", *range.ignored).str() : "",
            value);
    }
  }
  return Error::success();
}

//===- Compiling ----------------------------------------------------------===//

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

/// Leaves only the public functions that were asked for.
static void keepFunctions(mlir::ModuleOp module,
                          ArrayRef<std::string> functions) {
  auto loss = module.lookupSymbol<mlir::func::FuncOp>("loss");
  bool losesLoss = loss && !is_contained(functions, "loss");
  for (auto function :
       make_early_inc_range(module.getOps<mlir::func::FuncOp>())) {
    if (function.isPrivate() || function == loss)
      continue;
    if (!is_contained(functions, function.getName()))
      function.erase();
    else if (losesLoss)
      copyParameters(loss, function);
  }
  if (losesLoss)
    loss.erase();
}

static mlir::func::FuncOp getLogits(mlir::ModuleOp module) {
  return module.lookupSymbol<mlir::func::FuncOp>("logits");
}

bool Model::canDeriveNorms() const {
  mlir::func::FuncOp logits = getLogits(module.get());
  return logits && !logits.isExternal() && hasResidualNorms(logits) &&
         !module.get().lookupSymbol("norms");
}

/// Adds @norms to a module from which it can be derived.
static LogicalResult deriveNorms(mlir::ModuleOp module) {
  mlir::PassManager manager(module.getContext());
  manager.addPass(createNagBuildNorms());
  return manager.run(module);
}

Error Model::expectFunctions(ArrayRef<std::string> functions) const {
  for (StringRef function : functions)
    if (!module.get().lookupSymbol<mlir::func::FuncOp>(function) &&
        !(function == "norms" && canDeriveNorms()))
      return createStringError(name + ": expected a function @" + function +
                               ", but got none");
  return Error::success();
}

Expected<std::unique_ptr<runtime::Program>>
Model::compile(const CompileOptions &options) const {
  if (Error error = options.target.check())
    return error;
  std::lock_guard<std::mutex> lock(mutex);
  std::vector<std::string> called = options.functions;
  if (!options.differentiate.empty() && !called.empty())
    called.push_back(options.differentiate);
  bool derivesNorms = is_contained(called, "norms") && canDeriveNorms();
  if (Error error = expectFunctions(called))
    return error;
  OwningModule copy = module.get().clone();
  DiagnosticCollector diagnostics(context);
  if (derivesNorms && failed(deriveNorms(*copy)))
    return diagnostics.takeError(name + ": cannot derive @norms");
  if (!called.empty())
    keepFunctions(*copy, called);
  auto program = createProgram(*copy, options);
  if (program)
    return program;
  return diagnostics.takeError(name + ": " + toString(program.takeError()));
}

Expected<model::StepCost> Model::measureStep(RecomputeMode recompute) const {
  std::lock_guard<std::mutex> lock(mutex);
  OwningModule copy = module.get().clone();
  DiagnosticCollector diagnostics(context);
  TrainingPipelineOptions options;
  options.recompute = recompute;
  // Counted op by op.
  options.fuseHead = false;
  mlir::PassManager manager(&context);
  buildTrainingPipeline(manager, options);
  manager.addPass(createNagReuseRows());
  if (failed(manager.run(*copy)))
    return diagnostics.takeError(name + ": cannot be differentiated");
  Expected<model::StepCost> cost = model::measureStep(*copy);
  if (!cost)
    return createStringError(name + ": " + toString(cost.takeError()));
  return cost;
}

static runtime::ExecutedCount convert(const model::RoutedCount &count) {
  return {count.fixed, count.attention, count.mlp, count.pairs};
}

runtime::PassCosts nag::driver::convertCosts(const model::PassCost &passes) {
  runtime::PassCosts costs{
      convert(passes.flops), convert(passes.meanPairs), {}};
  for (const model::RoutedPairs &pairs : passes.pairs)
    costs.pairs.push_back(
        {pairs.subLayer, pairs.flops, pairs.window, pairs.routesKeys});
  return costs;
}

runtime::ExecutionCosts Model::countExecution(RecomputeMode recompute) const {
  runtime::ExecutionCosts costs;
  Expected<model::StepCost> step = measureStep(recompute);
  if (!step) {
    consumeError(step.takeError());
    return costs;
  }
  costs.batch = convertCosts(step->training);
  costs.optimizerFlops = double(step->optimizerFlops);
  costs.parametersPerToken = convert(step->parametersPerToken);
  costs.kvBytesPerToken = convert(step->kvBytesPerToken);
  return costs;
}
