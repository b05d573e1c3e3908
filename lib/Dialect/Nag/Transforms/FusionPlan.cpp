// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "FusionPlan.h"
#include "KernelBuilder.h"
#include "KernelCost.h"
#include "nag/Dialect/Nag/Transforms/HostOps.h"
#include "nag/Dialect/Nag/Transforms/Prologues.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace nag;

namespace {

class FusionPlan {
public:
  FusionPlan(KernelGraph &kernelGraph, const FusionOptions &fusionOptions)
      : graph(kernelGraph), options(fusionOptions) {}

  void run() {
    joinConversions();
    if (options.joinProducts)
      joinProductsOfOneOperand();
    if (options.joinProducts || options.epilogues)
      joinAll([&](unsigned a, unsigned b) {
        return hasProducts(a) != hasProducts(b) || bothSummed(a, b);
      });
    joinAll([&](unsigned a, unsigned b) {
      // Products that only share a weight stay apart: their results would all
      // be in memory at a time.
      if (hasProducts(a) && hasProducts(b))
        return bothSummed(a, b);
      return options.epilogues || (!hasProducts(a) && !hasProducts(b));
    });
    if (options.joinSums)
      joinSums();
    if (options.multiTensor)
      joinIndependent();
    if (options.gatherRows) {
      joinRoutes();
      joinPuts();
    }
    if (options.remarks)
      explainApart();
  }

private:
  using Filter = function_ref<bool(unsigned, unsigned)>;

  bool hasProducts(unsigned id) const {
    return !graph.getGroup(id).products.empty();
  }
  bool bothSummed(unsigned a, unsigned b) const;
  StringRef getObstacle(unsigned a, unsigned b) const;
  StringRef getProductObstacle(unsigned a, unsigned b) const;
  bool awaitsOtherSum(const KernelGroup &terms, const KernelGroup &adder) const;
  bool isHeld(int64_t span, int64_t columns) const;
  StringRef getEpilogueObstacle(const KernelGroup &group) const;

  void joinConversions();
  void joinConversion(unsigned id, Operation *neighbour);
  void joinProductsOfOneOperand();
  void joinAll(Filter filter);
  bool joinBest(unsigned id, Filter filter);
  void joinSums();
  void joinIndependent();
  void joinRoutes();
  void joinPuts();
  bool addsToPut(unsigned reader, unsigned writer) const;
  bool haveOpInCommon(unsigned a, unsigned b) const;
  bool isTableAtStart(unsigned a, unsigned b) const;
  StringRef getIndependentObstacle(unsigned a, unsigned b) const;
  std::string getSignature(unsigned id) const;

  void merge(unsigned into, unsigned other);
  void explainApart();

