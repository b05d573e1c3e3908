// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Thread code of the row-wise ops that a GEMM applies to its sums.
#include "GemmEpilogue.h"
#include "RowProgram.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace nag;
using namespace nag::gemm;

int64_t gemm::countRun(ArrayRef<int64_t> offsets, int64_t most) {
  int64_t run = 1, count = offsets.size();
  while (run < std::min(most, count) && offsets[run] == offsets[0] + run)
    ++run;
  return llvm::bit_floor(uint64_t(run));
}

EpilogueRow::Elements gemm::loadVector(ThreadCode &code, Value pointer,
                                       Type elementType, int64_t length,
                                       const RowSpan &span) {
  bool isHalf = 2 * length == span.columns;
  int64_t bytes = elementType.getIntOrFloatBitWidth() / 8;
  ArrayRef<int64_t> offsets = span.offsets;
  if (isHalf)
    offsets = offsets.take_front(offsets.size() / 2);
  EpilogueRow::Elements elements;
  while (elements.size() < offsets.size()) {
    int64_t index = elements.size();
    Value place = code.add(span.first, offsets[index]);
    if (Value inside = span.inside[index]) {
      place = code.select(inside, place, code.constant(0));
      elements.push_back(code.load(
          elementType, code.offset(pointer, code.mul(place, bytes)), bytes));
      continue;
    }
    // Vectors stay aligned.
    int64_t run = countRun(offsets.drop_front(index), 4);
    while (length % run != 0)
      run /= 2;
    Value vector =
        code.load(VectorType::get(run, elementType),
                  code.offset(pointer, code.mul(place, bytes)), run * bytes);
    llvm::append_range(
        elements,
        vector::ToElementsOp::create(code.getBuilder(), vector).getResults());
  }
  if (isHalf)
    elements.append(EpilogueRow::Elements(elements));
  return elements;
}

void EpilogueProgram::run(Block &program) {
  if (Value index = program.getArguments().back(); !index.use_empty())
    scalars.map(index, arith::IndexCastUIOp::create(code.getBuilder(),
                                                    index.getType(), row.row));
  for (Operation &op : program)
    runOp(op);
}

EpilogueRow::Elements EpilogueProgram::get(Value result) const {
  if (Value scalar = scalars.lookupOrNull(result))
    return {scalar};
  return elements.find(getRowSource(result))->second;
}

void EpilogueProgram::runOp(Operation &op) {
  if (auto generic = dyn_cast<linalg::GenericOp>(op))
    return getRowPattern(generic) == RowPattern::Map ? map(op) : reduce(op);
  if (isa<tensor::ExtractSliceOp>(op))
    return loadTableRow(op);
  if (auto extract = dyn_cast<tensor::ExtractOp>(op))
    scalars.map(extract.getResult(),
                elements.find(extract.getTensor())->second.front());
  else if (!isa<tensor::EmptyOp, linalg::FillOp, tensor::ExpandShapeOp,
                tensor::CollapseShapeOp>(op))
    code.getBuilder().clone(op, scalars);
}

void EpilogueProgram::loadTableRow(Operation &op) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  auto slice = cast<tensor::ExtractSliceOp>(op);
  Type element = slice.getType().getElementType();
  int64_t length = slice.getType().getNumElements();
  int64_t bytes = length * element.getIntOrFloatBitWidth() / 8;
  Value number = arith::IndexCastUIOp::create(
      builder, builder.getI64Type(), scalars.lookup(slice.getDynamicOffset(0)));
  Value start =
      code.offset(tables.lookup(slice.getSource()), code.mul(number, bytes));
  elements[slice.getResult()] =
      loadVector(code, start, element, length, row.span);
}

/// What iteration `index` of the thread's reads of an operand.
Value EpilogueProgram::getElement(OpOperand &operand, int64_t index) const {
  auto generic = cast<linalg::GenericOp>(operand.getOwner());
  ArrayRef<Value> values = elements.find(getRowSource(operand.get()))->second;
  LinearAccess access(generic, operand);
  if (access.isPerGroup() && !access.isIdentity())
    return values.front();
  bool isFlipped = !access.isIdentity() && access.isFlipped();
  return values[isFlipped ? (index + values.size() / 2) % values.size()
                          : index];
}

IRMapping EpilogueProgram::mapOperands(Operation &op, int64_t index) const {
  auto generic = cast<linalg::GenericOp>(op);
  IRMapping mapping = scalars;
  for (OpOperand *operand : generic.getDpsInputOperands())
    mapping.map(generic.getMatchingBlockArgument(operand),
                getElement(*operand, index));
  return mapping;
}

void EpilogueProgram::cloneBody(Operation &op, IRMapping &mapping,
                                int64_t index) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  int64_t half = row.sums.size() / 2;
  for (Operation &nested :
       cast<linalg::GenericOp>(op).getBody()->without_terminator())
    if (isa<linalg::IndexOp>(nested))
      mapping.map(nested.getResult(0),
                  arith::ConstantIndexOp::create(builder, index < half ? 0 : 1)
                      .getResult());
    else
      builder.clone(nested, mapping);
}

void EpilogueProgram::map(Operation &op) {
  auto generic = cast<linalg::GenericOp>(op);
  // Elements of the row, or one of each part.
  bool isRow = llvm::product_of(generic.getStaticLoopRanges()) == columns;
  int64_t count = isRow ? row.sums.size() : 1;
  for (int64_t index = 0; index < count; ++index) {
    IRMapping mapping = mapOperands(op, index);
    cloneBody(op, mapping, index);
    Operation *yield = generic.getBody()->getTerminator();
    for (auto [result, value] :
         llvm::zip_equal(generic.getResults(), yield->getOperands()))
      elements[result].push_back(mapping.lookupOrDefault(value));
  }
}

/// The thread's elements first, then over the lanes of the part.
void EpilogueProgram::reduce(Operation &op) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  auto generic = cast<linalg::GenericOp>(op);
  Operation *yield = generic.getBody()->getTerminator();
  SmallVector<Value> sums;
  for (Value init : generic.getDpsInits())
    sums.push_back(scalars.lookup(
        init.getDefiningOp<linalg::FillOp>().getInputs().front()));
  for (int64_t index = 0, count = row.sums.size(); index < count; ++index) {
    IRMapping mapping = mapOperands(op, index);
    mapping.map(generic.getRegionOutputArgs(), sums);
    cloneBody(op, mapping, index);
    for (auto [sum, value] : llvm::zip_equal(sums, yield->getOperands())) {
      Value next = mapping.lookupOrDefault(value);
      Value inside = row.span.inside[index];
      sum =
          inside
              ? arith::SelectOp::create(builder, inside, next, sum).getResult()
              : next;
    }
  }
  for (auto [result, sum, value] :
       llvm::zip_equal(generic.getResults(), sums, yield->getOperands()))
    elements[result] = {reduceOverLanes(value.getDefiningOp(), sum)};
}

Value EpilogueProgram::reduceOverLanes(Operation *combiner, Value value) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  for (int64_t step = 1; step < row.span.lanes; step *= 2) {
    Value other =
        gpu::ShuffleOp::create(builder, value, step, 32, gpu::ShuffleMode::XOR)
            .getShuffleResult();
    OperationState state(builder.getLoc(), combiner->getName(), {value, other},
                         value.getType(), combiner->getAttrs());
    value = builder.create(state)->getResult(0);
  }
  return value;
}
