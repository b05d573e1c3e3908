// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The way of a GEMM's sums to memory.
#include "Gemm.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace nag;
using namespace nag::gemm;

Output::Output(ThreadCode &owner, const Problem &problem,
               const Schedule &schedule, ValueRange outputBuffers)
    : code(owner), rows(problem.m), columns(problem.n),
      rowEdge(problem.m % schedule.tileM != 0),
      columnEdge(problem.n % schedule.tileN != 0) {
  for (Value buffer : outputBuffers)
    outputs.push_back(getPlace(buffer));
}

void Output::setEpilogue(const Epilogue &program, ValueRange inputBuffers,
                         ValueRange scalarBuffers, ValueRange vectorBuffers,
                         ValueRange indexBuffers) {
  epilogue = &program;
  for (auto [place, tensor] : llvm::zip_equal(outputs, program.getOutputs())) {
    if (program.getIndices(tensor)) {
      place.indices = code.pointer(indexBuffers.front(), Space::Global);
      indexBuffers = indexBuffers.drop_front();
      continue;
    }
    place.isLane = cast<RankedTensorType>(tensor.getType()).getNumElements() !=
                   rows * columns;
  }
  for (Value buffer : vectorBuffers)
    vectors.push_back(getPlace(buffer));
  for (Value buffer : inputBuffers)
    inputs.push_back(getPlace(buffer));
  for (Value buffer : scalarBuffers) {
    Place place = getPlace(buffer);
    Value scalar = code.load(place.elementType, place.start, place.bytes);
    scalars.push_back(extend(scalar));
  }
}

Output::Place Output::getPlace(Value buffer) {
  Type type = cast<MemRefType>(buffer.getType()).getElementType();
  return {code.pointer(buffer, Space::Global), Value(), type,
          type.getIntOrFloatBitWidth() / 8};
}

int64_t Output::getWidth() const {
  int64_t width = 4;
  for (const Place &place : outputs)
    width = std::max<int64_t>(width, 16 / place.bytes);
  while (columns % width != 0)
    width /= 2;
  return width;
}

void Output::moveTo(Value row, Value column) {
  threadRow = row;
  threadColumn = column;
  Value line = code.mul(code.extend(row), columns);
  Value index = code.add(line, code.extend(column));
  for (Place &place : llvm::concat<Place>(outputs, inputs))
    place.thread = code.offset(
        place.start,
        code.mul(place.isLane ? code.extend(row) : index, place.bytes));
}

/// Null where all elements of the tile are inside.
Value Output::isInside(int64_t row, int64_t column, bool anyRow) {
  Value inside;
  if (rowLimit && !anyRow)
    inside = code.less(code.add(threadRow, row), rowLimit);
  else if (rowEdge && !anyRow)
    inside = code.less(code.add(threadRow, row), rows);
  if (columnEdge) {
    Value insideRow = code.less(code.add(threadColumn, column), columns);
    inside = inside ? code.both(inside, insideRow) : insideRow;
  }
  return inside;
}

/// A float, or a vector of them, in f32.
Value Output::extend(Value value) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  if (getElementTypeOrSelf(value).isF32())
    return value;
  Type type = builder.getF32Type();
  if (auto vector = dyn_cast<VectorType>(value.getType()))
    type = VectorType::get(vector.getShape(), type);
  return arith::ExtFOp::create(builder, type, value);
}

SmallVector<Value> Output::loadElements(const Place &place, int64_t offset,
                                        int64_t count) {
  auto type = VectorType::get(count, place.elementType);
  int64_t bytes = place.bytes;
  Value vector = code.load(type, code.offset(place.thread, offset * bytes),
                           std::min<int64_t>(16, bytes * count));
  return vector::ToElementsOp::create(code.getBuilder(), extend(vector))
      .getResults();
}

void Output::storeElements(const Place &place, int64_t offset,
                           ValueRange values) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  int64_t count = values.size(), bytes = place.bytes;
  auto type = VectorType::get(count, builder.getF32Type());
  Value vector = vector::FromElementsOp::create(builder, type, values);
  if (!place.elementType.isF32())
    vector = arith::TruncFOp::create(
        builder, VectorType::get(count, place.elementType), vector);
  code.store(vector, code.offset(place.thread, offset * bytes),
             std::min<int64_t>(16, bytes * count));
}

/// The thread's place in row `row` from its first on, as if that were the row.
Output::Place Output::findRow(const Place &place, int64_t row) {
  if (!place.indices)
    return place;
  Value number = code.extend(code.add(threadRow, row));
  Value index = code.load(code.getBuilder().getI32Type(),
                          code.offset(place.indices, code.mul(number, 4)), 4);
  Value element = code.add(code.mul(code.extend(index), columns),
                           code.extend(threadColumn));
  Place found = place;
  found.thread = code.offset(
      place.start, code.mul(code.add(element, -row * columns), place.bytes));
  return found;
}

