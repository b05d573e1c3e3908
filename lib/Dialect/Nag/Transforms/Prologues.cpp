// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Dialect/Nag/Transforms/Prologues.h"
#include "nag/Dialect/Nag/Transforms/HostOps.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

#include <cmath>

using namespace mlir;
using namespace nag;

//===----------------------------------------------------------------------===//
// What may be a prologue
//===----------------------------------------------------------------------===//

/// Instructions that take as long as a byte of memory. An A100 does 9.7e12 f32
/// operations per second and moves 1.6e12 bytes.
static constexpr double kInstructionsPerByte = 6;
/// An element is read from the tile and written back. Tensor cores' fragments
/// are changed where they are, two elements of 16 bits at a time, but in two
/// warps each, and half of that is hidden behind the products.
static constexpr double kAccessInstructions = 2, kFragmentShare = 0.5;

/// True for a scalar, of all rows or of each.
static bool isScalar(Value operand, RowRole role) {
  auto type = dyn_cast<RankedTensorType>(operand.getType());
  return type &&
         (role == RowRole::Lane || (role == RowRole::Whole && !type.getRank()));
}

StringRef nag::getPrologueObstacle(RowwiseOpInterface op) {
  if (op->getNumResults() != 1 || op.getResultRole(0) != RowRole::Row)
    return "it makes more than one tensor of rows";
  if (op.getNumRows() == 0)
    return "it has no rows";
  if (op.getColumnSpan() != 1)
    return "it needs more than one column of a row";
  unsigned numRows = 0;
  for (OpOperand &operand : op->getOpOperands()) {
    RowRole role = op.getOperandRole(operand.getOperandNumber());
    if (role == RowRole::Row)
      ++numRows;
    else if (!isScalar(operand.get(), role))
      return "it reads more than its rows and scalars";
  }
  return numRows == 1 ? ""
                      : "it reads rows of several tensors, and a product would "
                        "load each of them once for all its columns";
}

/// The tensor whose elements the op maps.
static Value getMappedRows(RowwiseOpInterface op) {
  for (OpOperand &operand : op->getOpOperands())
    if (op.getOperandRole(operand.getOperandNumber()) == RowRole::Row)
      return operand.get();
  llvm_unreachable("an op without rows");
}

/// Follows ops upwards from `operand`, as long as `goesOn` of what they read.
static Prologue followUpwards(Value operand, function_ref<bool(Value)> goesOn) {
  Prologue prologue;
  prologue.source = operand;
  while (goesOn(prologue.source)) {
    auto op = prologue.source.getDefiningOp<RowwiseOpInterface>();
    if (!op || isHostOp(op) || !getPrologueObstacle(op).empty())
      break;
    prologue.ops.push_back(op);
    prologue.source = getMappedRows(op);
  }
  std::reverse(prologue.ops.begin(), prologue.ops.end());
  if (prologue.source.getType() != operand.getType())
    return {{}, operand};
  return prologue;
}

Prologue nag::findPrologue(Value operand) {
  return followUpwards(operand, [](Value) { return true; });
}

/// True for an operand of a product that holds rows.
static bool isLoad(OpOperand &use) {
  auto product = dyn_cast<RowProductOpInterface>(use.getOwner());
  return product &&
         product.getOperandRole(use.getOperandNumber()) == RowRole::Row;
}

static void visitLoads(Block &block, function_ref<void(OpOperand &)> visit) {
  for (Operation &op : block)
    for (OpOperand &operand : op.getOpOperands())
      if (isLoad(operand))
        visit(operand);
}

llvm::SetVector<Operation *> nag::collectPrologues(Block &kernel) {
  llvm::SetVector<Operation *> ops;
  visitLoads(kernel, [&](OpOperand &operand) {
    for (RowwiseOpInterface op : findPrologue(operand.get()).ops)
      ops.insert(op);
  });
  // What others read is computed for them.
  auto isElsewhere = [&](Operation *user) {
    return !ops.contains(user) && !isa<RowProductOpInterface>(user);
  };
  for (Operation &op : llvm::reverse(kernel))
    if (llvm::any_of(op.getUsers(), isElsewhere))
      ops.remove(&op);
  return ops;
}

//===----------------------------------------------------------------------===//
// Which are
//===----------------------------------------------------------------------===//

namespace {
class PrologueChoice {
public:
  PrologueChoice(Block &ownBlock, const PrologueOptions &ownOptions)
      : block(ownBlock), options(ownOptions) {}

  PrologueMap run();

private:
  bool isInMemory(Value value) const;
  Prologue findCandidate(Value value) const;
  double countBytesOfWork(const Prologue &prologue, OpOperand &use) const;
  std::string findObstacle(Value value, const Prologue &prologue) const;
  void explain(Value value, const Prologue &prologue, StringRef obstacle) const;
  void explainRefused(Value value) const;
  void isolate(OpOperand &use, const Prologue &prologue);

  Block &block;
  const PrologueOptions &options;
  PrologueMap productOf;
};
} // namespace

