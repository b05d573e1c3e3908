// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Row-wise ops that a GEMM applies to its sums: those that combine elements at
// the same place, as their row programs say.
#include "Gemm.h"

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
  return {};
}

/// Builds the op's row program; null where it is not for an epilogue.
std::unique_ptr<Block> Epilogue::buildProgram(RowwiseOpInterface op,
                                              SmallVector<Value> &results) {
  if (op.getNumRows() != problem.m)
    return nullptr;
  for (OpResult result : op->getResults())
    if (op.getResultRole(result.getResultNumber()) != RowRole::Row ||
        !getProgramType(result, RowRole::Row, problem))
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
  if (!row.use_empty() || !isElementwise(*program))
    return nullptr;
  return program;
}

bool Epilogue::append(RowwiseOpInterface op) {
  auto isKnown = [&](Value operand) { return computed.contains(operand); };
  if (llvm::none_of(op->getOperands(), isKnown))
    return false;
  Step step;
  step.op = op;
  step.program = buildProgram(op, step.results);
  if (!step.program)
    return false;
  for (Value operand : op->getOperands()) {
    if (isKnown(operand))
      continue;
    bool isScalar = cast<RankedTensorType>(operand.getType()).getRank() == 0;
    (isScalar ? scalars : inputs).insert(operand);
  }
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
/// Runs one row program on a few elements of a row.
class ProgramRunner {
public:
  ProgramRunner(ImplicitLocOpBuilder &owner, int64_t elementCount)
      : builder(owner), count(elementCount) {}

  void set(Value tensor, ArrayRef<Value> values) {
    elements[tensor].assign(values.begin(), values.end());
  }
  void setScalar(Value scalar, Value value) { scalars.map(scalar, value); }
  ArrayRef<Value> get(Value tensor) { return elements.find(tensor)->second; }

  void run(Block &program) {
    for (Operation &op : program) {
      if (auto generic = dyn_cast<linalg::GenericOp>(op))
        runGeneric(generic);
      else if (!isa<tensor::EmptyOp>(op))
        builder.clone(op, scalars);
    }
  }

private:
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
  IRMapping scalars;
  DenseMap<Value, SmallVector<Value>> elements;
};
} // namespace

SmallVector<SmallVector<Value>>
Epilogue::apply(ThreadCode &code, ValueRange sums,
                ArrayRef<SmallVector<Value>> inputElements,
                ValueRange scalarValues) const {
  DenseMap<Value, SmallVector<Value>> values;
  values[problem.result] = SmallVector<Value>(sums);
  for (auto [tensor, elements] : llvm::zip_equal(inputs, inputElements))
    values[tensor] = elements;
  IRMapping scalarMap;
  scalarMap.map(scalars.getArrayRef(), scalarValues);
  for (const Step &step : steps) {
    ProgramRunner runner(code.getBuilder(), sums.size());
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
      values[result] = SmallVector<Value>(runner.get(tensor));
  }
  return llvm::map_to_vector(
      outputs, [&](Value output) { return values.find(output)->second; });
}
