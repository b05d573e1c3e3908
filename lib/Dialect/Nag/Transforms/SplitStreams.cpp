// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nag-split-streams: streams cross functions, calls and repeats as two tensors.
#include "nag/Dialect/Nag/Transforms/Passes.h"

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/PatternMatch.h"

namespace nag {
#define GEN_PASS_DEF_NAGSPLITSTREAMS
#include "nag/Dialect/Nag/Transforms/Passes.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

/// What the log-norm's argument or result is called beside the direction's.
static constexpr llvm::StringLiteral kLogNormSuffix = ".log_norm";

static SmallVector<Type> splitTypes(TypeRange types) {
  SmallVector<Type> result;
  for (Type type : types) {
    if (auto stream = dyn_cast<StreamType>(type))
      result.append({stream.getDirectionType(), stream.getLogNormType()});
    else
      result.push_back(type);
  }
  return result;
}

/// `values` with every stream as its direction and its log-norm.
static SmallVector<Value> splitValues(ImplicitLocOpBuilder &builder,
                                      ValueRange values) {
  SmallVector<Value> result;
  for (Value value : values) {
    if (!isa<StreamType>(value.getType())) {
      result.push_back(value);
      continue;
    }
    auto make = value.getDefiningOp<MakeStreamOp>();
    auto stream = cast<StreamType>(value.getType());
    result.push_back(
        make ? make.getDirection()
             : DirectionOp::create(builder, stream.getDirectionType(), value));
    result.push_back(
        make ? make.getLogNorm()
             : LogNormOp::create(builder, stream.getLogNormType(), value));
  }
  return result;
}

/// The inverse: values of the types `types` from `parts`.
static SmallVector<Value> joinValues(ImplicitLocOpBuilder &builder,
                                     TypeRange types, ValueRange parts) {
  SmallVector<Value> result;
  for (Type type : types) {
    bool isStream = isa<StreamType>(type);
    result.push_back(isStream
                         ? MakeStreamOp::create(builder, parts[0], parts[1])
                         : parts[0]);
    parts = parts.drop_front(isStream ? 2 : 1);
  }
  return result;
}

/// Attributes of arguments or results of the types `types`, for their parts.
/// The log-norm of something named takes the name with a suffix.
static ArrayAttr splitAttributes(ArrayAttr attributes, TypeRange types) {
  if (!attributes)
    return attributes;
  SmallVector<Attribute> result;
  for (auto [attribute, type] : llvm::zip_equal(attributes, types)) {
    result.push_back(attribute);
    if (!isa<StreamType>(type))
      continue;
    NamedAttrList logNorm(cast<DictionaryAttr>(attribute));
    if (auto name = dyn_cast_or_null<StringAttr>(logNorm.get(kNameAttrName)))
      logNorm.set(
          kNameAttrName,
          StringAttr::get(type.getContext(), name.getValue() + kLogNormSuffix));
    result.push_back(logNorm.getDictionary(type.getContext()));
  }
  return ArrayAttr::get(attributes.getContext(), result);
}

static void splitArguments(func::FuncOp function) {
  if (function.isExternal())
    return;
  Block &entry = function.front();
  auto builder = ImplicitLocOpBuilder::atBlockBegin(function.getLoc(), &entry);
  for (unsigned i = 0; i < entry.getNumArguments(); ++i) {
    BlockArgument argument = entry.getArgument(i);
    auto stream = dyn_cast<StreamType>(argument.getType());
    if (!stream)
      continue;
    Location loc = argument.getLoc();
    Value direction =
        entry.insertArgument(i + 1, stream.getDirectionType(), loc);
    Value logNorm = entry.insertArgument(i + 2, stream.getLogNormType(), loc);
    argument.replaceAllUsesWith(
        MakeStreamOp::create(builder, direction, logNorm));
    entry.eraseArgument(i);
    ++i;
  }
}

static void splitSignature(func::FuncOp function) {
  FunctionType type = function.getFunctionType();
  splitArguments(function);
  if (auto attributes =
          splitAttributes(function.getArgAttrsAttr(), type.getInputs()))
    function.setArgAttrsAttr(attributes);
  if (auto attributes =
          splitAttributes(function.getResAttrsAttr(), type.getResults()))
    function.setResAttrsAttr(attributes);
  function.setFunctionType(FunctionType::get(function.getContext(),
                                             splitTypes(type.getInputs()),
                                             splitTypes(type.getResults())));
}

static void splitReturn(func::ReturnOp op) {
  ImplicitLocOpBuilder builder(op.getLoc(), op);
  op->setOperands(splitValues(builder, op.getOperands()));
}

static void replaceSplit(RewriterBase &rewriter, Operation *op,
                         Operation *split) {
  rewriter.setInsertionPointAfter(split);
  ImplicitLocOpBuilder builder(op->getLoc(), rewriter);
  rewriter.replaceOp(
      op, joinValues(builder, op->getResultTypes(), split->getResults()));
}

static void splitCall(RewriterBase &rewriter, func::CallOp op) {
  ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
  auto split = func::CallOp::create(builder, op.getCalleeAttr(),
                                    splitTypes(op.getResultTypes()),
                                    splitValues(builder, op.getOperands()));
  split->setDiscardableAttrs(op->getDiscardableAttrDictionary());
  replaceSplit(rewriter, op, split);
}

static void splitRepeat(RewriterBase &rewriter, RepeatOp op) {
  ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
  auto split =
      RepeatOp::create(builder, splitTypes(op.getCarryResults().getTypes()),
                       op.getStackedResults().getTypes(), op.getCalleeAttr(),
                       op.getCountAttr(), splitValues(builder, op.getCarry()),
                       op.getStacked(), splitValues(builder, op.getShared()),
                       op.getFirstAttr(), op.getReverseAttr());
  split->setDiscardableAttrs(op->getDiscardableAttrDictionary());
  replaceSplit(rewriter, op, split);
}

/// Folds projections of nag.make_stream and erases what is dead then.
static void cleanUp(RewriterBase &rewriter, func::FuncOp function) {
  function.walk([&](Operation *op) {
    if (!isa<DirectionOp, LogNormOp>(op))
      return;
    if (auto make = op->getOperand(0).getDefiningOp<MakeStreamOp>())
      rewriter.replaceOp(op, make->getOperand(isa<LogNormOp>(op)));
  });
  function.walk([&](MakeStreamOp op) {
    if (op->use_empty())
      rewriter.eraseOp(op);
  });
}

static bool handlesStreams(Operation *op) {
  return isa_and_nonnull<NagDialect>(op->getDialect());
}

/// Fails at an op through which a stream would still pass whole.
static LogicalResult verifySplit(func::FuncOp function) {
  auto isStream = [](Type type) { return isa<StreamType>(type); };
  auto verify = [&](Operation *op) -> WalkResult {
    bool carries = llvm::any_of(op->getOperandTypes(), isStream) ||
                   llvm::any_of(op->getResultTypes(), isStream);
    if (!carries || handlesStreams(op))
      return WalkResult::advance();
    return op->emitOpError("expected streams only in nag ops, calls and "
                           "returns, but got one here");
  };
  return failure(function.walk<WalkOrder::PreOrder>(verify).wasInterrupted());
}

namespace {

struct NagSplitStreamsPass
    : nag::impl::NagSplitStreamsBase<NagSplitStreamsPass> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    getOperation()->walk([&](func::FuncOp function) {
      splitSignature(function);
      function.walk([&](Operation *op) {
        rewriter.setInsertionPoint(op);
        if (auto call = dyn_cast<func::CallOp>(op))
          splitCall(rewriter, call);
        else if (auto repeat = dyn_cast<RepeatOp>(op))
          splitRepeat(rewriter, repeat);
        else if (auto terminator = dyn_cast<func::ReturnOp>(op))
          splitReturn(terminator);
      });
      cleanUp(rewriter, function);
      if (failed(verifySplit(function)))
        signalPassFailure();
    });
  }
};

} // namespace
