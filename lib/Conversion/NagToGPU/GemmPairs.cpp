// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What is known of elementwise programs without running them: what they make of
// zero, and of two elements of bf16 at a time.
#include "GemmEpilogue.h"
#include "RowProgram.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace nag;
using namespace nag::gemm;

/// Visits the ops on scalars of an elementwise program and tells what elements
/// are handed on: `share(to, from)`, for tensors, elements and scalars alike.
/// False where either gives up.
static bool visitElements(Block &program,
                          function_ref<bool(Operation &)> compute,
                          function_ref<bool(Value, Value)> share) {
  auto visitMap = [&](linalg::GenericOp generic) {
    Block &body = *generic.getBody();
    Operation *yield = body.getTerminator();
    return llvm::all_of(generic.getDpsInputOperands(),
                        [&](OpOperand *operand) {
                          return share(
                              generic.getMatchingBlockArgument(operand),
                              operand->get());
                        }) &&
           llvm::all_of(body.without_terminator(), compute) &&
           llvm::all_of(
               llvm::zip_equal(generic.getResults(), yield->getOperands()),
               [&](auto values) {
                 return share(std::get<0>(values), std::get<1>(values));
               });
  };
  return llvm::all_of(program, [&](Operation &op) {
    if (auto generic = dyn_cast<linalg::GenericOp>(op))
      return visitMap(generic);
    return isa<tensor::EmptyOp>(op) || compute(op);
  });
}

bool Epilogue::visitSteps(function_ref<bool(Operation &)> compute,
                          function_ref<bool(Value, Value)> share) const {
  return llvm::all_of(steps, [&](const Step &step) {
    if (!step.program)
      return share(step.op->getResult(0), step.passed);
    for (auto [operand, argument] :
         llvm::zip(step.op->getOperands(), step.program->getArguments()))
      if (!share(argument, operand))
        return false;
    if (!visitElements(*step.program, compute, share))
      return false;
    for (auto [value, made] :
         llvm::zip_equal(step.op->getResults(), step.results))
      if (!share(value, made))
        return false;
    return true;
  });
}

//===----------------------------------------------------------------------===//
// Zero
//===----------------------------------------------------------------------===//

/// Folds an op of known operands; what cannot be folded is not known.
static void foldOp(Operation &op, DenseMap<Value, Attribute> &known) {
  Attribute constant;
  if (matchPattern(&op, m_Constant(&constant))) {
    known[op.getResult(0)] = constant;
    return;
  }
  SmallVector<Attribute> operands = llvm::map_to_vector(
      op.getOperands(), [&](Value operand) { return known.lookup(operand); });
  SmallVector<OpFoldResult> results;
  if (failed(op.fold(operands, results)))
    return;
  for (auto [result, folded] : llvm::zip(op.getResults(), results)) {
    auto value = dyn_cast<Value>(folded);
    known[result] = value ? known.lookup(value) : cast<Attribute>(folded);
  }
}

bool Epilogue::keepsZero() const {
  DenseMap<Value, Attribute> known;
  known[result] = FloatAttr::get(Float32Type::get(result.getContext()), 0.0);
  auto compute = [&](Operation &op) {
    foldOp(op, known);
    return true;
  };
  auto share = [&](Value to, Value from) {
    Attribute value = known.lookup(from);
    known[to] = value;
    return true;
  };
  visitSteps(compute, share);
  return llvm::all_of(outputs, [&](Value output) {
    auto number = dyn_cast_or_null<FloatAttr>(known.lookup(output));
    return number && number.getValue().isZero();
  });
}

//===----------------------------------------------------------------------===//
// Pairs
//===----------------------------------------------------------------------===//

/// Ops whose result is one of the operands, perhaps with another sign: rounded
/// before or after. And those of which bf16 has what f32 gives, rounded.
static constexpr StringRef kChoices[] = {"arith.maximumf", "arith.minimumf",
                                         "arith.maxnumf",  "arith.minnumf",
                                         "arith.negf",     "math.absf"};
static constexpr StringRef kSums[] = {"arith.addf", "arith.subf", "arith.mulf"};

namespace {
/// Two values of f32 that bf16 holds, or that it holds once they are rounded.
struct Pair {
  Value bf16;
  bool isRounded = false;
};

/// Computes in bf16 what is the same as in f32, rounded at the end: a sum or
/// product of two values that bf16 holds, since f32 has more than twice the
/// bits, but not what is made of a rounded one.
class PairProgram {
public:
  /// Without `pairBuilder`, nothing is built.
  PairProgram(ImplicitLocOpBuilder *pairBuilder, Type pairType)
      : builder(pairBuilder), type(pairType) {}

