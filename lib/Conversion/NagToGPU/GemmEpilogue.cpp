// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Row-wise ops that a GEMM applies to its sums, as their row programs say:
// those that combine elements at the same place, and those that reduce short
// rows.
#include "Gemm.h"
#include "RowProgram.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace nag;
using namespace nag::gemm;

/// Whether a generic maps elements of rows, each on its own.
static bool isElementwise(linalg::GenericOp generic) {
  auto isIdentity = [](AffineMap map) {
    return map.getNumDims() == 1 && map.isIdentity();
  };
  return generic.getNumParallelLoops() == 1 && generic.getNumLoops() == 1 &&
         llvm::all_of(generic.getIndexingMapsArray(), isIdentity) &&
         !generic.hasIndexSemantics() &&
         llvm::all_of(generic.getRegionOutputArgs(),
                      [](BlockArgument init) { return init.use_empty(); });
}

/// Whether a generic reduces rows to scalars, each element read in its place.
static bool isReduction(linalg::GenericOp generic) {
  return getRowPattern(generic) == RowPattern::Reduction &&
         generic.getNumLoops() == 1 && !generic.hasIndexSemantics() &&
         llvm::all_of(generic.getDpsInputOperands(), [&](OpOperand *operand) {
           return generic.getMatchingIndexingMap(operand).isIdentity();
         });
}

/// Whether an op of a row program works on scalars only.
static bool isScalarOp(Operation &op) {
  auto isScalar = [](Type type) { return type.isIntOrIndexOrFloat(); };
  return op.getNumRegions() == 0 && isMemoryEffectFree(&op) &&
         llvm::all_of(op.getOperandTypes(), isScalar) &&
         llvm::all_of(op.getResultTypes(), isScalar);
}

static bool isElementwise(Block &program) {
  return llvm::all_of(program, [](Operation &op) {
    auto generic = dyn_cast<linalg::GenericOp>(op);
    return generic ? isElementwise(generic)
                   : isa<tensor::EmptyOp>(op) || isScalarOp(op);
  });
}

/// The same where rows may be reduced.
static bool isSpanning(Block &program) {
  return llvm::all_of(program, [](Operation &op) {
    if (auto generic = dyn_cast<linalg::GenericOp>(op))
      return isElementwise(generic) || isReduction(generic);
    if (auto extract = dyn_cast<tensor::ExtractOp>(op))
      return extract.getIndices().empty();
    return isa<tensor::EmptyOp, linalg::FillOp>(op) || isScalarOp(op);
  });
}

/// The type that a row program sees; null where an epilogue does not know the
/// operand.
static Type getProgramType(Value operand, RowRole role,
                           const Problem &problem) {
  auto type = dyn_cast<RankedTensorType>(operand.getType());
  if (!type ||
      !(type.getElementType().isF32() || type.getElementType().isBF16()))
    return {};
  Type compute = Float32Type::get(operand.getContext());
  if (role == RowRole::Whole && type.getRank() == 0)
    return compute;
  if (role == RowRole::Row && type.getShape().back() == problem.n &&
      type.getNumElements() == problem.m * problem.n)
    return RankedTensorType::get({problem.n}, compute);
  if (role == RowRole::Whole && type.getRank() == 1 &&
      type.getDimSize(0) == problem.n && type.getElementType().isF32())
    return type;
  return {};
}

static bool isResult(OpResult result, RowRole role, const Problem &problem) {
  auto type = dyn_cast<RankedTensorType>(result.getType());
  if (role == RowRole::Row)
    return getProgramType(result, role, problem) != Type();
  return role == RowRole::Lane && type && problem.n > 1 &&
         type.getNumElements() == problem.m &&
         (type.getElementType().isF32() || type.getElementType().isBF16());
}

/// Builds the op's row program; null where it is not for an epilogue.
std::unique_ptr<Block> Epilogue::buildProgram(RowwiseOpInterface op,
                                              SmallVector<Value> &results) {
  if (op.getNumRows() != problem.m)
    return nullptr;
  for (OpResult result : op->getResults())
    if (!isResult(result, op.getResultRole(result.getResultNumber()), problem))
      return nullptr;
  auto program = std::make_unique<Block>();
  ImplicitLocOpBuilder builder(op.getLoc(), op.getContext());
  for (OpOperand &operand : op->getOpOperands()) {
    RowRole role = op.getOperandRole(operand.getOperandNumber());
    Type type = getProgramType(operand.get(), role, problem);
    if (!type)
      return nullptr;
    program->addArgument(type, op.getLoc());
  }
  SmallVector<Value> operands(program->getArguments());
  Value row = program->addArgument(builder.getIndexType(), op.getLoc());
  builder.setInsertionPointToEnd(program.get());
  results = op.buildRow(builder, operands, row);
  if (!row.use_empty() || !isSpanning(*program))
    return nullptr;
  return program;
}

