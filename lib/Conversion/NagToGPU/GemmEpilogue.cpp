// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which row-wise ops a GEMM applies to its sums, as their row programs say:
// those that combine elements at the same place, and those that reduce short
// rows, or short parts of rows, and exchange the parts' halves.
#include "Gemm.h"
#include "RowProgram.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace nag;
using namespace nag::gemm;

//===----------------------------------------------------------------------===//
// Programs
//===----------------------------------------------------------------------===//

/// Whether an op of a row program works on scalars only.
static bool isScalarOp(Operation &op) {
  auto isScalar = [](Type type) { return type.isIntOrIndexOrFloat(); };
  return op.getNumRegions() == 0 && isMemoryEffectFree(&op) &&
         llvm::all_of(op.getOperandTypes(), isScalar) &&
         llvm::all_of(op.getResultTypes(), isScalar);
}

/// Whether a generic maps elements of rows, each on its own.
static bool isElementwise(linalg::GenericOp generic) {
  return getRowPattern(generic) == RowPattern::Map &&
         generic.getNumLoops() == 1 && !generic.hasIndexSemantics() &&
         llvm::all_of(generic->getOpOperands(),
                      [&](OpOperand &operand) {
                        return LinearAccess(generic, operand).isIdentity();
                      }) &&
         llvm::all_of(generic.getRegionOutputArgs(),
                      [](BlockArgument init) { return init.use_empty(); });
}

static bool isElementwise(Block &program) {
  return llvm::all_of(program, [](Operation &op) {
    auto generic = dyn_cast<linalg::GenericOp>(op);
    return generic ? isElementwise(generic)
                   : isa<tensor::EmptyOp>(op) || isScalarOp(op);
  });
}

namespace {
/// Whether lanes that hold parts of a row together can run a program.
class SpanCheck {
public:
  /// Rows have `rowColumns` columns, parts `partColumns`; `halves` says that
  /// lanes hold their halves alike.
  SpanCheck(int64_t rowColumns, int64_t partColumns, bool halves)
      : columns(rowColumns), part(partColumns), hasHalves(halves) {}

  bool allows(Block &program) const {
    return llvm::all_of(program, [&](Operation &op) { return allows(op); });
  }

private:
  bool allows(Operation &op) const;
  bool allowsMap(linalg::GenericOp generic) const;
  bool allowsOperand(linalg::GenericOp generic, OpOperand &operand) const;
  bool allowsReduction(linalg::GenericOp generic) const;
  bool isAlong(const LinearAccess &access, int64_t length) const;

  int64_t columns, part;
  bool hasHalves;
};
} // namespace

bool SpanCheck::allows(Operation &op) const {
  if (auto generic = dyn_cast<linalg::GenericOp>(op))
    return getRowPattern(generic) == RowPattern::Map ? allowsMap(generic)
                                                     : allowsReduction(generic);
  if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op))
    return isa<BlockArgument>(slice.getSource()) &&
           slice.getSourceType().getRank() == 2 &&
           slice.getOffsets().size() == 1;
  if (auto extract = dyn_cast<tensor::ExtractOp>(op))
    return extract.getIndices().empty();
  return isa<tensor::EmptyOp, tensor::ExpandShapeOp, tensor::CollapseShapeOp,
             linalg::FillOp>(op) ||
         isScalarOp(op);
}

/// Whether the iterations run along a vector of `length` over and over again,
/// once in each part or in each half of it.
bool SpanCheck::isAlong(const LinearAccess &access, int64_t length) const {
  if (access.constant != 0 ||
      (length != part && !(hasHalves && 2 * length == part)))
    return false;
  for (auto [size, stride, coefficient] :
       llvm::zip_equal(access.sizes, access.strides, access.coefficients))
    if (size > 1 && coefficient != (stride < length ? stride : 0))
      return false;
  return true;
}

