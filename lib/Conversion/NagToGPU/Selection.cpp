// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Depth routing: which tokens are executed (nag.route), and thresholds
// (nag.quantile). A warp takes a sequence, or a slice: the k-th largest
// magnitude is found bit by bit, then one pass lists what is executed. Where
// sequences keep different numbers of tokens, each counts those before it.
#include "Selection.h"
#include "KernelCode.h"
#include "nag/Dialect/Nag/Transforms/RoutedRows.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace nag;

static constexpr int64_t kWarpSize = 32;
/// As many scores stay in the lanes' registers; more are read again each time.
static constexpr int64_t kHeldScores = 1024;

namespace {

/// Magnitudes of f32 scores as integers of the same order; NaN is the largest.
class SelectionCode : public KernelCode {
public:
  /// `scores` of which `count`, from `first` on, are at hand.
  SelectionCode(ImplicitLocOpBuilder &owner, Value scoreBuffer, Value start,
                int64_t number)
      : KernelCode(owner), scores(scoreBuffer), first(start), count(number),
        lane(rem(threadIndex(), kWarpSize)) {
    if (count > kHeldScores)
      return;
    for (int64_t at = 0; at < count; at += kWarpSize)
      held.push_back(getBits(add(lane, at)));
  }

  Value getLane() { return lane; }
  Value compare(arith::CmpIPredicate predicate, Value a, Value b) {
    return arith::CmpIOp::create(getBuilder(), predicate, a, b);
  }
  Value toInteger(Value condition) {
    return select(condition, constant(1), constant(0));
  }

  /// The value of score `index`, or of the last one.
  Value getBits(Value index) {
    Value existing = smaller(index, constant(count - 1));
    Value bits =
        loadAt(getBuilder().getI32Type(), scores, add(first, existing));
    return bitAnd(bits, 0x7fffffff);
  }
  /// Calls `body` with each lane's next score, in order, all lanes together:
  /// its number, whether there is one, its value.
  Values
  forEachScore(ValueRange initial,
               function_ref<Values(Value, Value, Value, ValueRange)> body) {
    if (!held.empty()) {
      Values state(initial);
      for (auto [step, bits] : llvm::enumerate(held)) {
        Value index = add(lane, step * kWarpSize);
        state = body(index, less(index, count), bits, state);
      }
      return state;
    }
    return loop(constant(0), constant(count), kWarpSize, initial,
                [&](Value start, ValueRange state) {
                  Value index = add(start, lane);
                  return body(index, less(index, count), getBits(index), state);
                });
  }
  /// How many scores are at least `least`.
  Value countFrom(Value least) {
    Value own = forEachScore(
        constant(0),
        [&](Value, Value inside, Value bits, ValueRange state) -> Values {
          Value reaches = compare(arith::CmpIPredicate::uge, bits, least);
          return {add(state[0], toInteger(both(inside, reaches)))};
        })[0];
    return reduce(own, kWarpSize, [&](Value a, Value b) { return add(a, b); });
  }
  /// The `rank`-th largest value; `rank` counts from 1.
  Value findLargest(Value rank) {
    constexpr int64_t kBits = 31;
    return loop(constant(0), constant(kBits), 1, constant(0),
                [&](Value step, ValueRange state) -> Values {
                  Value bit =
                      arith::ShLIOp::create(getBuilder(), constant(1),
                                            sub(constant(kBits - 1), step));
                  Value candidate = add(state[0], bit);
                  Value enough = compare(arith::CmpIPredicate::sge,
                                         countFrom(candidate), rank);
                  return {select(enough, candidate, state[0])};
                })[0];
  }
  /// Whether |score| is not below a threshold; NaN is not.
  Value reaches(Value bits, Value threshold) {
    Value score =
        arith::BitcastOp::create(getBuilder(), getBuilder().getF32Type(), bits);
    return arith::CmpFOp::create(getBuilder(), arith::CmpFPredicate::UGE, score,
                                 threshold);
  }
  /// How many of the scores reach the threshold.
  Value countReaching(Value threshold);
  /// Writes first + t for these, ascending, from `destination` of `indices` on.
  /// Returns the place behind them.
  Value listReaching(Value threshold, Value indices, Value destination);
  /// Writes -1 to the places [begin, end).
  void clear(Value indices, Value begin, int64_t end);
  /// Writes first + t for the `kept` largest scores, ascending, from
  /// `destination` of `indices` on; of equals the earlier ones count.
  void listLargest(Value kept, Value indices, Value destination);

private:
  Value lastOf(Value value) { return shuffle(value, constant(kWarpSize - 1)); }

  Value scores, first;
  int64_t count;
  Value lane;
  /// A lane's scores, where there are few.
  Values held;
};

} // namespace