bool Epilogue::spansRows() const {
  return llvm::any_of(steps, [](const Step &step) { return step.spansRow; });
}

bool Epilogue::appendPut(PutOp op) {
  auto type = cast<RankedTensorType>(op.getResult().getType());
  bool fits = computed.contains(op.getRows()) && !spansRows() &&
              problem.n > kSpanColumns && op.getNumRows() == problem.m &&
              type.getShape().back() == problem.n && type.getRank() == 3 &&
              getProgramType(op.getRows(), RowRole::Row, problem);
  if (!fits)
    return false;
  pass(op, op.getRows());
  indices[op.getResult()] = op.getIndices();
  return true;
}

void Epilogue::pass(Operation *op, Value known) {
  Step step;
  step.op = op;
  step.passed = known;
  computed.insert(op->getResult(0));
  steps.push_back(std::move(step));
}

bool Epilogue::isSum(Value value) const {
  auto isAdded = [](const Step &step) {
    return isa<arith::AddFOp, arith::ExtFOp>(step.op) && step.op->hasOneUse();
  };
  return !steps.empty() && problem.result.hasOneUse() &&
         llvm::all_of(steps, isAdded) && value == steps.back().op->getResult(0);
}

bool Epilogue::append(RowwiseOpInterface op) {
  if (auto put = dyn_cast<PutOp>(op.getOperation()))
    return appendPut(put);
  auto isKnown = [&](Value operand) { return computed.contains(operand); };
  Step step;
  step.op = op;
  step.program = buildProgram(op, step.results);
  if (!step.program)
    return false;
  SmallVector<Value> newInputs, newScalars, newVectors;
  for (OpOperand &operand : op->getOpOperands()) {
    if (isKnown(operand.get()))
      continue;
    int64_t rank = cast<RankedTensorType>(operand.get().getType()).getRank();
    RowRole role = op.getOperandRole(operand.getOperandNumber());
    (rank == 0                ? newScalars
     : role == RowRole::Whole ? newVectors
                              : newInputs)
        .push_back(operand.get());
  }
  step.spansRow = !isElementwise(*step.program) || !newVectors.empty();
  // Where lanes exchange elements, none may wait for a row at the edge.
  if ((step.spansRow || spansRows()) &&
      (problem.n > kSpanColumns || !indices.empty() || !inputs.empty() ||
       !newInputs.empty()))
    return false;
  inputs.insert_range(newInputs);
  scalars.insert_range(newScalars);
  vectors.insert_range(newVectors);
  computed.insert_range(op->getResults());
  steps.push_back(std::move(step));
  return true;
}

Epilogue::Epilogue(const Problem &gemmProblem) : problem(gemmProblem) {
  computed.insert(problem.result);
}

void Epilogue::collectOutputs() {
  SmallPtrSet<Operation *, 4> ops;
  for (const Step &step : steps)
    ops.insert(step.op);
  auto isOutside = [&](Operation *user) { return !ops.contains(user); };
  for (Value value : computed)
    if (llvm::any_of(value.getUsers(), isOutside))
      outputs.push_back(value);
}

namespace {
/// Runs one row program on a thread's elements of a row.
class ProgramRunner {
public:
  ProgramRunner(ImplicitLocOpBuilder &owner, int64_t elementCount,
                const RowSpan &rowSpan)
      : builder(owner), count(elementCount), span(rowSpan) {}

  void set(Value tensor, ArrayRef<Value> values) {
    elements[tensor].assign(values.begin(), values.end());
  }
  void setScalar(Value scalar, Value value) { scalars.map(scalar, value); }
  /// The elements of a row, or its one scalar.
  SmallVector<Value> get(Value result) {
    if (Value scalar = scalars.lookupOrNull(result))
      return {scalar};
    return elements.find(result)->second;
  }

