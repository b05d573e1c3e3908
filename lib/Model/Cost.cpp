// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Model/Cost.h"

#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "nag/Dialect/Nag/Transforms/RoutedRows.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace nag;
using namespace nag::model;

RoutedCount &RoutedCount::operator+=(const RoutedCount &other) {
  fixed += other.fixed;
  attention += other.attention;
  mlp += other.mlp;
  pairs += other.pairs;
  return *this;
}

RoutedCount RoutedCount::operator*(double factor) const {
  return {fixed * factor, attention * factor, mlp * factor, pairs * factor};
}

namespace {

/// Where the cost of an op belongs: to every batch, or to a routed sub-layer.
class CostSplitter {
public:
  explicit CostSplitter(Block &functionBody) : body(functionBody), rows(body) {}

  RoutedCount assign(Operation &op, double cost) const {
    Value offsets = isa<RouteOp>(op) ? Value() : rows.findOffsets(&op);
    RoutedCount count;
    if (!offsets)
      count.fixed = cost;
    else
      (isAttention(offsets) ? count.attention : count.mlp) = cost;
    return count;
  }

  /// Of floating-point operations, those of pairs whose keys are routed apart.
  RoutedCount assignFlops(Operation &op, double flops) const {
    RoutedCount count = assign(op, flops);
    auto costed = dyn_cast<CostOpInterface>(op);
    auto pairs = costed ? costed.getPairCost() : std::nullopt;
    if (count.fixed > 0 || !pairs || !pairs->routesKeys)
      return count;
    count.pairs = double(pairs->meanPairs) * double(pairs->flops);
    count.attention -= count.pairs;
    return count;
  }

private:
  /// The routed sub-layer is attention when one is routed by these offsets.
  bool isAttention(Value offsets) const {
    return llvm::any_of(offsets.getUsers(), [&](Operation *user) {
      return isa<AttentionOp, AttentionVJPOp>(user);
    });
  }

  Block &body;
  RoutedRows rows;
};

/// Adds up a cost over functions, each counted once and remembered.
class Counter {
public:
  /// The cost of one op that is no call; fails with a message where it is
  /// unknown.
  using OpCost = std::function<llvm::Expected<double>(Operation &)>;

  Counter(ModuleOp root, OpCost opCost, bool countsFlops = false)
      : module(root), cost(std::move(opCost)), isFlops(countsFlops) {}

  /// Of one call of a function; fails on recursion, too.
  llvm::Expected<RoutedCount> count(StringRef function);

private:
  llvm::Expected<RoutedCount> countBlock(Block &block);
  llvm::Expected<RoutedCount> countOp(Operation &op,
                                      const CostSplitter &splitter);

  ModuleOp module;
  OpCost cost;
  bool isFlops;
  llvm::StringMap<RoutedCount> known;
  llvm::StringSet<> open;
};

} // namespace

static llvm::Error unknownCost(Operation &op) {
  return llvm::createStringError("expected ops of known cost, but got '" +
                                 op.getName().getStringRef() + "'");
}

static bool computesFloats(Operation &op) {
  return llvm::any_of(op.getResultTypes(), [](Type type) {
    return isa<FloatType>(getElementTypeOrSelf(type));
  });
}

/// One operation per element of an elementwise op's result.
static int64_t countElements(Operation &op) {
  auto type = dyn_cast<RankedTensorType>(op.getResult(0).getType());
  return type ? type.getNumElements() : 1;
}

/// Ops that move values, or make constants, without arithmetic.
static bool isFree(Operation &op) {
  return isa<tensor::TensorDialect, func::FuncDialect>(op.getDialect()) ||
         isa<arith::ConstantOp, arith::ExtFOp, arith::TruncFOp, linalg::YieldOp,
             linalg::FillOp, MakeStreamOp, DirectionOp, LogNormOp, YieldOp>(op);
}

/// Floating-point operations of an op that is no call.
static llvm::Expected<double> countFlops(Operation &op) {
  if (auto cost = dyn_cast<CostOpInterface>(op))
    return double(cost.getFlops());
  if (isFree(op) || !computesFloats(op))
    return 0;
  if (isa<arith::ArithDialect, math::MathDialect>(op.getDialect()))
    return double(countElements(op));
  auto generic = dyn_cast<linalg::GenericOp>(op);
  if (!generic)
    return unknownCost(op);
  double points = 1, sum = 0;
  for (int64_t size : generic.getStaticLoopRanges())
    points *= double(size);
  for (Operation &nested : *generic.getBody()) {
    llvm::Expected<double> flops = countFlops(nested);
    if (!flops)
      return flops.takeError();
    sum += *flops;
  }
  return sum * points;
}

static double countRowsOf(Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  return double(type.getNumElements()) / double(type.getShape().back());
}

static double elementsOf(Value value) {
  return double(cast<RankedTensorType>(value.getType()).getNumElements());
}