void SelectionCode::listLargest(Value kept, Value indices, Value destination) {
  Value least = findLargest(kept);
  Value ties = sub(kept, countFrom(add(least, 1)));
  Value zeros[] = {constant(0), constant(0)};
  forEachScore(
      zeros,
      [&](Value index, Value inside, Value bits, ValueRange state) -> Values {
        Value isEqual =
            both(inside, compare(arith::CmpIPredicate::eq, bits, least));
        Value equals = inclusiveSum(toInteger(isEqual), lane);
        Value isEarly =
            compare(arith::CmpIPredicate::sle, add(state[1], equals), ties);
        Value isAbove =
            both(inside, compare(arith::CmpIPredicate::ugt, bits, least));
        Value selected = select(isAbove, toInteger(isAbove),
                                toInteger(both(isEqual, isEarly)));
        Value before = inclusiveSum(selected, lane);
        ifTrue(compare(arith::CmpIPredicate::ne, selected, constant(0)), [&] {
          Value place =
              add(destination, sub(add(state[0], before), constant(1)));
          storeAt(add(first, index), indices, place);
        });
        return {add(state[0], lastOf(before)), add(state[1], lastOf(equals))};
      });
}

Value SelectionCode::countReaching(Value threshold) {
  Value own = forEachScore(
      constant(0),
      [&](Value, Value inside, Value bits, ValueRange state) -> Values {
        Value selected = both(inside, reaches(bits, threshold));
        return {add(state[0], toInteger(selected))};
      })[0];
  return reduce(own, kWarpSize, [&](Value a, Value b) { return add(a, b); });
}

Value SelectionCode::listReaching(Value threshold, Value indices,
                                  Value destination) {
  return forEachScore(
      destination,
      [&](Value index, Value inside, Value bits, ValueRange state) -> Values {
        Value selected = both(inside, reaches(bits, threshold));
        Value before = inclusiveSum(toInteger(selected), lane);
        ifTrue(selected, [&] {
          storeAt(add(first, index), indices,
                  add(state[0], sub(before, constant(1))));
        });
        return {add(state[0], lastOf(before))};
      })[0];
}

void SelectionCode::clear(Value indices, Value begin, int64_t end) {
  loop(add(begin, lane), constant(end), kWarpSize,
       [&](Value place) { storeAt(constant(-1), indices, place); });
}

static LogicalResult verifyScores(Operation *op, Value scores) {
  Type element = getElementTypeOrSelf(scores.getType());
  if (element.isF32())
    return success();
  return op->emitOpError("expected f32 on the GPU, but got ") << element;
}

static Value getFlatBuffer(KernelLowering &kernel, Value tensor) {
  return kernel.getBuffer(
      tensor, {cast<RankedTensorType>(tensor.getType()).getNumElements()});
}

/// How many of `count` scores a rate keeps, as nag_quantile_f32 has it.
static Value countKept(KernelCode &code, Value rate, int64_t count) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  Type f64 = builder.getF64Type();
  auto number = [&](double value) -> Value {
    return arith::ConstantOp::create(builder, builder.getF64FloatAttr(value));
  };
  Value isPositive = arith::CmpFOp::create(builder, arith::CmpFPredicate::OGT,
                                           rate, code.number(0));
  Value share = arith::ExtFOp::create(
      builder, f64, code.select(isPositive, rate, code.number(0)));
  share = arith::AddFOp::create(builder, share, number(1e-7));
  Value skipped = arith::MulFOp::create(builder, share, number(double(count)));
  Value isLess = arith::CmpFOp::create(builder, arith::CmpFPredicate::OLT,
                                       skipped, number(double(count)));
  skipped = code.select(isLess, skipped, number(double(count - 1)));
  Value whole = arith::FPToSIOp::create(builder, builder.getI32Type(), skipped);
  return code.sub(code.constant(count), whole);
}

/// What the dial is computed of: itself, where no op of the kernel makes it.
static SmallVector<Value> getDialOperands(RouteOp op) {
  Value dial = op.getDial();
  Operation *part = dial ? dial.getDefiningOp() : nullptr;
  if (part && isPartOfDial(part))
    return SmallVector<Value>(part->getOperands());
  return dial ? SmallVector<Value>{dial} : SmallVector<Value>();
}

namespace {
/// The selection of one sequence by a warp.
class RouteKernel {
public:
  RouteKernel(ImplicitLocOpBuilder &builder, RouteOp routeOp,
              ArrayRef<Value> launchArguments, Value number)
      : op(routeOp), arguments(launchArguments), threads(builder),
        length(op.getScores().getType().getDimSize(1)),
        sequences(op.getScores().getType().getDimSize(0)),
        rows(op.getIndices().getType().getDimSize(0)), sequence(number) {}

  void build() {
    if (op.getRouting().getPolicy() == Policy::Capacity)
      buildCapacity();
    else
      buildThreshold();
  }

private:
  enum { kScores, kIndices, kOffsets, kDial };

  SelectionCode select(Value which) {
    return SelectionCode(threads.getBuilder(), arguments[kScores],
                         threads.mul(which, length), length);
  }
  Value loadDial(KernelCode &code);
  void buildCapacity();
  void buildThreshold();
  /// `end` is the place behind the sequence's indices.
  void finish(SelectionCode &code, Value end);

  RouteOp op;
  ArrayRef<Value> arguments;
  ThreadCode threads;
  int64_t length, sequences, rows;
  Value sequence;
};
} // namespace