bool SpanCheck::allowsOperand(linalg::GenericOp generic,
                              OpOperand &operand) const {
  LinearAccess access(generic, operand);
  Value source = getRowSource(operand.get());
  Operation *producer = source.getDefiningOp();
  if (isa_and_nonnull<linalg::FillOp, tensor::EmptyOp>(producer))
    return false;
  int64_t length = getNumElements(operand.get());
  bool isShared = isa_and_nonnull<tensor::ExtractSliceOp>(producer) ||
                  (!producer && length < columns);
  if (isShared)
    return isAlong(access, length);
  return access.isIdentity() ||
         (access.isPerGroup() && access.sizes[1] == part) ||
         (hasHalves && access.isFlipped() && 2 * access.strides[1] == part);
}

/// Elements of rows, or one of each part.
bool SpanCheck::allowsMap(linalg::GenericOp generic) const {
  int64_t iterations = llvm::product_of(generic.getStaticLoopRanges());
  SmallVector<int64_t> sizes = generic.getStaticLoopRanges();
  if (iterations != columns && iterations != columns / part)
    return false;
  auto isHalf = [&](linalg::IndexOp index) {
    return hasHalves && sizes.size() == 3 && index.getDim() == 1 &&
           sizes[1] == 2 && 2 * sizes[2] == part;
  };
  return llvm::all_of(generic.getBody()->getOps<linalg::IndexOp>(), isHalf) &&
         llvm::all_of(generic.getRegionOutputArgs(),
                      [](BlockArgument init) { return init.use_empty(); }) &&
         llvm::all_of(generic.getDpsInputOperands(), [&](OpOperand *operand) {
           return allowsOperand(generic, *operand);
         });
}

/// A row or a part of it to a scalar, each element read in its place.
bool SpanCheck::allowsReduction(linalg::GenericOp generic) const {
  RowPattern pattern = getRowPattern(generic);
  SmallVector<int64_t> sizes = generic.getStaticLoopRanges();
  bool isPart = pattern == RowPattern::GroupSum
                    ? sizes.size() == 2 && sizes[1] == part
                    : pattern == RowPattern::Reduction && part == columns;
  return isPart && llvm::product_of(sizes) == columns &&
         !generic.hasIndexSemantics() &&
         llvm::all_of(generic.getDpsInputOperands(), [&](OpOperand *operand) {
           return LinearAccess(generic, *operand).isIdentity() &&
                  allowsOperand(generic, *operand);
         });
}

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

/// Threads that multiply in f32 hold every eighth column of 8 x 4, or where k
/// is not contiguous every eighth four of 8 x 8.
static int64_t getLeastSpan(const Problem &problem) {
  if (problem.unit != Unit::FMA)
    return 8;
  return problem.b.kContiguous ? 16 : 64;
}

Epilogue::Epilogue(const Problem &problem)
    : rows(problem.m), columns(problem.n), result(problem.result),
      leastSpan(getLeastSpan(problem)) {
  computed.insert(result);
}

Epilogue::Epilogue(Value start, int64_t rowCount, int64_t columnCount)
    : rows(rowCount), columns(columnCount), result(start),
      leastSpan(2 * kMostSpanColumns) {
  computed.insert(result);
}

EpilogueSource Epilogue::getSource(OpOperand &operand) const {
  auto op = cast<RowwiseOpInterface>(operand.getOwner());
  RowRole role = op.getOperandRole(operand.getOperandNumber());
  int64_t rank = cast<RankedTensorType>(operand.get().getType()).getRank();
  if (role == RowRole::Lane)
    return EpilogueSource::Lane;
  if (role == RowRole::Row)
    return EpilogueSource::Element;
  return rank == 0   ? EpilogueSource::Scalar
         : rank == 1 ? EpilogueSource::Vector
                     : EpilogueSource::Table;
}

static bool isFloat(Type element) {
  return element.isF32() || element.isBF16();
}