  KernelGraph &graph;
  const FusionOptions &options;
};

/// Two products that one kernel may hold: the same op with the same attributes.
bool isSameKind(Operation *a, Operation *b) {
  return a->getName() == b->getName() && a->getAttrs() == b->getAttrs();
}

/// The rows that several products may share: a tensor, or the rows of it that
/// indices name.
std::pair<Value, Value> getSharedRows(const KernelGraph &graph,
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

/// True when one reads what the other writes.
bool isLinked(const KernelGroup &left, const KernelGroup &right) {
  auto reads = [](const KernelGroup &reader, const KernelGroup &writer) {
    return llvm::any_of(reader.reads, [&](auto &read) {
      return writer.writes.count(read.first);
    });
  };
  return reads(left, right) || reads(right, left);
}

/// True when both hold products that sum over rows, of different tensors.
bool sumsOtherRows(const KernelGraph &graph, const KernelGroup &left,
                   const KernelGroup &right) {
  if (left.products.empty() || right.products.empty())
    return false;
  auto product = cast<RowProductOpInterface>(left.products.front());
  return product.getResultRole(0) == RowRole::Sum &&
         getSharedRows(graph, product) !=
             getSharedRows(graph, right.products.front());
}

/// True when `id` waits for a kernel that `other` does not wait for.
bool needsOthers(const KernelGraph &graph, unsigned id, unsigned other) {
  SetVector<unsigned> known = graph.getProducers(other);
  return llvm::any_of(graph.getProducers(id), [&](unsigned producer) {
    return !graph.getGroup(producer).isHost && !known.contains(producer);
  });
}

/// The length of the longest rows that `op` reads.
int64_t countColumns(RowwiseOpInterface op) {
  int64_t columns = 1;
  for (OpOperand &operand : op->getOpOperands())
    if (op.getOperandRole(operand.getOperandNumber()) == RowRole::Row)
      columns = std::max(
          columns,
          cast<RankedTensorType>(operand.get().getType()).getShape().back());
  return columns;
}

/// True when a product of `group` loads what `other` writes.
bool productReads(const KernelGroup &group, const KernelGroup &other) {
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

} // namespace

//===----------------------------------------------------------------------===//
// What may join
//===----------------------------------------------------------------------===//

/// True when one holds products and the sum of their results with another's,
/// perhaps widened.
bool FusionPlan::bothSummed(unsigned a, unsigned b) const {
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
bool FusionPlan::isHeld(int64_t span, int64_t columns) const {
  if (options.laneColumns == 0 ||
      (span == columns && span <= options.laneColumns))
    return true;
  return llvm::isPowerOf2_64(span) && 2 * span >= options.laneColumns;
}

/// Why the row-wise ops of `group` cannot run on a tile of a product.
StringRef FusionPlan::getEpilogueObstacle(const KernelGroup &group) const {
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
bool FusionPlan::awaitsOtherSum(const KernelGroup &terms,
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

StringRef FusionPlan::getProductObstacle(unsigned a, unsigned b) const {
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

StringRef FusionPlan::getObstacle(unsigned a, unsigned b) const {
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

//===----------------------------------------------------------------------===//
// What joins
//===----------------------------------------------------------------------===//

void FusionPlan::merge(unsigned into, unsigned other) {
  if (options.remarks) {
    Savings savings = getSavings(graph, into, other);
    graph.getGroup(into).ops.front()->emitRemark()
        << "joined '" << getKernelName(graph.getGroup(into)) << "' and '"
        << getKernelName(graph.getGroup(other)) << "': saves " << savings.bytes
        << " bytes and " << savings.launches << " launch";
  }
  graph.merge(into, other);
}

void FusionPlan::joinConversion(unsigned id, Operation *neighbour) {
  std::optional<unsigned> other =
      neighbour ? graph.findGroup(neighbour) : std::nullopt;
  if (other && *other != id && !hasProducts(*other) &&
      graph.getGroup(*other).rows > 0 && getObstacle(id, *other).empty())
    merge(*other, id);
}

/// Conversions between bf16 and f32 cost nothing where rows are computed: a
/// widening belongs to its reader, a rounding to what makes the rows.
void FusionPlan::joinConversions() {
  for (unsigned id : graph.getGroups()) {
    if (graph.getGroup(id).ops.empty())
      continue;
    Operation *op = graph.getGroup(id).ops.front();
    if (isa<arith::ExtFOp>(op) && op->hasOneUse())
      joinConversion(id, *op->user_begin());
    else if (isa<arith::TruncFOp>(op))
      joinConversion(id, op->getOperand(0).getDefiningOp());
  }
}

/// Products that read the same rows, each with a weight of its own.
void FusionPlan::joinProductsOfOneOperand() {
  for (unsigned id : graph.getGroups()) {
    if (graph.getGroup(id).ops.empty() || !hasProducts(id))
      continue;
    Operation *product = graph.getGroup(id).products.front();
    for (unsigned other : graph.getNeighbours(id))
      if (hasProducts(other) &&
          getSharedRows(graph, graph.getGroup(other).products.front()) ==
              getSharedRows(graph, product) &&
          getObstacle(id, other).empty())
        merge(id, other);
  }
}

/// Merges `id` with the neighbour that saves most. Returns true if it did.
bool FusionPlan::joinBest(unsigned id, Filter filter) {
  std::optional<unsigned> best;
  int64_t bestBytes = 0;
  for (unsigned other : graph.getNeighbours(id)) {
    // One row each: joined, either would wait for all that the other reads.
    if (!filter(id, other) ||
        (graph.getGroup(id).rows == 1 &&
         !isLinked(graph.getGroup(id), graph.getGroup(other))))
      continue;
    Savings savings = getSavings(graph, id, other);
    // Without traffic saved they have nothing to do with one another.
    if (savings.bytes <= 0 ||
        savings.getTotal(options.launchBytes) <= bestBytes ||
        !getObstacle(id, other).empty())
      continue;
    best = other;
    bestBytes = savings.getTotal(options.launchBytes);
  }
  if (best)
    merge(id, *best);
  return best.has_value();
}

/// A group without rows, such as a count of targets, looks for its place last:
/// what reads its sum could no longer join with what it joins.
void FusionPlan::joinAll(Filter filter) {
  auto hasRows = [&](unsigned id) {
    auto isRow = [](auto &access) { return access.second == RowRole::Row; };
    const KernelGroup &group = graph.getGroup(id);
    return llvm::any_of(group.reads, isRow) ||
           llvm::any_of(group.writes, isRow);
  };
  for (bool all : {false, true})
    for (unsigned id : graph.getGroups())
      while (!graph.getGroup(id).ops.empty() && (all || hasRows(id)) &&
             joinBest(id, filter))
        ;
}

/// The row-wise ops of a group with their attributes, each once.
std::string FusionPlan::getSignature(unsigned id) const {
  llvm::SmallSetVector<std::pair<OperationName, Attribute>, 4> kinds;
  for (Operation *op : graph.getGroup(id).ops)
    if (isa<RowwiseOpInterface>(op))
      kinds.insert({op->getName(), op->getAttrDictionary()});
  std::string text;
  llvm::raw_string_ostream stream(text);
  for (auto &[name, attributes] : kinds)
    stream << name << attributes << ' ';
  return text;
}

StringRef FusionPlan::getIndependentObstacle(unsigned a, unsigned b) const {
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

/// Products that sum over rows, of whatever tensors: those wait in memory for
/// the last of them, one layer's at a time.
void FusionPlan::joinSums() {
  auto isSum = [&](unsigned id) {
    if (graph.getGroup(id).ops.empty() || !hasProducts(id))
      return false;
    Operation *product = graph.getGroup(id).products.front();
    return cast<RowProductOpInterface>(product).getResultRole(0) ==
           RowRole::Sum;
  };
  SmallVector<unsigned> ids = graph.getGroups();
  for (unsigned id : ids)
    for (unsigned other : ids)
      if (other > id && isSum(id) && isSum(other) &&
          graph.getObstacleOfIndependent(id, other).empty())
        merge(id, other);
}

void FusionPlan::joinIndependent() {
  SmallVector<unsigned> ids = graph.getGroups();
  llvm::StringMap<SmallVector<unsigned>> kinds;
  for (unsigned id : ids)
    if (!hasProducts(id) && !graph.getGroup(id).isHost)
      kinds[getSignature(id)].push_back(id);
  auto isFree = [&](unsigned a, unsigned b) {
    return !graph.getGroup(a).ops.empty() && !graph.getGroup(b).ops.empty() &&
           getIndependentObstacle(a, b).empty();
  };
  // The same ops over whatever rows, in program order.
  for (unsigned id : ids) {
    if (graph.getGroup(id).ops.empty() || hasProducts(id) ||
        graph.getGroup(id).isHost)
      continue;
    std::string signature = getSignature(id);
    for (unsigned other : kinds.lookup(signature))
      if (other > id && isFree(id, other))
        merge(id, other);
  }
  // Other ops over the same rows, or of the same kinds but with other
  // attributes or neighbours, or tables made of nothing with what else comes
  // first.
  for (unsigned id : ids)
    for (unsigned other : ids)
      if (other > id && isFree(id, other) &&
          ((graph.getGroup(id).rows > 1 &&
            graph.getGroup(id).rows == graph.getGroup(other).rows &&
            graph.haveOneCount(id, other)) ||
           haveOpInCommon(id, other) || isTableAtStart(id, other) ||
           isTableAtStart(other, id)))
        merge(id, other);
  if (!options.gatherRows)
    return;
  // Beside ops over several numbers of rows, those over any.
  for (unsigned id : ids)
    for (unsigned other : ids)
      if (other > id && isFree(id, other) &&
          (graph.getGroup(id).rows == KernelGroup::kMixedRows ||
           graph.getGroup(other).rows == KernelGroup::kMixedRows))
        merge(id, other);
}

/// Selection runs in the kernel of the product that makes its scores.
void FusionPlan::joinRoutes() {
  for (unsigned id : graph.getGroups()) {
    auto route = dyn_cast<RouteOp>(graph.getGroup(id).ops.back());
    if (!route)
      continue;
    for (unsigned producer : graph.getProducers(id))
      if (hasProducts(producer) &&
          graph.getGroup(producer).writes.count(route.getScores()) &&
          !graph.dependsThroughOthers(id, producer)) {
        merge(producer, id);
        break;
      }
  }
}

/// True when products of `reader`, all of whose rows count, are added to what
/// those of `writer` put, and the two have nothing else to do with one another.
bool FusionPlan::addsToPut(unsigned reader, unsigned writer) const {
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

/// Products that are added to what others put: their blocks wait for those of
/// the same launch, but only before they store.
void FusionPlan::joinPuts() {
  for (unsigned writer : graph.getGroups())
    for (unsigned reader : graph.getNeighbours(writer))
      if (addsToPut(reader, writer)) {
        merge(writer, reader);
        break;
      }
}

/// True when `a` reads nothing and `b` nothing that a kernel makes.
bool FusionPlan::isTableAtStart(unsigned a, unsigned b) const {
  return graph.getGroup(a).reads.empty() && !needsOthers(graph, b, a);
}

/// True when both hold a row-wise op of the same name.
bool FusionPlan::haveOpInCommon(unsigned a, unsigned b) const {
  return llvm::any_of(graph.getGroup(a).ops, [&](Operation *op) {
    return isa<RowwiseOpInterface>(op) &&
           !op->hasTrait<OpTrait::Elementwise>() &&
           llvm::any_of(graph.getGroup(b).ops, [&](Operation *other) {
             return op->getName() == other->getName();
           });
  });
}

/// Says of each kernel why it reads what another writes from memory.
void FusionPlan::explainApart() {
  for (unsigned id : graph.getGroups()) {
    if (graph.getGroup(id).isHost)
      continue;
    for (unsigned other : graph.getNeighbours(id)) {
      if (other < id || graph.getGroup(other).isHost)
        continue;
      int64_t bytes = getSavings(graph, id, other).bytes;
      StringRef obstacle = getObstacle(id, other);
      if (bytes > 0 && !obstacle.empty())
        graph.getGroup(id).ops.front()->emitRemark()
            << "kept '" << getKernelName(graph.getGroup(id)) << "' and '"
            << getKernelName(graph.getGroup(other)) << "' apart: " << obstacle
            << " (" << bytes << " bytes)";
    }
  }
}

void nag::fuseKernels(KernelGraph &graph, const FusionOptions &options) {
  FusionPlan(graph, options).run();
}