void Output::storeAll(int64_t row, int64_t column, ValueRange sums) {
  int64_t offset = row * columns + column;
  if (!epilogue)
    return storeElements(outputs.front(), offset, sums);
  SmallVector<SmallVector<Value>> elements;
  for (const Place &input : inputs)
    elements.push_back(loadElements(input, offset, sums.size()));
  for (auto [place, values] :
       llvm::zip_equal(outputs, epilogue->apply(code, sums, elements, scalars,
                                                {}, RowSpan())))
    storeElements(findRow(place, row), offset, values);
}

/// The vectors' elements in this thread's columns, where they have any.
void Output::loadVectors(ArrayRef<int64_t> offsets) {
  if (!span.inside.empty())
    return;
  for (int64_t offset : offsets)
    span.inside.push_back(isInside(/*row=*/0, offset, /*anyRow=*/true));
  for (const Place &place : vectors) {
    Epilogue::Elements elements;
    for (auto [offset, inside] : llvm::zip_equal(offsets, span.inside)) {
      Value column = code.add(threadColumn, offset);
      if (inside)
        column = code.select(inside, column, code.constant(0));
      Value pointer =
          code.offset(place.start, code.mul(code.extend(column), place.bytes));
      elements.push_back(
          extend(code.load(place.elementType, pointer, place.bytes)));
    }
    vectorElements.push_back(std::move(elements));
  }
}

/// Elements next to one another go out together.
void Output::storeRowElements(const Place &place, int64_t row,
                              ArrayRef<int64_t> offsets, ValueRange values) {
  auto guarded = [&](Value inside, function_ref<void()> body) {
    inside ? code.ifTrue(inside, body) : body();
  };
  if (place.isLane) {
    // The lane that has the first column.
    Value isFirst = code.less(threadColumn, 1);
    Value inside = isInside(row, 0);
    guarded(inside ? code.both(isFirst, inside) : isFirst,
            [&] { storeElements(place, row, values); });
    return;
  }
  int64_t count = offsets.size();
  bool isVector =
      columns % count == 0 && offsets.back() - offsets.front() == count - 1;
  int64_t step = isVector ? count : 1;
  for (int64_t index = 0; index < count; index += step)
    guarded(isInside(row, offsets[index]), [&] {
      storeElements(place, row * columns + offsets[index],
                    values.slice(index, step));
    });
}

void Output::storeRow(int64_t row, ArrayRef<int64_t> offsets, ValueRange sums,
                      int64_t lanes) {
  span.lanes = lanes;
  loadVectors(offsets);
  for (auto [place, values] :
       llvm::zip_equal(outputs, epilogue->apply(code, sums, {}, scalars,
                                                vectorElements, span)))
    storeRowElements(place, row, offsets, values);
}

void Output::store(int64_t row, int64_t column, ValueRange sums) {
  int64_t count = sums.size();
  // Vectors straddle neither the edge nor their alignment.
  if (columns % count != 0) {
    for (auto [index, sum] : llvm::enumerate(sums))
      store(row, column + index, sum);
    return;
  }
  Value inside = isInside(row, column);
  if (!inside)
    return storeAll(row, column, sums);
  code.ifTrue(inside, [&] { storeAll(row, column, sums); });
}

SmallVector<Value> gemm::getBuffers(KernelLowering &kernel,
                                    const Epilogue &epilogue) {
  SmallVector<Value> buffers;
  for (ArrayRef<Value> tensors : {epilogue.getOutputs(), epilogue.getInputs(),
                                  epilogue.getScalars(), epilogue.getVectors()})
    for (Value tensor : tensors)
      buffers.push_back(kernel.getBuffer(tensor));
  for (Value output : epilogue.getOutputs())
    if (Value indices = epilogue.getIndices(output))
      buffers.push_back(kernel.getBuffer(indices));
  return buffers;
}

Output gemm::createOutput(ThreadCode &code, const Problem &problem,
                          const Schedule &schedule, const Epilogue &epilogue,
                          ArrayRef<Value> arguments) {
  size_t outputs = epilogue.getOutputs().size();
  size_t inputs = epilogue.getInputs().size();
  Output output(code, problem, schedule, arguments.take_front(outputs));
  arguments = arguments.drop_front(outputs);
  size_t scalars = epilogue.getScalars().size();
  size_t vectors = epilogue.getVectors().size();
  output.setEpilogue(epilogue, arguments.take_front(inputs),
                     arguments.slice(inputs, scalars),
                     arguments.slice(inputs + scalars, vectors),
                     arguments.drop_front(inputs + scalars + vectors));
  return output;
}
