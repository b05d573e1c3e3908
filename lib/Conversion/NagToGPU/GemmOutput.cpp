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

void Output::setEpilogue(const Epilogue &program, ValueRange sourceBuffers,
                         ValueRange indexBuffers) {
  epilogue = &program;
  for (auto [place, tensor] : llvm::zip_equal(outputs, program.getOutputs())) {
    if (program.getIndices(tensor)) {
      place.indices = code.pointer(indexBuffers.front(), Space::Global);
      indexBuffers = indexBuffers.drop_front();
      continue;
    }
    int64_t perRow =
        cast<RankedTensorType>(tensor.getType()).getNumElements() / rows;
    place.parts = perRow == columns ? 0 : perRow;
  }
  for (unsigned kind = 0; kind < kNumEpilogueSources; ++kind) {
    size_t count = program.getSources(EpilogueSource(kind)).size();
    for (Value buffer : sourceBuffers.take_front(count))
      sources[kind].push_back(getPlace(buffer));
    sourceBuffers = sourceBuffers.drop_front(count);
  }
  for (const Place &place : getSources(EpilogueSource::Scalar))
    scalars.push_back(
        extend(code.load(place.elementType, place.start, place.bytes)));
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
  for (Place &place :
       llvm::concat<Place>(outputs, sources[unsigned(EpilogueSource::Element)]))
    place.thread =
        code.offset(place.start, code.mul(place.parts ? getPart(place) : index,
                                          place.bytes));
}