/// Trained numbers that the rows of an op meet, one row after the other. Where
/// several ops share a weight, as the gates of all tokens and of the executed
/// ones, the op with the most rows counts.
static double countMetParameters(Operation &op) {
  if (auto linear = dyn_cast<LinearOp>(op)) {
    double rows = countRowsOf(linear.getInput());
    for (Operation *other : linear.getWeight().getUsers())
      if (auto wider = dyn_cast<LinearOp>(other);
          wider && countRowsOf(wider.getInput()) >= rows && wider != linear &&
          (countRowsOf(wider.getInput()) > rows ||
           wider->isBeforeInBlock(linear)))
        return 0;
    return rows * elementsOf(linear.getWeight());
  }
  if (auto embedding = dyn_cast<EmbeddingOp>(op))
    return elementsOf(embedding.getResult());
  if (auto gain = dyn_cast<GainOp>(op))
    return countRowsOf(gain.getInput()) * elementsOf(gain.getGain());
  return 0;
}

/// Bytes of the keys and values of attention.
static double countKeyValueBytes(Operation &op) {
  auto attention = dyn_cast<AttentionOp>(op);
  if (!attention)
    return 0;
  return double(getTypeBytes(attention.getKey().getType()) +
                getTypeBytes(attention.getValue().getType()));
}

llvm::Expected<RoutedCount> Counter::countOp(Operation &op,
                                             const CostSplitter &splitter) {
  if (auto call = dyn_cast<func::CallOp>(op))
    return count(call.getCallee());
  if (auto repeat = dyn_cast<RepeatOp>(op)) {
    llvm::Expected<RoutedCount> once = count(repeat.getCallee());
    if (!once)
      return once.takeError();
    return *once * double(repeat.getCount());
  }
  llvm::Expected<double> own = cost(op);
  if (!own)
    return own.takeError();
  return isFlops ? splitter.assignFlops(op, *own) : splitter.assign(op, *own);
}

llvm::Expected<RoutedCount> Counter::countBlock(Block &block) {
  RoutedCount sum;
  CostSplitter splitter(block);
  for (Operation &op : block) {
    llvm::Expected<RoutedCount> part = countOp(op, splitter);
    if (!part)
      return part.takeError();
    sum += *part;
  }
  return sum;
}

llvm::Expected<RoutedCount> Counter::count(StringRef name) {
  auto found = known.find(name);
  if (found != known.end())
    return found->second;
  auto function = module.lookupSymbol<func::FuncOp>(name);
  if (!function || function.isExternal())
    return llvm::createStringError("expected a function @" + name +
                                   " with a body, but got none");
  if (!open.insert(name).second)
    return llvm::createStringError(
        "expected functions without recursion, but @" + name + " calls itself");
  llvm::Expected<RoutedCount> sum = countBlock(function.getBody().front());
  open.erase(name);
  if (sum)
    known[name] = *sum;
  return sum;
}

namespace {
/// Collects the pairs of the layers that an entry point repeats.
class PairCollector {
public:
  PairCollector(ModuleOp root, PassCost &passes) : module(root), cost(passes) {}

  void addCalls(func::FuncOp entry);

private:
  void addLayers(RepeatOp repeat, int64_t first);
  void add(const PairCost &pairs, int64_t layer);

  ModuleOp module;
  PassCost &cost;
  std::map<int64_t, RoutedPairs> layers;
};
} // namespace

void PairCollector::addCalls(func::FuncOp entry) {
  int64_t end = 0;
  for (auto repeat : entry.getOps<RepeatOp>()) {
    int64_t count = repeat.getCount();
    // The backward pass begins with the last layers.
    if (repeat.getReverse())
      end -= count;
    addLayers(repeat, end);
    if (!repeat.getReverse())
      end += count;
  }
  for (const auto &[layer, pairs] : layers)
    cost.pairs.push_back(pairs);
}

void PairCollector::addLayers(RepeatOp repeat, int64_t first) {
  auto callee = module.lookupSymbol<func::FuncOp>(repeat.getCallee());
  Block &body = callee.getBody().front();
  CostSplitter splitter(body);
  for (auto op : body.getOps<CostOpInterface>()) {
    std::optional<PairCost> pairs = op.getPairCost();
    if (!pairs)
      continue;
    double mean = double(pairs->meanPairs) * double(pairs->flops);
    cost.meanPairs +=
        splitter.assignFlops(*op, mean) * double(repeat.getCount());
    for (int64_t i = 0, e = repeat.getCount(); i != e; ++i)
      add(*pairs, first + i);
  }
}

/// Sub-layers are attention and MLP in turn.
void PairCollector::add(const PairCost &pairs, int64_t layer) {
  RoutedPairs &sum = layers[layer];
  sum.subLayer = 2 * layer;
  sum.flops += double(pairs.flops);
  sum.window = pairs.window;
  sum.routesKeys = pairs.routesKeys;
}

