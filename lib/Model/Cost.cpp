// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Model/Cost.h"

#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Format.h"

using namespace mlir;
using namespace nag;
using namespace nag::model;

namespace {

/// Floating-point operations of functions, each counted once and remembered.
class FlopCounter {
public:
  explicit FlopCounter(ModuleOp root) : module(root) {}

  /// Of one call of a function; fails with a message on ops of unknown cost
  /// and on recursion.
  llvm::Expected<int64_t> count(StringRef function);

private:
  llvm::Expected<int64_t> countBlock(Block &block);
  llvm::Expected<int64_t> countOp(Operation &op);

  ModuleOp module;
  llvm::StringMap<int64_t> known;
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

llvm::Expected<int64_t> FlopCounter::countOp(Operation &op) {
  if (auto call = dyn_cast<func::CallOp>(op))
    return count(call.getCallee());
  if (auto repeat = dyn_cast<RepeatOp>(op)) {
    llvm::Expected<int64_t> flops = count(repeat.getCallee());
    if (!flops)
      return flops.takeError();
    return *flops * static_cast<int64_t>(repeat.getCount());
  }
  if (auto cost = dyn_cast<CostOpInterface>(op))
    return cost.getFlops();
  if (isFree(op) || !computesFloats(op))
    return 0;
  if (isa<arith::ArithDialect, math::MathDialect>(op.getDialect()))
    return countElements(op);
  if (auto generic = dyn_cast<linalg::GenericOp>(op)) {
    llvm::Expected<int64_t> flops = countBlock(*generic.getBody());
    if (!flops)
      return flops.takeError();
    int64_t points = 1;
    for (int64_t size : generic.getStaticLoopRanges())
      points *= size;
    return *flops * points;
  }
  return unknownCost(op);
}

llvm::Expected<int64_t> FlopCounter::countBlock(Block &block) {
  int64_t sum = 0;
  for (Operation &op : block) {
    llvm::Expected<int64_t> flops = countOp(op);
    if (!flops)
      return flops.takeError();
    sum += *flops;
  }
  return sum;
}

llvm::Expected<int64_t> FlopCounter::count(StringRef name) {
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
  llvm::Expected<int64_t> flops = countBlock(function.getBody().front());
  open.erase(name);
  if (flops)
    known[name] = *flops;
  return flops;
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

llvm::Expected<StepCost> nag::model::measureStep(ModuleOp module) {
  FlopCounter counter(module);
  llvm::Expected<int64_t> forward = counter.count("loss");
  if (!forward)
    return forward.takeError();
  llvm::Expected<int64_t> gradients = counter.count("gradients");
  if (!gradients)
    return gradients.takeError();
  llvm::Expected<int64_t> optimizer = counter.count("apply");
  if (!optimizer)
    return optimizer.takeError();
  llvm::Expected<int64_t> activations = countActivations(module);
  if (!activations)
    return activations.takeError();
  StepCost cost;
  countParameters(module.lookupSymbol<func::FuncOp>("loss"), cost);
  if (cost.tokens == 0)
    return llvm::createStringError(
        "expected an argument named tokens of @loss, but got none");
  cost.forwardFlops = *forward;
  cost.backwardFlops = *gradients - *forward;
  cost.optimizerFlops = *optimizer;
  cost.activationBytes = *activations;
  return cost;
}

llvm::json::Object nag::model::toJSON(const StepCost &cost) {
  llvm::json::Object groups;
  for (const auto &[group, count] : cost.groupParameters)
    groups[group] = count;
  auto perToken = [&](int64_t flops) {
    return static_cast<double>(flops) / cost.tokens;
  };
  return llvm::json::Object{
      {"parameters", cost.parameters},
      {"parameters_by_group", std::move(groups)},
      {"tokens_per_step", cost.tokens},
      {"flops_per_step", llvm::json::Object{{"forward", cost.forwardFlops},
                                            {"backward", cost.backwardFlops},
                                            {"optimizer", cost.optimizerFlops},
                                            {"total", cost.totalFlops()}}},
      {"flops_per_token",
       llvm::json::Object{{"forward", perToken(cost.forwardFlops)},
                          {"backward", perToken(cost.backwardFlops)},
                          {"optimizer", perToken(cost.optimizerFlops)},
                          {"total", perToken(cost.totalFlops())}}},
      {"activation_bytes", cost.activationBytes}};
}

void nag::model::print(const StepCost &cost, raw_ostream &os) {
  auto row = [&](const char *name, int64_t flops) {
    os << llvm::format("%-12s %20lld %20.1f\n", name,
                       static_cast<long long>(flops),
                       static_cast<double>(flops) / cost.tokens);
  };
  os << "parameters   "
     << llvm::format("%20lld", static_cast<long long>(cost.parameters));
  const char *separator = "  (";
  for (const auto &[group, count] : cost.groupParameters) {
    os << separator << group << ' ' << count;
    separator = ", ";
  }
  os << ")\n";
  os << llvm::format("%-12s %20lld\n", "tokens",
                     static_cast<long long>(cost.tokens));
  os << llvm::format("%-12s %20lld bytes saved for the backward pass\n",
                     "activations",
                     static_cast<long long>(cost.activationBytes));
  os << llvm::format("%-12s %20s %20s\n", "FLOPs", "per step", "per token");
  row("forward", cost.forwardFlops);
  row("backward", cost.backwardFlops);
  row("optimizer", cost.optimizerFlops);
  row("total", cost.totalFlops());
}