/// The number of the thread's part of a row.
Value Output::getPart(const Place &place) {
  return code.add(code.mul(code.extend(threadRow), place.parts),
                  code.extend(code.div(threadColumn, getSpan())));
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

Value Output::loadPacked(const Place &place, int64_t offset, int64_t count) {
  auto type = VectorType::get(count, place.elementType);
  int64_t bytes = place.bytes;
  return code.load(type, code.offset(place.thread, offset * bytes),
                   std::min<int64_t>(16, bytes * count));
}

SmallVector<Value> Output::split(Value vector) {
  return vector::ToElementsOp::create(code.getBuilder(), extend(vector))
      .getResults();
}

SmallVector<Value> Output::loadElements(const Place &place, int64_t offset,
                                        int64_t count) {
  return split(loadPacked(place, offset, count));
}

void Output::preload(int64_t row, int64_t column, int64_t count) {
  if (rowLimit || rowEdge || columnEdge || columns % count != 0)
    return;
  int64_t offset = row * columns + column;
  for (const Place &input : getSources(EpilogueSource::Element))
    preloaded[offset].push_back(loadPacked(input, offset, count));
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

/// The scalars of a row.
SmallVector<Value> Output::loadLanes(Value row) {
  SmallVector<Value> lanes;
  for (const Place &place : getSources(EpilogueSource::Lane)) {
    Value start =
        code.offset(place.start, code.mul(code.extend(row), place.bytes));
    Value scalar = code.load(place.elementType, start, place.bytes);
    lanes.push_back(place.elementType.isInteger() ? scalar : extend(scalar));
  }
  return lanes;
}

void Output::storeAll(int64_t row, int64_t column, ValueRange sums) {
  int64_t offset = row * columns + column;
  if (!epilogue)
    return storeElements(outputs.front(), offset, sums);
  EpilogueRow values;
  values.sums = sums;
  values.scalars = scalars;
  if (auto ahead = preloaded.find(offset); ahead != preloaded.end())
    for (Value vector : ahead->second)
      values.inputs.push_back(split(vector));
  else
    for (const Place &input : getSources(EpilogueSource::Element))
      values.inputs.push_back(loadElements(input, offset, sums.size()));
  if (!getSources(EpilogueSource::Lane).empty())
    values.lanes = loadLanes(getRow(row));
  for (auto [place, elements] :
       llvm::zip_equal(outputs, epilogue->apply(code, values)))
    storeElements(findRow(place, row), offset, elements);
}

int64_t Output::countSpans(int64_t tileColumns) const {
  int64_t span = getSpan();
  int64_t padded = llvm::alignTo(columns, span);
  return std::min(tileColumns, padded) / span;
}

/// The thread's part of a row: `offsets` are columns from its first on.
RowSpan Output::getRowSpan(ArrayRef<int64_t> offsets, int64_t lanes) {
  RowSpan span;
  span.columns = std::min(getSpan(), columns);
  span.lanes = lanes;
  span.first = code.rem(threadColumn, getSpan());
  for (int64_t offset : offsets) {
    span.offsets.push_back(offset % getSpan());
    // Parts of longer rows are inside or not as a whole.
    span.inside.push_back(columns < getSpan()
                              ? isInside(/*row=*/0, offset, /*anyRow=*/true)
                              : Value());
  }
  return span;
}

/// What vectors have in the thread's columns, the same for all rows.
ArrayRef<EpilogueRow::Elements> Output::loadVectors(int64_t firstOffset,
                                                    const RowSpan &span) {
  auto [known, isNew] = vectorElements.try_emplace(firstOffset);
  if (isNew)
    for (auto [place, tensor] :
         llvm::zip_equal(getSources(EpilogueSource::Vector),
                         epilogue->getSources(EpilogueSource::Vector))) {
      int64_t length =
          cast<RankedTensorType>(tensor.getType()).getNumElements();
      known->second.push_back(
          loadVector(code, place.start, place.elementType, length, span));
    }
  return known->second;
}

/// The thread's elements of a row; zeros where it is not inside.
EpilogueRow::Elements Output::loadRowElements(const Place &place, int64_t row,
                                              ArrayRef<int64_t> offsets) {
  EpilogueRow::Elements elements;
  while (elements.size() < offsets.size()) {
    int64_t offset = offsets[elements.size()];
    int64_t run = getRun(offsets.drop_front(elements.size()));
    auto load = [&] {
      return loadElements(place, row * columns + offset, run);
    };
    Value inside = isInside(row, offset);
    llvm::append_range(elements,
                       inside ? code.ifTrue(inside, run, load) : load());
  }
  return elements;
}

/// How many elements go in or out together.
int64_t Output::getRun(ArrayRef<int64_t> offsets) const {
  int64_t run = countRun(offsets, getWidth());
  return columns % run == 0 ? run : 1;
}

/// Elements next to one another go out together.
void Output::storeRowElements(const Place &place, int64_t row,
                              ArrayRef<int64_t> offsets, ValueRange values) {
  auto guarded = [&](Value inside, function_ref<void()> body) {
    inside ? code.ifTrue(inside, body) : body();
  };
  if (place.parts) {
    // The lane that has the part's first column.
    Value isFirst = code.less(code.rem(threadColumn, getSpan()), 1);
    Value inside = isInside(row, offsets.front());
    guarded(inside ? code.both(isFirst, inside) : isFirst, [&] {
      storeElements(place, row * place.parts + offsets.front() / getSpan(),
                    values);
    });
    return;
  }
  for (int64_t index = 0, count = offsets.size(); index < count;) {
    int64_t run = getRun(offsets.drop_front(index));
    guarded(isInside(row, offsets[index]), [&] {
      storeElements(place, row * columns + offsets[index],
                    values.slice(index, run));
    });
    index += run;
  }
}

/// The number of a row, or of another that counts where the row does not.
Value Output::getRow(int64_t row) {
  Value number = code.add(threadRow, row);
  if (!rowLimit && !rowEdge)
    return number;
  Value last = rowLimit ? code.add(rowLimit, -1) : code.constant(rows - 1);
  return arith::MinUIOp::create(code.getBuilder(), number, last);
}

void Output::storeSpan(int64_t row, ArrayRef<int64_t> offsets, ValueRange sums,
                       int64_t lanes) {
  EpilogueRow values;
  values.sums = sums;
  values.scalars = scalars;
  values.row = getRow(row);
  values.span = getRowSpan(offsets, lanes);
  values.vectors = loadVectors(offsets.front(), values.span);
  for (const Place &place : getSources(EpilogueSource::Element))
    values.inputs.push_back(loadRowElements(place, row, offsets));
  for (const Place &place : getSources(EpilogueSource::Table))
    values.tables.push_back(place.start);
  values.lanes = loadLanes(values.row);
  for (auto [place, elements] :
       llvm::zip_equal(outputs, epilogue->apply(code, values)))
    storeRowElements(place, row, offsets, elements);
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
  auto append = [&](ArrayRef<Value> tensors) {
    for (Value tensor : tensors)
      buffers.push_back(kernel.getBuffer(tensor));
  };
  append(epilogue.getOutputs());
  for (unsigned kind = 0; kind < kNumEpilogueSources; ++kind)
    append(epilogue.getSources(EpilogueSource(kind)));
  for (Value output : epilogue.getOutputs())
    if (Value indices = epilogue.getIndices(output))
      buffers.push_back(kernel.getBuffer(indices));
  return buffers;
}

Output gemm::createOutput(ThreadCode &code, const Problem &problem,
                          const Schedule &schedule, const Epilogue &epilogue,
                          ArrayRef<Value> arguments) {
  size_t outputs = epilogue.getOutputs().size(), sources = 0;
  for (unsigned kind = 0; kind < kNumEpilogueSources; ++kind)
    sources += epilogue.getSources(EpilogueSource(kind)).size();
  Output output(code, problem, schedule, arguments.take_front(outputs));
  arguments = arguments.drop_front(outputs);
  output.setEpilogue(epilogue, arguments.take_front(sources),
                     arguments.drop_front(sources));
  return output;
}