static PassCost collectPasses(ModuleOp module, StringRef entry,
                              const RoutedCount &flops) {
  PassCost cost;
  cost.flops = flops;
  PairCollector(module, cost)
      .addCalls(module.lookupSymbol<func::FuncOp>(entry));
  return cost;
}

/// Bytes of a value; a view of another takes none of its own.
static int64_t getStorageBytes(Value value) {
  Operation *op = value.getDefiningOp();
  if (isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp,
          tensor::ExtractSliceOp, arith::ConstantOp>(op))
    return 0;
  if (auto stream = dyn_cast<StreamType>(value.getType()))
    return getTypeBytes(stream.getDirectionType()) +
           getTypeBytes(stream.getLogNormType());
  return getTypeBytes(value.getType());
}

/// Bytes of the values defined up to `last` and used by an op after it, the
/// return excepted.
static int64_t countLiveBytes(Block &block, Operation *last) {
  int64_t bytes = 0;
  for (Operation &op : block) {
    for (Value result : op.getResults())
      if (llvm::any_of(result.getUsers(), [&](Operation *user) {
            return last->isBeforeInBlock(user) && user != block.getTerminator();
          }))
        bytes += getStorageBytes(result);
    if (&op == last)
      break;
  }
  return bytes;
}

/// The loss is the first result of @gradients.
static llvm::Expected<int64_t> countActivations(ModuleOp module) {
  auto gradients = module.lookupSymbol<func::FuncOp>("gradients");
  Block &block = gradients.getBody().front();
  Operation *loss = block.getTerminator()->getNumOperands() == 0
                        ? nullptr
                        : block.getTerminator()->getOperand(0).getDefiningOp();
  if (!loss)
    return llvm::createStringError(
        "expected @gradients to compute a loss as its first result");
  return countLiveBytes(block, loss);
}

static void countParameters(func::FuncOp loss, StepCost &cost) {
  for (unsigned i = 0, e = loss.getNumArguments(); i != e; ++i) {
    auto type = dyn_cast<RankedTensorType>(loss.getArgumentTypes()[i]);
    auto parameter = loss.getArgAttrOfType<ParamAttr>(i, kParamAttrName);
    auto name = loss.getArgAttrOfType<StringAttr>(i, kNameAttrName);
    if (type && parameter) {
      cost.parameters += type.getNumElements();
      cost.groupParameters[parameter.getGroup().str()] += type.getNumElements();
    } else if (type && name && name.getValue() == "tokens") {
      cost.tokens = type.getNumElements();
    }
  }
}

/// The rate of the model's configuration where the rows are counted at run
/// time.
static double readExpectedSkips(ModuleOp module, const RoutedCount &forward) {
  auto config = module->getAttrOfType<DictionaryAttr>(kConfigAttrName);
  auto rate = config ? config.getAs<FloatAttr>("mod_rate") : FloatAttr();
  bool isOpen = forward.attention > 0 || forward.mlp > 0;
  return rate && isOpen ? rate.getValueAsDouble() : 0;
}

/// Numbers per token of the forward pass that are no FLOPs.
static llvm::Error countPerToken(ModuleOp module, StepCost &cost) {
  for (auto [measure, place] :
       {std::pair(&countMetParameters, &cost.parametersPerToken),
        std::pair(&countKeyValueBytes, &cost.kvBytesPerToken)}) {
    auto one = [count = measure](Operation &op) -> llvm::Expected<double> {
      return count(op);
    };
    llvm::Expected<RoutedCount> sum = Counter(module, one).count("loss");
    if (!sum)
      return sum.takeError();
    *place = *sum * (1 / double(cost.tokens));
  }
  return llvm::Error::success();
}

llvm::Expected<StepCost> nag::model::measureStep(ModuleOp module) {
  Counter counter(module, countFlops, /*countsFlops=*/true);
  StepCost cost;
  RoutedCount gradients, optimizer;
  for (auto [name, place] :
       {std::pair("loss", &cost.forward), std::pair("gradients", &gradients),
        std::pair("apply", &optimizer)}) {
    llvm::Expected<RoutedCount> sum = counter.count(name);
    if (!sum)
      return sum.takeError();
    *place = *sum;
  }
  llvm::Expected<int64_t> activations = countActivations(module);
  if (!activations)
    return activations.takeError();
  countParameters(module.lookupSymbol<func::FuncOp>("loss"), cost);
  if (cost.tokens == 0)
    return llvm::createStringError(
        "expected an argument named tokens of @loss, but got none");
  cost.evaluation = collectPasses(module, "loss", cost.forward);
  cost.training = collectPasses(module, "gradients", gradients);
  cost.backward = gradients;
  cost.backward += cost.forward * -1;
  cost.forwardFlops = int64_t(cost.forward.all());
  cost.backwardFlops = int64_t(cost.backward.all());
  cost.optimizerFlops = int64_t(optimizer.all());
  cost.activationBytes = *activations;
  cost.expectedSkips = readExpectedSkips(module, cost.forward);
  if (llvm::Error error = countPerToken(module, cost))
    return error;
  return cost;
}