/// True for what memory holds whatever is chosen: what comes from outside the
/// kernels or goes there, and what products read as it is.
bool PrologueChoice::isInMemory(Value value) const {
  Operation *producer = value.getDefiningOp();
  if (!producer || isHostOp(producer) || isa<TakeOp>(producer))
    return true;
  return llvm::any_of(value.getUsers(), [&](Operation *user) {
    return user->getBlock() != &block || user == block.getTerminator() ||
           isHostOp(user) || isa<RowProductOpInterface>(user);
  });
}

/// What makes `value` of the nearest tensor that is in memory anyway.
Prologue PrologueChoice::findCandidate(Value value) const {
  return followUpwards(value, [&](Value source) {
    return source == value || !isInMemory(source);
  });
}

/// What it costs to compute an operand's elements once for each tile of the
/// other operand, as bytes of memory that take as long.
double PrologueChoice::countBytesOfWork(const Prologue &prologue,
                                        OpOperand &use) const {
  auto type = cast<RankedTensorType>(use.get().getType());
  double elements = type.getNumElements(), instructions = 0;
  for (RowwiseOpInterface op : prologue.ops)
    if (auto cost = dyn_cast<CostOpInterface>(op.getOperation()))
      instructions += double(cost.getFlops());
  if (type.getElementTypeBitWidth() == 16)
    instructions *= kFragmentShare;
  else
    instructions += kAccessInstructions * elements;
  // A product has two operations for each element and column.
  double flops = cast<CostOpInterface>(use.getOwner()).getFlops();
  double columns = flops / 2 / std::max(elements, 1.0);
  return instructions * std::ceil(columns / double(options.tileColumns)) /
         kInstructionsPerByte;
}

std::string PrologueChoice::findObstacle(Value value,
                                         const Prologue &prologue) const {
  if (!isInMemory(prologue.source))
    return "what it reads would be in memory for that alone";
  double work = 0;
  for (OpOperand &use : value.getUses()) {
    if (!isLoad(use))
      return "others read what it makes";
    work += countBytesOfWork(prologue, use);
  }
  if (work >= double(getTypeBytes(value.getType())))
    return llvm::formatv("to compute it for each tile of the other operand "
                         "takes as long as {0} bytes of memory",
                         int64_t(work));
  return "";
}

static std::string getNames(const Prologue &prologue) {
  SmallVector<StringRef> names;
  for (RowwiseOpInterface op : prologue.ops)
    if (!isa<arith::ExtFOp, arith::TruncFOp>(op))
      names.push_back(op->getName().stripDialect());
  return llvm::join(names, "_");
}

void PrologueChoice::explain(Value value, const Prologue &prologue,
                             StringRef obstacle) const {
  std::string names = getNames(prologue);
  if (!options.remarks || names.empty())
    return;
  llvm::SmallSetVector<StringRef, 2> users;
  auto latestFirst = llvm::to_vector(value.getUsers());
  for (Operation *user : llvm::reverse(latestFirst))
    users.insert(user->getName().stripDialect());
  std::string products = llvm::join(users, "', '");
  auto remark = prologue.ops.back()->emitRemark();
  if (obstacle.empty())
    remark << "joined '" << names << "' and the loads of '" << products << "'";
  else
    remark << "kept '" << names << "' out of the loads of '" << products
           << "': " << obstacle;
  remark << " (" << getTypeBytes(value.getType()) << " bytes)";
}

/// Says why an op that works element by element is none for a load.
void PrologueChoice::explainRefused(Value value) const {
  auto op = value.getDefiningOp<RowwiseOpInterface>();
  if (!op || !options.remarks || isHostOp(op) || op.getColumnSpan() != 1)
    return;
  StringRef obstacle = getPrologueObstacle(op);
  if (!obstacle.empty())
    explain(value, {{op}, value}, obstacle);
}

/// Gives the product a copy of the ops.
void PrologueChoice::isolate(OpOperand &use, const Prologue &prologue) {
  OpBuilder builder(use.getOwner());
  IRMapping mapping;
  auto clone = [&](Operation *op) {
    Operation *own = builder.clone(*op, mapping);
    productOf[own] = use.getOwner();
    return own;
  };
  if (auto take = prologue.source.getDefiningOp<TakeOp>())
    clone(take);
  Operation *last = nullptr;
  for (RowwiseOpInterface op : prologue.ops)
    last = clone(op);
  use.set(last->getResult(0));
}

PrologueMap PrologueChoice::run() {
  llvm::SetVector<Value> operands;
  visitLoads(block, [&](OpOperand &use) { operands.insert(use.get()); });
  for (Value value : operands) {
    Prologue prologue = findCandidate(value);
    if (prologue.ops.empty()) {
      explainRefused(value);
      continue;
    }
    std::string obstacle = findObstacle(value, prologue);
    explain(value, prologue, obstacle);
    if (obstacle.empty())
      for (OpOperand &use : llvm::make_early_inc_range(value.getUses()))
        isolate(use, prologue);
  }
  return std::move(productOf);
}

PrologueMap nag::isolatePrologues(Block &block,
                                  const PrologueOptions &options) {
  return PrologueChoice(block, options).run();
}