  void set(Value element, Value pair) { pairs[element] = {pair, false}; }
  Value get(Value element) const { return pairs.lookup(element).bf16; }
  bool share(Value to, Value from);
  bool compute(Operation &op);

private:
  bool computeConstant(Value result, Attribute constant);
  bool computeSelect(arith::SelectOp op);
  bool build(Value result, OperationName name, ArrayRef<Value> scalars);

  ImplicitLocOpBuilder *builder;
  Type type;
  DenseMap<Value, Pair> pairs;
};
} // namespace

bool PairProgram::share(Value to, Value from) {
  auto known = pairs.find(from);
  if (known == pairs.end())
    return false;
  Pair pair = known->second;
  pairs[to] = pair;
  return true;
}

/// A constant that bf16 holds; others are not known.
bool PairProgram::computeConstant(Value result, Attribute constant) {
  auto number = dyn_cast<FloatAttr>(constant);
  if (!number)
    return true;
  APFloat value = number.getValue();
  bool losesInfo = false;
  value.convert(APFloat::BFloat(), APFloat::rmNearestTiesToEven, &losesInfo);
  if (losesInfo)
    return true;
  Pair &pair = pairs[result];
  if (!builder)
    return true;
  auto splat = SplatElementsAttr::get(
      cast<VectorType>(type), FloatAttr::get(builder->getBF16Type(), value));
  pair.bf16 = arith::ConstantOp::create(*builder, splat);
  return true;
}

/// Computes `result` by an op of that name of operands that are known.
bool PairProgram::build(Value result, OperationName name,
                        ArrayRef<Value> scalars) {
  Pair made;
  SmallVector<Value> operands;
  for (Value scalar : scalars) {
    auto known = pairs.find(scalar);
    if (known == pairs.end())
      return false;
    operands.push_back(known->second.bf16);
    made.isRounded |= known->second.isRounded;
  }
  StringRef op = name.getStringRef();
  bool isSum = llvm::is_contained(kSums, op);
  if (!llvm::is_contained(kChoices, op) && (!isSum || made.isRounded))
    return false;
  made.isRounded |= isSum;
  if (builder) {
    OperationState state(builder->getLoc(), name, operands, type, {});
    made.bf16 = builder->create(state)->getResult(0);
  }
  pairs[result] = made;
  return true;
}

/// The larger of a number and a constant, or the smaller; the sign of a zero
/// aside.
bool PairProgram::computeSelect(arith::SelectOp op) {
  auto less = op.getCondition().getDefiningOp<arith::CmpFOp>();
  if (!less || less.getPredicate() != arith::CmpFPredicate::OLT ||
      !matchPattern(op.getTrueValue(), m_Constant()))
    return false;
  MLIRContext *context = op.getContext();
  std::array<Value, 2> values = {op.getFalseValue(), op.getTrueValue()};
  if (less.getLhs() == values[0] && less.getRhs() == values[1])
    return build(op.getResult(), OperationName("arith.maximumf", context),
                 values);
  if (less.getLhs() == values[1] && less.getRhs() == values[0])
    return build(op.getResult(), OperationName("arith.minimumf", context),
                 values);
  return false;
}

bool PairProgram::compute(Operation &op) {
  Attribute constant;
  if (matchPattern(&op, m_Constant(&constant)))
    return computeConstant(op.getResult(0), constant);
  if (auto select = dyn_cast<arith::SelectOp>(op))
    return computeSelect(select);
  // What reads it says whether that is known.
  if (isa<arith::CmpFOp>(op))
    return true;
  return build(op.getResult(0), op.getName(),
               llvm::to_vector(op.getOperands()));
}

bool Epilogue::worksOnPairs() const {
  PairProgram program(nullptr, Type());
  program.set(result, Value());
  return visitSteps(
      [&](Operation &op) { return program.compute(op); },
      [&](Value to, Value from) { return program.share(to, from); });
}

Value Epilogue::applyToPair(ThreadCode &code, Value pair) const {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  if (worksOnPairs()) {
    PairProgram program(&builder, pair.getType());
    program.set(result, pair);
    visitSteps([&](Operation &op) { return program.compute(op); },
               [&](Value to, Value from) { return program.share(to, from); });
    return program.get(outputs.front());
  }
  auto wide = VectorType::get(2, builder.getF32Type());
  Value vector = arith::ExtFOp::create(builder, wide, pair);
  EpilogueRow row;
  row.sums = vector::ToElementsOp::create(builder, vector).getResults();
  vector =
      vector::FromElementsOp::create(builder, wide, apply(code, row).front());
  return arith::TruncFOp::create(builder, pair.getType(), vector);
}
