// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "RowCarry.h"
#include "KernelCode.h"
#include "nag/Dialect/Nag/Transforms/HostSignature.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace nag;

static constexpr int64_t kWarpSize = 32;
/// Rows that a warp copies; so many of its lanes look for one each.
static constexpr int64_t kRowsPerWarp = 8;

static RankedTensorType typeOf(Value tensor) {
  return cast<RankedTensorType>(tensor.getType());
}

RowCarry::RowCarry(PutOp put)
    : base(put.getRest()), result(put.getResult()), indices(put.getIndices()),
      offsets(findRowCount(put)),
      rows(typeOf(base).getDimSize(0) * typeOf(base).getDimSize(1)),
      named(typeOf(indices).getDimSize(0)), left(offsets ? rows : rows - named),
      rowBytes(getTypeBytes(base.getType()) / rows) {}

int64_t RowCarry::countBlocks(int64_t threads) const {
  return llvm::divideCeil(left, threads / kWarpSize * kRowsPerWarp);
}

void RowCarry::addOperands(KernelLowering &kernel,
                           SmallVectorImpl<Value> &operands) const {
  for (Value tensor : {base, result, indices})
    operands.push_back(kernel.getBuffer(tensor));
  if (offsets)
    operands.push_back(kernel.getBuffer(offsets));
}

namespace {
/// What one warp does.
class CarryCode : public KernelCode {
public:
  using KernelCode::KernelCode;

  /// The row that is number `number` of those that none of the `count` indices
  /// names: so many of them are smaller as have fewer than `number` others
  /// before them.
  Value findRow(Value indices, int64_t room, Value count, Value number) {
    return add(number, countLeading(count, room, [&](Value middle) {
                 Value place = smaller(middle, constant(room - 1));
                 Value index =
                     loadAt(getBuilder().getI32Type(), indices, place);
                 return less(sub(index, middle), add(number, 1));
               }));
  }

  /// Copies rows of `rowBytes` from one buffer to the same place of another.
  void copyRows(ArrayRef<Value> rows, int64_t rowBytes, Value from, Value to,
                Value lane) {
    int64_t width = 16;
    while (rowBytes % width != 0)
      width /= 2;
    Type type = getBuilder().getIntegerType(8 * std::min<int64_t>(width, 4));
    if (width > 4)
      type = VectorType::get(width / 4, type);
    Values starts;
    for (Value row : rows)
      starts.push_back(arith::MulIOp::create(getBuilder(), extend(row),
                                             constant64(rowBytes)));
    loop(mul(lane, width), constant(rowBytes), kWarpSize * width,
         [&](Value byte) {
           Values loaded;
           for (Value start : starts)
             loaded.push_back(
                 load(type, offset(offset(from, start), byte), width));
           for (auto [start, value] : llvm::zip_equal(starts, loaded))
             store(value, offset(offset(to, start), byte), width);
         });
  }
};
} // namespace

/// In place there is nothing to do: launches of one kernel may differ in that.
void RowCarry::emit(DeviceFunction &function, ArrayRef<Value> &arguments,
                    Value block, int64_t threads) const {
  ImplicitLocOpBuilder &builder = function.builder;
  CarryCode code(builder);
  Value from = code.pointer(arguments[0], Space::Global);
  Value to = code.pointer(arguments[1], Space::Global);
  Value list = arguments[2];
  arguments = arguments.drop_front(3);
  Value count = code.constant(named);
  if (offsets) {
    Value last = code.constant(typeOf(offsets).getDimSize(0) - 1);
    count = code.loadAt(builder.getI32Type(), arguments.front(), last);
    arguments = arguments.drop_front();
  }
  Value thread = code.threadIndex();
  Value lane = code.rem(thread, kWarpSize);
  Value number =
      arith::IndexCastOp::create(builder, builder.getI32Type(), block);
  Value warp = code.add(code.mul(number, threads / kWarpSize),
                        code.div(thread, kWarpSize));
  Value first = code.mul(warp, kRowsPerWarp);
  Value others = code.sub(code.constant(rows), count);
  Value isElsewhere =
      LLVM::ICmpOp::create(builder, LLVM::ICmpPredicate::ne, from, to);
  code.ifTrue(code.both(code.less(first, others), isElsewhere), [&] {
    // Behind the last row it is copied again.
    Value own = code.smaller(code.add(first, code.rem(lane, kRowsPerWarp)),
                             code.add(others, -1));
    Value row = code.findRow(list, named, count, own);
    SmallVector<Value> all;
    for (int64_t i = 0; i < kRowsPerWarp; ++i)
      all.push_back(code.shuffle(row, code.constant(i)));
    code.copyRows(all, rowBytes, from, to, lane);
  });
}

SmallVector<RowCarry> nag::findCarries(ArrayRef<Operation *> ops) {
  SmallVector<RowCarry> carries;
  for (Operation *op : ops)
    if (auto put = dyn_cast<PutOp>(op); put && isCarried(put))
      carries.emplace_back(put);
  return carries;
}