/// The type that a row program sees; null where an epilogue does not know the
/// operand.
static Type getProgramType(Value operand, RowRole role, int64_t rows,
                           int64_t columns) {
  auto type = dyn_cast<RankedTensorType>(operand.getType());
  if (!type)
    return {};
  Type element = type.getElementType();
  Type compute = Float32Type::get(operand.getContext());
  if (role == RowRole::Lane && type.getNumElements() == rows)
    return element.isInteger(32) ? element
           : isFloat(element)    ? compute
                                 : Type();
  if (!isFloat(element))
    return {};
  if (role == RowRole::Whole && type.getRank() == 0)
    return compute;
  if (role == RowRole::Row && type.getShape().back() == columns &&
      type.getNumElements() == rows * columns)
    return RankedTensorType::get({columns}, compute);
  if (role == RowRole::Whole && type.getRank() <= 2)
    return type;
  return {};
}

/// Rows of sums, or of one element for each of `part` columns.
static bool isResult(OpResult result, RowRole role, int64_t rows,
                     int64_t columns, int64_t part) {
  auto type = dyn_cast<RankedTensorType>(result.getType());
  bool isPerPart = role == RowRole::Row && type && part > 0 &&
                   type.getShape().back() == columns / part &&
                   type.getNumElements() == rows * (columns / part);
  // A lane of rows of one column would be the row.
  return (role == RowRole::Row || (role == RowRole::Lane && columns > 1)) &&
         isFloat(getElementTypeOrSelf(result)) &&
         (isPerPart || getProgramType(result, role, rows, columns));
}

/// Builds the op's row program; null where it is not for an epilogue.
std::unique_ptr<Block> Epilogue::buildProgram(RowwiseOpInterface op,
                                              SmallVector<Value> &results) {
  if (op.getNumRows() != rows)
    return nullptr;
  for (OpResult own : op->getResults())
    if (!isResult(own, op.getResultRole(own.getResultNumber()), rows, columns,
                  op.getColumnSpan()))
      return nullptr;
  auto program = std::make_unique<Block>();
  ImplicitLocOpBuilder builder(op.getLoc(), op.getContext());
  for (OpOperand &operand : op->getOpOperands()) {
    RowRole role = op.getOperandRole(operand.getOperandNumber());
    Type type = getProgramType(operand.get(), role, rows, columns);
    if (!type)
      return nullptr;
    program->addArgument(type, op.getLoc());
  }
  SmallVector<Value> operands(program->getArguments());
  Value row = program->addArgument(builder.getIndexType(), op.getLoc());
  builder.setInsertionPointToEnd(program.get());
  results = op.buildRow(builder, operands, row);
  return program;
}

/// How many columns lanes hold together for the op's sake: as many as it needs,
/// or more where these are whole rows. None where they cannot.
std::optional<int64_t> Epilogue::findSpan(RowwiseOpInterface op,
                                          Block &program) {
  bool readsPlaces = llvm::all_of(op->getOpOperands(), [&](OpOperand &operand) {
    EpilogueSource source = getSource(operand);
    return source == EpilogueSource::Element ||
           source == EpilogueSource::Scalar || source == EpilogueSource::Lane;
  });
  for (unsigned index = 0; index < op->getNumResults(); ++index)
    readsPlaces &= op.getResultRole(index) == RowRole::Row;
  if (readsPlaces && program.getArguments().back().use_empty() &&
      isElementwise(program))
    return 0;
  int64_t part = op.getColumnSpan() <= 1 ? columns : op.getColumnSpan();
  bool hasHalves = llvm::isPowerOf2_64(part) && part >= leastSpan &&
                   part <= kMostSpanColumns && columns % part == 0;
  if (!hasHalves && (part != columns || columns > kSpanColumns))
    return std::nullopt;
  auto isLong = [&](OpOperand &operand) {
    return getSource(operand) == EpilogueSource::Vector &&
           getNumElements(operand.get()) > part;
  };
  if (llvm::any_of(op->getOpOperands(), isLong))
    return std::nullopt;
  if (!SpanCheck(columns, part, hasHalves).allows(program))
    return std::nullopt;
  return hasHalves ? part : kSpanColumns;
}