Value RouteKernel::loadDial(KernelCode &code) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  SmallVector<Value> operands;
  for (Value buffer : arguments.drop_front(kDial))
    operands.push_back(
        code.loadAt(builder.getF32Type(), buffer, code.constant(0)));
  Operation *part = op.getDial().getDefiningOp();
  if (!part || !isPartOfDial(part))
    return operands.front();
  OperationState state(op.getLoc(), part->getName(), operands,
                       {builder.getF32Type()}, part->getAttrs());
  return builder.create(state)->getResult(0);
}

void RouteKernel::finish(SelectionCode &code, Value end) {
  code.ifTrue(code.less(code.getLane(), 1), [&] {
    code.storeAt(end, arguments[kOffsets], code.add(sequence, 1));
    code.ifTrue(code.less(sequence, 1), [&] {
      code.storeAt(code.constant(0), arguments[kOffsets], code.constant(0));
    });
  });
  code.ifTrue(code.compare(arith::CmpIPredicate::eq, sequence,
                           code.constant(sequences - 1)),
              [&] { code.clear(arguments[kIndices], end, rows); });
}

void RouteKernel::buildCapacity() {
  SelectionCode code = select(sequence);
  Value kept = op.getDial() ? countKept(code, loadDial(code), length)
                            : code.constant(op.getRouting().getKept(length));
  Value begin = arith::MulIOp::create(code.getBuilder(), sequence, kept);
  code.listLargest(kept, arguments[kIndices], begin);
  finish(code, code.add(begin, kept));
}

void RouteKernel::buildThreshold() {
  SelectionCode code = select(sequence);
  Value threshold = loadDial(code);
  Value begin =
      code.loop(code.constant(0), sequence, 1, code.constant(0),
                [&](Value other, ValueRange state) -> KernelCode::Values {
                  Value found = select(other).countReaching(threshold);
                  return {code.add(state[0], found)};
                })[0];
  finish(code, code.listReaching(threshold, arguments[kIndices], begin));
}

size_t nag::countRouteBuffers(RouteOp op) {
  return 3 + getDialOperands(op).size();
}

SmallVector<Value> nag::getRouteBuffers(KernelLowering &kernel, RouteOp op) {
  SmallVector<Value> buffers{getFlatBuffer(kernel, op.getScores()),
                             getFlatBuffer(kernel, op.getIndices()),
                             getFlatBuffer(kernel, op.getOffsets())};
  for (Value operand : getDialOperands(op))
    buffers.push_back(getFlatBuffer(kernel, operand));
  return buffers;
}

void nag::buildRoute(ImplicitLocOpBuilder &builder, RouteOp op,
                     ArrayRef<Value> arguments, Value sequence) {
  RouteKernel(builder, op, arguments, sequence).build();
}

static FailureOr<unsigned> emitRoute(KernelLowering &kernel, RouteOp op) {
  if (failed(verifyScores(op, op.getScores())))
    return failure();
  int64_t sequences = op.getScores().getType().getDimSize(0);
  DeviceFunction device = kernel.createLaunch(
      "", getRouteBuffers(kernel, op), {sequences, 1, 1}, {kWarpSize, 1, 1});
  Value sequence = ThreadCode(device.builder).blockIndex();
  buildRoute(device.builder, op, device.arguments, sequence);
  return 1u;
}

static FailureOr<unsigned> emitQuantile(KernelLowering &kernel, QuantileOp op) {
  if (failed(verifyScores(op, op.getValues())))
    return failure();
  RankedTensorType type = op.getValues().getType();
  int64_t slices = type.getDimSize(0), count = type.getNumElements() / slices;
  Value operands[] = {getFlatBuffer(kernel, op.getValues()),
                      getFlatBuffer(kernel, op.getRate()),
                      getFlatBuffer(kernel, op.getThresholds())};
  DeviceFunction device =
      kernel.createLaunch("", operands, {slices, 1, 1}, {kWarpSize, 1, 1});
  ThreadCode threads(device.builder);
  Value slice = threads.blockIndex();
  SelectionCode code(device.builder, device.arguments[0],
                     threads.mul(slice, count), count);
  Value rate = code.loadAt(device.builder.getF32Type(), device.arguments[1],
                           code.constant(0));
  Value bits = code.findLargest(countKept(code, rate, count));
  code.ifTrue(code.less(code.getLane(), 1),
              [&] { code.storeAt(bits, device.arguments[2], slice); });
  return 1u;
}

FailureOr<unsigned> nag::emitSelection(KernelLowering &kernel,
                                       ArrayRef<Operation *> ops) {
  if (auto route = dyn_cast<RouteOp>(ops.front()))
    return emitRoute(kernel, route);
  if (auto quantile = dyn_cast<QuantileOp>(ops.front()))
    return emitQuantile(kernel, quantile);
  return 0u;
}

FailureOr<LaunchPlan> nag::planSelection(const GPUTarget &,
                                         ArrayRef<Operation *> ops) {
  LaunchPlan plan;
  plan.numOps = isa<RouteOp, QuantileOp>(ops.front()) ? 1 : 0;
  return plan;
}