  void run(Block &program) {
    for (Operation &op : program) {
      if (auto generic = dyn_cast<linalg::GenericOp>(op))
        isReduction(generic) ? reduce(generic) : runGeneric(generic);
      else if (auto extract = dyn_cast<tensor::ExtractOp>(op))
        scalars.map(extract.getResult(), scalars.lookup(extract.getTensor()));
      else if (!isa<tensor::EmptyOp, linalg::FillOp>(op))
        builder.clone(op, scalars);
    }
  }

private:
  /// The thread's elements first, then over the lanes of the row.
  void reduce(linalg::GenericOp generic) {
    Operation *yield = generic.getBody()->getTerminator();
    SmallVector<Value> sums;
    for (Value init : generic.getDpsInits())
      sums.push_back(scalars.lookup(
          init.getDefiningOp<linalg::FillOp>().getInputs().front()));
    for (int64_t index = 0; index < count; ++index) {
      IRMapping mapping = scalars;
      for (auto [tensor, argument] :
           llvm::zip_equal(generic.getInputs(), generic.getRegionInputArgs()))
        mapping.map(argument, elements.find(tensor)->second[index]);
      mapping.map(generic.getRegionOutputArgs(), sums);
      for (Operation &op : generic.getBody()->without_terminator())
        builder.clone(op, mapping);
      for (auto [sum, value] : llvm::zip_equal(sums, yield->getOperands())) {
        Value next = mapping.lookupOrDefault(value);
        Value inside = span.inside[index];
        sum = inside ? arith::SelectOp::create(builder, inside, next, sum)
                           .getResult()
                     : next;
      }
    }
    for (auto [result, sum, value] :
         llvm::zip_equal(generic.getResults(), sums, yield->getOperands()))
      scalars.map(result, reduceOverLanes(value.getDefiningOp(), sum));
  }

  Value reduceOverLanes(Operation *combiner, Value value) {
    for (int64_t step = 1; step < span.lanes; step *= 2) {
      Value other = gpu::ShuffleOp::create(builder, value, step, 32,
                                           gpu::ShuffleMode::XOR)
                        .getShuffleResult();
      OperationState state(builder.getLoc(), combiner->getName(),
                           {value, other}, value.getType(),
                           combiner->getAttrs());
      value = builder.create(state)->getResult(0);
    }
    return value;
  }

  void runGeneric(linalg::GenericOp generic) {
    for (int64_t index = 0; index < count; ++index) {
      IRMapping mapping = scalars;
      for (auto [tensor, argument] :
           llvm::zip_equal(generic.getInputs(), generic.getRegionInputArgs()))
        mapping.map(argument, elements.find(tensor)->second[index]);
      for (Operation &op : generic.getBody()->without_terminator())
        builder.clone(op, mapping);
      Operation *yield = generic.getBody()->getTerminator();
      for (auto [result, value] :
           llvm::zip_equal(generic.getResults(), yield->getOperands()))
        elements[result].push_back(mapping.lookupOrDefault(value));
    }
  }

  ImplicitLocOpBuilder &builder;
  int64_t count;
  const RowSpan &span;
  IRMapping scalars;
  DenseMap<Value, SmallVector<Value>> elements;
};
} // namespace

SmallVector<Epilogue::Elements>
Epilogue::apply(ThreadCode &code, ValueRange sums,
                ArrayRef<Elements> inputElements, ValueRange scalarValues,
                ArrayRef<Elements> vectorElements, const RowSpan &span) const {
  DenseMap<Value, Elements> values;
  values[problem.result] = SmallVector<Value>(sums);
  for (auto [tensor, elements] : llvm::zip_equal(inputs, inputElements))
    values[tensor] = elements;
  for (auto [tensor, elements] : llvm::zip(vectors, vectorElements))
    values[tensor] = elements;
  IRMapping scalarMap;
  scalarMap.map(scalars.getArrayRef(), scalarValues);
  for (const Step &step : steps) {
    if (!step.program) {
      Elements passed = values.find(step.passed)->second;
      values[step.op->getResult(0)] = std::move(passed);
      continue;
    }
    ProgramRunner runner(code.getBuilder(), sums.size(), span);
    for (auto [operand, argument] :
         llvm::zip(step.op->getOperands(), step.program->getArguments())) {
      if (Value scalar = scalarMap.lookupOrNull(operand))
        runner.setScalar(argument, scalar);
      else
        runner.set(argument, values.find(operand)->second);
    }
    runner.run(*step.program);
    for (auto [result, tensor] :
         llvm::zip_equal(step.op->getResults(), step.results))
      values[result] = runner.get(tensor);
  }
  return llvm::map_to_vector(
      outputs, [&](Value output) { return values.find(output)->second; });
}
