// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "FusionRules.h"
#include "KernelCost.h"
#include "nag/Dialect/Nag/Transforms/HostOps.h"
#include "nag/Dialect/Nag/Transforms/Prologues.h"

using namespace mlir;
using namespace nag;

/// Two products that one kernel may hold: the same op with the same attributes.
static bool isSameKind(Operation *a, Operation *b) {
  return a->getName() == b->getName() && a->getAttrs() == b->getAttrs();
}

std::pair<Value, Value> nag::getSharedRows(const KernelGraph &graph,
                                           Operation *product) {
  auto op = cast<RowProductOpInterface>(product);
  Value operand = product->getOperand(op.getSharedRowOperand());
  if (Operation *producer = operand.getDefiningOp();
      producer && graph.isPrologue(producer))
    operand = findPrologue(operand).source;
  auto take = findTake(operand);
  if (take)
    return {take.getSource(), take.getIndices()};
  return {operand, Value()};
}

/// True for products that sum over rows.
static bool sumsOverRows(const KernelGroup &group) {
  if (group.products.empty())
    return false;
  auto product = cast<RowProductOpInterface>(group.products.front());
  return product.getResultRole(0) == RowRole::Sum;
}

/// True when both hold products that sum over rows, of different tensors.
static bool sumsOtherRows(const KernelGraph &graph, const KernelGroup &left,
                          const KernelGroup &right) {
  return sumsOverRows(left) && !right.products.empty() &&
         getSharedRows(graph, left.products.front()) !=
             getSharedRows(graph, right.products.front());
}

/// True when `id` waits for a kernel that `other` does not wait for.
static bool needsOthers(const KernelGraph &graph, unsigned id, unsigned other) {
  SetVector<unsigned> known = graph.getProducers(other);
  return llvm::any_of(graph.getProducers(id), [&](unsigned producer) {
    return !graph.getGroup(producer).isHost && !known.contains(producer);
  });
}

/// The length of the longest rows that `op` reads.
static int64_t countColumns(RowwiseOpInterface op) {
  int64_t columns = 1;
  for (OpOperand &operand : op->getOpOperands())
    if (op.getOperandRole(operand.getOperandNumber()) == RowRole::Row)
      columns = std::max(
          columns,
          cast<RankedTensorType>(operand.get().getType()).getShape().back());
  return columns;
}

/// True when a product of `group` loads what `other` writes.
static bool productReads(const KernelGroup &group, const KernelGroup &other) {
  auto reads = [&](Operation *op) {
    return llvm::any_of(op->getOperands(), [&](Value operand) {
      return other.writes.count(operand);
    });
  };
  return llvm::any_of(group.products, reads) ||
         llvm::any_of(group.ops, [&](Operation *op) {
           return !isa<TakeOp>(op) && isLoaded(group, op) && reads(op);
         });
}

bool FusionRules::sumsOverRows(unsigned id) const {
  return ::sumsOverRows(graph.getGroup(id));
}

bool FusionRules::multiplyOneTensor(unsigned a, unsigned b) const {
  llvm::SmallDenseSet<Value> factors;
  llvm::SmallDenseSet<Type> types;
  auto addTypes = [&](Operation *product) {
    for (Type type : product->getOperandTypes())
      types.insert(getElementTypeOrSelf(type));
  };
  for (Operation *product : graph.getGroup(a).products) {
    addTypes(product);
    factors.insert_range(product->getOperands());
  }
  bool found = false;
  for (Operation *product : graph.getGroup(b).products) {
    addTypes(product);
    found |= llvm::any_of(product->getOperands(), [&](Value operand) {
      return factors.contains(operand);
    });
  }
  return found && types.size() == 1;
}

bool FusionRules::bothSummed(unsigned a, unsigned b) const {
  const KernelGroup &left = graph.getGroup(a), &right = graph.getGroup(b);
  auto sums = [](const KernelGroup &sum, const KernelGroup &terms) {
    return llvm::any_of(sum.ops, [&](Operation *op) {
      return isSumOp(op) && llvm::any_of(op->getOperands(), [&](Value operand) {
               return terms.writes.count(operand) ||
                      terms.writes.count(skipWidening(operand));
             });
    });
  };
  return sums(left, right) || sums(right, left);
}

/// True when lanes hold `span` columns of a product's sums together, of a row
/// of `columns`.
bool FusionRules::isHeld(int64_t span, int64_t columns) const {
  if (options.laneColumns == 0 ||
      (span == columns && span <= options.laneColumns))
    return true;
  return llvm::isPowerOf2_64(span) && 2 * span >= options.laneColumns;
}

/// Why the row-wise ops of `group` cannot run on a tile of a product.
StringRef FusionRules::getEpilogueObstacle(const KernelGroup &group) const {
  for (Operation *op : group.ops) {
    auto rowwise = dyn_cast<RowwiseOpInterface>(op);
    if (!rowwise || isLoaded(group, op))
      continue;
    if (!isSumOp(op) && !options.epilogues)
      return "products take no row-wise ops";
    if (isSumOp(op) && !options.joinProducts && !options.epilogues)
      return "products take no sums";
    int64_t span = rowwise.getColumnSpan();
    // Where rows go is no matter of their columns.
    if (options.gatherRows && isa<PutOp>(op))
      span = 1;
    if (span > 1 && !isHeld(span, countColumns(rowwise)))
      return "lanes do not hold as many columns as it needs together";
    if (span == 0 || span > options.tileColumns)
      return "it needs more columns than a tile of the product has";
    for (unsigned index = 0; index < op->getNumResults(); ++index)
      if (rowwise.getResultRole(index) == RowRole::Sum)
        return "it sums over all rows";
  }
  return "";
}

