// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a GEMM computes of an operand's elements between memory and the
// multiplication. Fused multiply-adds leave no room for that where they load,
// as often as threads share an element: there it is done once per tile, in
// shared memory, by the thread that has copied the element, before the barrier
// that lets the others read the tile. Tensor cores do: there it is done on
// fragments, between the products, but for what differs from row to row.
#include "Gemm.h"
#include "nag/Dialect/Nag/Transforms/Prologues.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace nag;
using namespace nag::gemm;

/// Rows that nag.take picks are read where they are.
FailureOr<Operand> gemm::describeOperand(Value tensor, bool kContiguous) {
  Prologue prologue = findPrologue(tensor);
  Operand operand{prologue.source, kContiguous};
  if (!prologue.ops.empty()) {
    ArrayRef<int64_t> shape =
        cast<RankedTensorType>(tensor.getType()).getShape();
    auto program = std::make_shared<Epilogue>(
        prologue.source, ShapedType::getNumElements(shape.drop_back()),
        shape.back());
    for (RowwiseOpInterface op : prologue.ops)
      if (!program->append(op) || program->getSpan() != 0)
        return op->emitOpError("expected an op on single elements in front of "
                               "a product of a GPU kernel");
    program->setOutput(tensor);
    operand.prologue = std::move(program);
  }
  if (auto take = operand.tensor.getDefiningOp<TakeOp>()) {
    operand.tensor = take.getSource();
    operand.indices = take.getIndices();
  }
  return operand;
}

SmallVector<Value> gemm::getPrologueInputs(const Operand &operand) {
  SmallVector<Value> inputs;
  if (operand.prologue)
    for (EpilogueSource kind : {EpilogueSource::Scalar, EpilogueSource::Lane})
      llvm::append_range(inputs, operand.prologue->getSources(kind));
  return inputs;
}

bool gemm::changesFragments(const Operand &operand, Unit unit) {
  return operand.prologue && unit != Unit::FMA &&
         getPrologueInputs(operand).empty() && operand.prologue->keepsZero();
}

/// A float, or a vector of them, in f32.
static Value extend(ThreadCode &code, Value value) {
  Type element = getElementTypeOrSelf(value);
  if (element.isF32() || element.isInteger())
    return value;
  ImplicitLocOpBuilder &builder = code.getBuilder();
  Type type = builder.getF32Type();
  if (auto vector = dyn_cast<VectorType>(value.getType()))
    type = VectorType::get(vector.getShape(), type);
  return arith::ExtFOp::create(builder, type, value);
}

void CopySource::addInput(ThreadCode &code, Value buffer, Value tensor) {
  auto type = cast<RankedTensorType>(tensor.getType());
  Type element = type.getElementType();
  Value place = code.pointer(buffer, Space::Global);
  if (type.getRank() > 0)
    lanes.push_back({place, element});
  else
    scalars.push_back(extend(
        code, code.load(element, place, element.getIntOrFloatBitWidth() / 8)));
}

/// The scalars of a row, or of another that counts where that does not.
SmallVector<Value> TileCopy::loadLanes(Value row) {
  SmallVector<Value> lanes;
  if (source.lanes.empty())
    return lanes;
  Value last = code.constant((kContiguous ? extent : depth) - 1);
  row = arith::MinUIOp::create(code.getBuilder(), row, last);
  for (auto [start, type] : source.lanes) {
    int64_t bytes = type.getIntOrFloatBitWidth() / 8;
    Value place = code.offset(start, code.mul(code.extend(row), bytes));
    lanes.push_back(extend(code, code.load(type, place, bytes)));
  }
  return lanes;
}

void TileCopy::changeUnit(Value pointer, ValueRange lanes) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  int64_t count = width / elementBytes;
  auto type = VectorType::get(count, elementType);
  auto wide = VectorType::get(count, builder.getF32Type());
  Value vector = extend(code, code.load(type, pointer, width));
  EpilogueRow row;
  row.sums = vector::ToElementsOp::create(builder, vector).getResults();
  row.scalars = source.scalars;
  row.lanes = llvm::to_vector(lanes);
  vector = vector::FromElementsOp::create(builder, wide,
                                          prologue->apply(code, row).front());
  if (type != wide)
    vector = arith::TruncFOp::create(builder, type, vector);
  code.store(vector, pointer, width);
}

void TileCopy::change(Value k, Value slot) {
  if (!prologue)
    return;
  Value base = code.offset(shared, slot);
  forEachUnit([&](int64_t unit, int64_t lineOffset, int64_t byteOffset) {
    Value pointer =
        tile.getPointer(code, base, threadOffset, lineOffset, byteOffset);
    auto changeOne = [&] {
      if (kContiguous)
        changeUnit(pointer, rowLanes[unit / threads]);
      else
        changeUnit(pointer, loadLanes(code.add(code.add(k, line), lineOffset)));
    };
    // Beyond the last k there are zeros, of which something else might become.
    // Rows beyond the last have sums that are not stored.
    if (Value inside = isInsideDepth(k, lineOffset, byteOffset / elementBytes))
      code.ifTrue(inside, changeOne);
    else
      changeOne();
  });
}

Value gemm::changeFragment(ThreadCode &code, const Epilogue &prologue,
                           Unit unit, Value bits) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  if (unit == Unit::BF16) {
    auto type = VectorType::get(2, builder.getBF16Type());
    Value pair = LLVM::BitcastOp::create(builder, type, bits);
    pair = prologue.applyToPair(code, pair);
    return LLVM::BitcastOp::create(builder, bits.getType(), pair);
  }
  EpilogueRow row;
  Value element = arith::BitcastOp::create(builder, builder.getF32Type(), bits);
  row.sums = element;
  element = prologue.apply(code, row).front().front();
  return arith::BitcastOp::create(builder, bits.getType(), element);
}
