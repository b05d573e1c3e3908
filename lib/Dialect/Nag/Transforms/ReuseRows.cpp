// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -nag-reuse-rows: rows that are computed of all tokens are taken.
#include "nag/Dialect/Nag/Transforms/RoutingPasses.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

namespace nag {
#define GEN_PASS_DEF_NAGREUSEROWS
#include "nag/Dialect/Nag/Transforms/RoutingPasses.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

static bool isRowOrLane(RowRole role) {
  return role == RowRole::Row || role == RowRole::Lane;
}

static RowRole getOperandRole(Operation *op, unsigned index) {
  if (auto product = dyn_cast<RowProductOpInterface>(op))
    return product.getOperandRole(index);
  return cast<RowwiseOpInterface>(op).getOperandRole(index);
}

static RowRole getResultRole(Operation *op, unsigned index) {
  if (auto product = dyn_cast<RowProductOpInterface>(op))
    return product.getResultRole(index);
  return cast<RowwiseOpInterface>(op).getResultRole(index);
}

/// The nag.take whose rows `value` is, or null.
static TakeOp findTakeOf(Value value) {
  auto take = value.getDefiningOp<TakeOp>();
  return take && value == take.getRows() ? take : TakeOp();
}

/// The nag.take of one of the operands, where every row and scalar that `op`
/// reads is taken by the same index, and it makes no others.
static TakeOp findTakeOfAll(Operation *op) {
  if (!isa<RowProductOpInterface, RowwiseOpInterface>(op))
    return TakeOp();
  TakeOp found;
  for (OpOperand &operand : op->getOpOperands()) {
    RowRole role = getOperandRole(op, operand.getOperandNumber());
    if (role == RowRole::Whole)
      continue;
    TakeOp take = findTakeOf(operand.get());
    if (!take || !isRowOrLane(role) ||
        (found && take.getIndices() != found.getIndices()))
      return TakeOp();
    found = take;
  }
  for (unsigned index = 0; index < op->getNumResults(); ++index)
    if (!isRowOrLane(getResultRole(op, index)))
      return TakeOp();
  return found;
}

/// True when `whole` is `op` with all rows in the place of those taken.
static bool isSameOfAll(Operation *whole, Operation *op) {
  if (whole == op || whole->getName() != op->getName() ||
      whole->getAttrs() != op->getAttrs() ||
      whole->getNumOperands() != op->getNumOperands() ||
      whole->getBlock() != op->getBlock() || !whole->isBeforeInBlock(op))
    return false;
  for (OpOperand &operand : op->getOpOperands()) {
    unsigned index = operand.getOperandNumber();
    bool isWhole = getOperandRole(op, index) == RowRole::Whole;
    Value expected =
        isWhole ? operand.get() : findTakeOf(operand.get()).getSource();
    if (whole->getOperand(index) != expected)
      return false;
  }
  auto isSameElement = [](auto types) {
    auto [left, right] = types;
    return getElementTypeOrSelf(left) == getElementTypeOrSelf(right);
  };
  return llvm::all_of(
      llvm::zip_equal(whole->getResultTypes(), op->getResultTypes()),
      isSameElement);
}

namespace {
/// Works through the ops of a block in order.
class RowReuse {
public:
  RowReuse(Block &ownedBlock, bool productsAlone)
      : block(ownedBlock), onlyProducts(productsAlone) {}

  void run() {
    for (Operation &op : llvm::make_early_inc_range(block)) {
      if (onlyProducts && !isa<RowProductOpInterface>(op))
        continue;
      SmallVector<Value> values = takeComputed(&op);
      if (values.empty())
        values = putRounded(&op);
      if (values.empty())
        continue;
      op.replaceAllUsesWith(values);
      replaced[&op] = values;
    }
    for (auto &[op, values] : replaced)
      op->erase();
  }

private:
  /// What stands for the results of `op` by now.
  SmallVector<Value> getResults(Operation *op) const {
    auto found = replaced.find(op);
    return found != replaced.end() ? found->second
                                   : SmallVector<Value>(op->getResults());
  }
  SmallVector<Value> takeComputed(Operation *op);
  SmallVector<Value> putRounded(Operation *op);
  Value findRounded(Value value, Operation *rounding);

  Block &block;
  const bool onlyProducts;
  /// Ops without users, until the end, and what is read instead.
  llvm::MapVector<Operation *, SmallVector<Value>> replaced;
};
} // namespace

SmallVector<Value> RowReuse::takeComputed(Operation *op) {
  TakeOp take = findTakeOfAll(op);
  if (!take)
    return {};
  auto users = take.getSource().getUsers();
  auto whole = llvm::find_if(
      users, [&](Operation *user) { return isSameOfAll(user, op); });
  if (whole == users.end())
    return {};
  OpBuilder builder(op);
  SmallVector<Value> values;
  for (Value result : getResults(*whole))
    values.push_back(TakeOp::create(builder, op->getLoc(), result,
                                    take.getIndices(), take.getOffsets())
                         .getRows());
  return values;
}

/// The rounding of `value` that is there before `rounding`, of the same type;
/// of what nag.take left, where its source's is.
Value RowReuse::findRounded(Value value, Operation *rounding) {
  Type element = getElementTypeOrSelf(rounding->getResult(0));
  for (Operation *user : value.getUsers())
    if (user->getName() == rounding->getName() && user->getBlock() == &block &&
        user->isBeforeInBlock(rounding) &&
        getElementTypeOrSelf(user->getResult(0)) == element)
      return getResults(user).front();
  auto take = value.getDefiningOp<TakeOp>();
  if (!take || value != take.getRest())
    return Value();
  Value source = findRounded(take.getSource(), rounding);
  if (!source)
    return Value();
  OpBuilder builder(rounding);
  return TakeOp::create(builder, take.getLoc(), source, take.getIndices(),
                        take.getOffsets())
      .getRest();
}

SmallVector<Value> RowReuse::putRounded(Operation *op) {
  auto put = isa<arith::TruncFOp>(op) ? op->getOperand(0).getDefiningOp<PutOp>()
                                      : PutOp();
  Value rest = put ? findRounded(put.getRest(), op) : Value();
  if (!rest)
    return {};
  OpBuilder builder(op);
  auto type = cast<RankedTensorType>(put.getRows().getType())
                  .clone(getElementTypeOrSelf(rest));
  Value rows =
      arith::TruncFOp::create(builder, op->getLoc(), type, put.getRows());
  return {PutOp::create(builder, put.getLoc(), rows, rest, put.getIndices(),
                        put.getOffsets())};
}

void nag::reuseRows(Block &block) {
  RowReuse(block, /*productsAlone=*/false).run();
}

void nag::takeComputedProducts(Block &block) {
  RowReuse(block, /*productsAlone=*/true).run();
}

namespace {
struct ReuseRows : nag::impl::NagReuseRowsBase<ReuseRows> {
  void runOnOperation() override {
    getOperation()->walk([](Block *block) { reuseRows(*block); });
  }
};
} // namespace