/// True when `adder` adds to the sum over rows of `terms` a later one over
/// other rows, whose products run in a kernel of their own.
bool FusionRules::awaitsOtherSum(const KernelGroup &terms,
                                 const KernelGroup &adder) const {
  if (terms.products.empty())
    return false;
  Operation *product = terms.products.back();
  auto isLater = [&](Value operand) {
    Operation *other = skipWidening(operand).getDefiningOp();
    std::optional<unsigned> id = other ? graph.findGroup(other) : std::nullopt;
    return id && sumsOtherRows(graph, terms, graph.getGroup(*id)) &&
           product->isBeforeInBlock(graph.getGroup(*id).products.front());
  };
  return llvm::any_of(adder.ops, [&](Operation *op) {
    return isSumOp(op) &&
           llvm::any_of(op->getOperands(),
                        [&](Value operand) {
                          return terms.writes.count(skipWidening(operand));
                        }) &&
           llvm::any_of(op->getOperands(), isLater);
  });
}

StringRef FusionRules::getProductObstacle(unsigned a, unsigned b) const {
  const KernelGroup &left = graph.getGroup(a), &right = graph.getGroup(b);
  if (left.products.empty() && right.products.empty())
    return "";
  if (productReads(left, right) || productReads(right, left))
    return "a product would wait within its kernel";
  if (!left.products.empty() && !right.products.empty() &&
      (!options.joinProducts ||
       !isSameKind(left.products.front(), right.products.front())))
    return "their products are of two kinds";
  // Terms of one sum over rows, chunk by chunk: each ends its chunk.
  if (sumsOtherRows(graph, left, right))
    return "they sum over other rows";
  if (awaitsOtherSum(left, right) || awaitsOtherSum(right, left))
    return "the sum waits for a later chunk's term";
  StringRef obstacle = getEpilogueObstacle(left);
  return obstacle.empty() ? getEpilogueObstacle(right) : obstacle;
}

StringRef FusionRules::getObstacle(unsigned a, unsigned b) const {
  if (graph.getGroup(a).isHost || graph.getGroup(b).isHost)
    return "one belongs to the host program";
  StringRef obstacle = getProductObstacle(a, b);
  if (obstacle.empty())
    obstacle = graph.getObstacle(a, b);
  if (!obstacle.empty() || hasProducts(a) || hasProducts(b))
    return obstacle;
  KernelCost cost = getCost(graph, {a, b});
  bool fits = cost.readBytes + cost.madeBytes <= options.chipBytes ||
              cost.storedBytes <= options.sharedBytes;
  return fits ? "" : "their rows do not fit on the chip";
}

StringRef FusionRules::getIndependentObstacle(unsigned a, unsigned b) const {
  const KernelGroup &left = graph.getGroup(a), &right = graph.getGroup(b);
  if (left.isHost || right.isHost || hasProducts(a) || hasProducts(b) ||
      left.rows == 0 || right.rows == 0)
    return "one is not row-wise";
  bool sameRows = left.rows == right.rows && graph.haveOneCount(a, b);
  // Queries of executed tokens and keys of all read the same tables.
  bool sharesTables =
      options.gatherRows && !sameRows && getSavings(graph, a, b).bytes > 0;
  if (!sharesTables && needsOthers(graph, a, b) && needsOthers(graph, b, a))
    return "what one reads would wait in memory for the other";
  StringRef unrelated = graph.getObstacleOfIndependent(a, b);
  if (!unrelated.empty())
    return unrelated;
  if (!sameRows || left.rows == KernelGroup::kMixedRows)
    return "";
  // Rows of the same ops are worked on one after the other.
  return haveOpInCommon(a, b) ? graph.getObstacle(a, b) : getObstacle(a, b);
}

bool FusionRules::haveOpInCommon(unsigned a, unsigned b) const {
  return llvm::any_of(graph.getGroup(a).ops, [&](Operation *op) {
    return isa<RowwiseOpInterface>(op) &&
           !op->hasTrait<OpTrait::Elementwise>() &&
           llvm::any_of(graph.getGroup(b).ops, [&](Operation *other) {
             return op->getName() == other->getName();
           });
  });
}

bool FusionRules::isTableAtStart(unsigned a, unsigned b) const {
  return graph.getGroup(a).reads.empty() && !needsOthers(graph, b, a);
}

bool FusionRules::addsToPut(unsigned reader, unsigned writer) const {
  const KernelGroup &adds = graph.getGroup(reader),
                    &puts = graph.getGroup(writer);
  if (adds.products.empty() || puts.products.empty() || adds.offsets ||
      !adds.counts.empty() || !puts.counts.empty() ||
      !llvm::all_of(
          llvm::concat<Operation *const>(adds.products, puts.products),
          llvm::IsaPred<LinearOp>) ||
      graph.getProducers(writer).contains(reader) ||
      graph.dependsThroughOthers(reader, writer))
    return false;
  Value put;
  for (auto &[value, role] : adds.reads)
    if (puts.writes.count(value)) {
      if (put || !value.getDefiningOp<PutOp>() || role != RowRole::Row)
        return false;
      put = value;
    }
  auto readsRow = [&](Operation *user) {
    return !llvm::is_contained(adds.ops, user) || isSumOp(user);
  };
  return put && llvm::all_of(put.getUsers(), readsRow) &&
         !adds.reads.count(put.getDefiningOp<PutOp>().getRest());
}