bool Epilogue::appendPut(PutOp op) {
  auto type = cast<RankedTensorType>(op.getResult().getType());
  bool fits = computed.contains(op.getRows()) && span == 0 &&
              columns > kSpanColumns && op.getNumRows() == rows &&
              type.getShape().back() == columns && type.getRank() == 3 &&
              getProgramType(op.getRows(), RowRole::Row, rows, columns);
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
  return !steps.empty() && result.hasOneUse() && llvm::all_of(steps, isAdded) &&
         value == steps.back().op->getResult(0);
}

bool Epilogue::append(RowwiseOpInterface op) {
  if (auto put = dyn_cast<PutOp>(op.getOperation()))
    return appendPut(put);
  Step step;
  step.op = op;
  step.program = buildProgram(op, step.results);
  if (!step.program)
    return false;
  std::optional<int64_t> needed = findSpan(op, *step.program);
  if (!needed || (*needed != 0 && span != 0 && *needed != span))
    return false;
  SmallVector<OpOperand *> unknown;
  for (OpOperand &operand : op->getOpOperands())
    if (!computed.contains(operand.get()))
      unknown.push_back(&operand);
  // Rows that are put here and there have no others beside them.
  if ((*needed != 0 || span != 0) && !indices.empty())
    return false;
  span = std::max(span, *needed);
  for (OpOperand *operand : unknown)
    sources[unsigned(getSource(*operand))].insert(operand->get());
  computed.insert_range(op->getResults());
  steps.push_back(std::move(step));
  return true;
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

void Epilogue::collectNames(llvm::SmallSetVector<StringRef, 4> &names) const {
  for (const Step &step : steps)
    if (step.program && !step.program->empty())
      names.insert(step.op->getName().stripDialect());
}

int64_t Epilogue::countInstructions() const {
  int64_t count = 0;
  for (const Step &step : steps)
    if (step.program)
      for (auto generic : step.program->getOps<linalg::GenericOp>())
        count += llvm::count_if(generic.getBody()->without_terminator(),
                                [](Operation &op) {
                                  return !op.hasTrait<OpTrait::ConstantLike>();
                                });
  return count;
}

SmallVector<EpilogueRow::Elements>
Epilogue::apply(ThreadCode &code, const EpilogueRow &row) const {
  DenseMap<Value, EpilogueRow::Elements> values;
  values[result] = EpilogueRow::Elements(row.sums);
  auto setAll = [&](EpilogueSource source, auto &&known) {
    for (auto [tensor, value] : llvm::zip(getSources(source), known))
      values[tensor] = EpilogueRow::Elements(value);
  };
  auto single = [](Value value) { return EpilogueRow::Elements{value}; };
  setAll(EpilogueSource::Element, row.inputs);
  setAll(EpilogueSource::Vector, row.vectors);
  setAll(EpilogueSource::Scalar, llvm::map_range(row.scalars, single));
  setAll(EpilogueSource::Lane, llvm::map_range(row.lanes, single));
  setAll(EpilogueSource::Table, llvm::map_range(row.tables, single));
  for (const Step &step : steps) {
    if (!step.program) {
      EpilogueRow::Elements passed = values.find(step.passed)->second;
      values[step.op->getResult(0)] = std::move(passed);
      continue;
    }
    EpilogueProgram program(code, row, columns);
    for (auto [operand, argument] :
         llvm::zip(step.op->getOpOperands(), step.program->getArguments())) {
      const EpilogueRow::Elements &known = values.find(operand.get())->second;
      if (!isa<RankedTensorType>(argument.getType()))
        program.setScalar(argument, known.front());
      else if (getSource(operand) == EpilogueSource::Table)
        program.setTable(argument, known.front());
      else
        program.set(argument, known);
    }
    program.run(*step.program);
    for (auto [value, tensor] :
         llvm::zip_equal(step.op->getResults(), step.results))
      values[value] = program.get(tensor);
  }
  return llvm::map_to_vector(
      outputs, [&](Value output) { return values.find(output)->second; });
}
