// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "KernelGraph.h"
#include "nag/Dialect/Nag/Transforms/HostOps.h"
#include "nag/Dialect/Nag/Transforms/RoutedRows.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/RegionUtils.h"

using namespace mlir;
using namespace nag;

/// Operands of `op` and the values that its regions use from outside.
static SetVector<Value> getUsedValues(Operation *op) {
  SetVector<Value> values(op->operand_begin(), op->operand_end());
  getUsedValuesDefinedAbove(op->getRegions(), values);
  return values;
}

TakeOp nag::findTake(Value operand) {
  auto take = operand.getDefiningOp<TakeOp>();
  return take && operand == take.getRows() ? take : TakeOp();
}

bool nag::isLoaded(const KernelGroup &group, Operation *op) {
  return isa<RowwiseOpInterface>(op) &&
         llvm::any_of(op->getUsers(), [&](Operation *user) {
           return llvm::is_contained(group.products, user) ||
                  (llvm::is_contained(group.ops, user) &&
                   isLoaded(group, user));
         });
}

/// The op that alone reads rows of `take`, a product or row-wise, or null.
static Operation *findReader(TakeOp take) {
  if (!take.getRest().use_empty() || !take.getRows().hasOneUse())
    return nullptr;
  Operation *user = *take.getRows().user_begin();
  if (isa<MakeStreamOp>(user))
    user = *user->user_begin();
  bool reads = isa<RowProductOpInterface, RowwiseOpInterface>(user) &&
               !isHostOp(user) && !isa<TakeOp>(user);
  return reads ? user : nullptr;
}

/// The op whose group `op` belongs to: itself, or the one whose stream it packs
/// or unpacks, or the one whose destination it fills, or the one that finds
/// rows by its index, or the one whose dial it is part of.
Operation *KernelGraph::getAnchor(Operation *op) const {
  if (Operation *product = prologues.lookup(op))
    return product;
  if (auto take = dyn_cast<TakeOp>(op); take && gatherRows)
    if (Operation *reader = findReader(take))
      return reader;
  if (isa<MakeStreamOp>(op) || (gatherRows && isPartOfDial(op)))
    return *op->user_begin();
  if (isa<DirectionOp, LogNormOp>(op))
    return op->getOperand(0).getDefiningOp();
  if (isa<linalg::FillOp, tensor::SplatOp>(op) && op->hasOneUse())
    if (Operation *user =
            op->getBlock()->findAncestorOpInBlock(**op->user_begin());
        !isHostOp(user) && !isa<RowwiseOpInterface>(user))
      return user;
  return op;
}

KernelGraph::KernelGraph(Block &block, bool gathersRows, PrologueMap ofProducts)
    : gatherRows(gathersRows), prologues(std::move(ofProducts)) {
  for (Operation &op : block.without_terminator())
    if (getAnchor(&op) == &op) {
      groupOf[&op] = groups.size();
      groups.emplace_back();
    }
  const RoutedRows routed(block);
  for (Operation &op : block.without_terminator())
    addOp(groupOf.lookup(getAnchor(&op)), &op, routed);
}

void KernelGraph::addOp(unsigned id, Operation *op, const RoutedRows &routed) {
  KernelGroup &group = groups[id];
  groupOf[op] = id;
  group.ops.push_back(op);
  if (getAnchor(op) != op)
    return;
  group.isHost = isHostOp(op);
  group.offsets = routed.findOffsets(op);
  if (auto rowwise = dyn_cast<RowwiseOpInterface>(op)) {
    group.rows = rowwise.getNumRows();
    addAccesses(group, rowwise);
  } else if (auto product = dyn_cast<RowProductOpInterface>(op)) {
    group.rows = product.getNumRows();
    group.products.push_back(op);
    addAccesses(group, product);
  }
}

/// The user of `stream` of type `OpTy`, or null.
template <typename OpTy> static Value findPart(Value stream) {
  for (Operation *user : stream.getUsers())
    if (isa<OpTy>(user))
      return user->getResult(0);
  return Value();
}

/// What is read in two ways is read whole, but a base is no matter of others.
static void addRead(KernelGroup &group, Value value, RowRole role) {
  auto [entry, isNew] = group.reads.insert({value, role});
  if (!isNew && entry->second != role)
    entry->second = entry->second == RowRole::Base || role == RowRole::Base
                        ? RowRole::Base
                        : RowRole::Whole;
}

/// What `reader` reads as `value`: itself, or what ops that belong to `reader`
/// make it of.
void KernelGraph::addLoad(KernelGroup &group, Operation *reader, Value value,
                          RowRole role) {
  Operation *op = value.getDefiningOp();
  if (auto take = findTake(value); take && getAnchor(take) == reader) {
    addRead(group, take.getSource(), RowRole::Indexed);
    addRead(group, take.getIndices(), RowRole::Lane);
  } else if (op && prologues.lookup(op) == reader) {
    auto rowwise = cast<RowwiseOpInterface>(op);
    for (OpOperand &operand : op->getOpOperands())
      addLoad(group, reader, operand.get(),
              rowwise.getOperandRole(operand.getOperandNumber()));
  } else {
    addRead(group, value, role);
  }
}

template <typename InterfaceTy>
void KernelGraph::addAccesses(KernelGroup &group, InterfaceTy op) {
  for (auto [index, operand] : llvm::enumerate(op->getOperands())) {
    auto read = [&](Value value, RowRole role) {
      addLoad(group, op, value, role);
    };
    if (auto pair = operand.template getDefiningOp<MakeStreamOp>()) {
      read(pair.getDirection(), RowRole::Row);
      read(pair.getLogNorm(), RowRole::Lane);
    } else {
      read(operand, op.getOperandRole(index));
    }
  }
  for (auto [index, result] : llvm::enumerate(op->getResults())) {
    // A rest that nobody reads is no tensor.
    if (gatherRows && isa<TakeOp>(op) && result.use_empty())
      continue;
    if (!isa<StreamType>(result.getType())) {
      group.writes.insert({result, op.getResultRole(index)});
      continue;
    }
    if (Value direction = findPart<DirectionOp>(result))
      group.writes.insert({direction, RowRole::Row});
    if (Value logNorm = findPart<LogNormOp>(result))
      group.writes.insert({logNorm, RowRole::Lane});
  }
}

SmallVector<unsigned> KernelGraph::getGroups() const {
  SmallVector<unsigned> ids;
  for (unsigned id = 0; id < groups.size(); ++id)
    if (!groups[id].ops.empty())
      ids.push_back(id);
  return ids;
}

std::optional<unsigned> KernelGraph::findGroup(Operation *op) const {
  auto found = groupOf.find(op);
  if (!op || found == groupOf.end())
    return std::nullopt;
  return found->second;
}

std::optional<unsigned> KernelGraph::findGroup(Value value) const {
  return findGroup(value.getDefiningOp());
}

bool KernelGraph::isReadOutside(Value value, ArrayRef<unsigned> ids) const {
  return llvm::any_of(value.getUsers(), [&](Operation *user) {
    while (user && !groupOf.contains(user))
      user = user->getParentOp();
    return !user || !llvm::is_contained(ids, groupOf.lookup(user));
  });
}

SmallVector<unsigned> KernelGraph::getNeighbours(unsigned id) const {
  llvm::SmallSetVector<unsigned, 8> neighbours;
  auto insertUsers = [&](Value value) {
    for (Operation *user : value.getUsers())
      if (auto found = groupOf.find(user); found != groupOf.end())
        neighbours.insert(found->second);
  };
  for (auto &[value, role] : groups[id].reads) {
    if (auto producer = findGroup(value))
      neighbours.insert(*producer);
    insertUsers(value);
  }
  for (auto &[value, role] : groups[id].writes)
    insertUsers(value);
  neighbours.remove(id);
  return neighbours.takeVector();
}

SetVector<unsigned> KernelGraph::getProducers(unsigned id) const {
  SetVector<unsigned> producers;
  auto insertProducer = [&](Value value) {
    if (auto producer = findGroup(value); producer && *producer != id)
      producers.insert(*producer);
  };
  for (Operation *op : groups[id].ops)
    llvm::for_each(getUsedValues(op), insertProducer);
  if (groups[id].offsets)
    insertProducer(groups[id].offsets);
  for (auto [op, offsets] : groups[id].counts)
    if (offsets)
      insertProducer(offsets);
  return producers;
}

bool KernelGraph::dependsThroughOthers(unsigned from, unsigned on) const {
  SetVector<unsigned> reached = getProducers(from);
  reached.remove(on);
  for (unsigned next = 0; next < reached.size(); ++next)
    for (unsigned producer : getProducers(reached[next])) {
      if (producer == on)
        return true;
      reached.insert(producer);
    }
  return false;
}

/// True when rows of `reader` need only the same rows of what `writer` writes.
static bool isRowLocal(const KernelGroup &writer, const KernelGroup &reader) {
  return llvm::all_of(reader.reads, [&](auto &read) {
    auto written = writer.writes.find(read.first);
    return written == writer.writes.end() ||
           (written->second == read.second &&
            (read.second == RowRole::Row || read.second == RowRole::Lane));
  });
}

/// A sum is taken in chunks of rows; rows that are put here and there do not
/// stand in chunks.
static bool mixesSumsAndPlaces(const KernelGroup &a, const KernelGroup &b) {
  auto writes = [&](RowRole role) {
    auto isRole = [&](auto &write) { return write.second == role; };
    return llvm::any_of(a.writes, isRole) || llvm::any_of(b.writes, isRole);
  };
  return writes(RowRole::Sum) && writes(RowRole::Indexed);
}

/// Collects the indices by which row-wise ops of `group` take rows of `base` or
/// put rows over it. False where an op reads it otherwise.
static bool collectIndices(const KernelGroup &group, Value base,
                           llvm::SmallSetVector<Value, 2> &indices) {
  for (Operation *op : group.ops)
    for (OpOperand &operand : op->getOpOperands()) {
      if (operand.get() != base)
        continue;
      auto rowwise = dyn_cast<RowwiseOpInterface>(op);
      // Blocks of products read rows that are other blocks' to put.
      if (!rowwise || isLoaded(group, op))
        return false;
      RowRole role = rowwise.getOperandRole(operand.getOperandNumber());
      if (role != RowRole::Indexed && role != RowRole::Base)
        return false;
      indices.insert(op->getOperand(*rowwise.getIndexOperand()));
    }
  return true;
}

/// Rows are put over the base, so no other op of the kernel may read it, unless
/// it reads just the rows that are put.
bool KernelGraph::readsBase(const KernelGroup &writer,
                            const KernelGroup &reader) const {
  return llvm::any_of(writer.reads, [&](auto &base) {
    auto read = reader.reads.find(base.first);
    if (base.second != RowRole::Base || read == reader.reads.end())
      return false;
    if (!gatherRows)
      return read->second != RowRole::Base;
    llvm::SmallSetVector<Value, 2> indices;
    return !collectIndices(writer, base.first, indices) ||
           !collectIndices(reader, base.first, indices) || indices.size() > 1;
  });
}

/// True when all that `reader` reads of `writer` are sums of products, which it
/// takes element by element: on a tile of the sum as well as on a row.
bool KernelGraph::isElementwiseOfSums(unsigned writer, unsigned reader) const {
  bool reads = false;
  for (auto &[value, role] : groups[reader].reads) {
    auto written = groups[writer].writes.find(value);
    if (written == groups[writer].writes.end())
      continue;
    if (written->second != RowRole::Sum || role != RowRole::Row ||
        !isa<RowProductOpInterface>(value.getDefiningOp()))
      return false;
    reads = true;
  }
  return reads && llvm::all_of(groups[reader].ops, [](Operation *op) {
           auto rowwise = dyn_cast<RowwiseOpInterface>(op);
           return rowwise && rowwise.getColumnSpan() == 1;
         });
}

bool KernelGraph::haveOneCount(unsigned a, unsigned b) const {
  return groups[a].offsets == groups[b].offsets && groups[a].counts.empty() &&
         groups[b].counts.empty();
}

StringRef KernelGraph::getObstacle(unsigned a, unsigned b) const {
  const KernelGroup &left = groups[a], &right = groups[b];
  if (a == b || left.rows <= 0 || right.rows <= 0)
    return "one has no rows";
  if (!haveOneCount(a, b))
    return "not as many of their rows count";
  if (left.offsets ||
      (!isElementwiseOfSums(a, b) && !isElementwiseOfSums(b, a))) {
    if (left.rows != right.rows)
      return "their rows differ";
    if (!isRowLocal(left, right) || !isRowLocal(right, left))
      return "one needs what all rows of the other make";
  }
  if (mixesSumsAndPlaces(left, right))
    return "one sums over rows, the other puts rows here and there";
  if (readsBase(left, right) || readsBase(right, left))
    return "one puts rows over what the other reads";
  if (dependsThroughOthers(a, b) || dependsThroughOthers(b, a))
    return "another kernel stands between them";
  return "";
}

StringRef KernelGraph::getObstacleOfIndependent(unsigned a, unsigned b) const {
  if (a == b || groups[a].rows == 0 || groups[b].rows == 0)
    return "one has no rows";
  // Those that gather rows count them op by op.
  if (!gatherRows && !haveOneCount(a, b))
    return "not as many of their rows count";
  if (mixesSumsAndPlaces(groups[a], groups[b]))
    return "one sums over rows, the other puts rows here and there";
  return getObstacleOfOrder(a, b);
}

StringRef KernelGraph::getObstacleOfProducts(unsigned a, unsigned b) const {
  if (readsBase(groups[a], groups[b]) || readsBase(groups[b], groups[a]))
    return "one puts rows over what the other reads";
  return getObstacleOfOrder(a, b);
}

StringRef KernelGraph::getObstacleOfOrder(unsigned a, unsigned b) const {
  if (getProducers(a).contains(b) || getProducers(b).contains(a))
    return "one reads what the other makes";
  if (dependsThroughOthers(a, b) || dependsThroughOthers(b, a))
    return "another kernel stands between them";
  return "";
}

/// Keeps the count of each op, where not all ops of two groups have one.
static void mixCounts(KernelGroup &into, KernelGroup &from) {
  for (KernelGroup *group : {&into, &from})
    if (group->counts.empty())
      for (Operation *op : group->ops)
        group->counts[op] = group->offsets;
  into.counts.insert(from.counts.begin(), from.counts.end());
  into.offsets = Value();
  into.rows = KernelGroup::kMixedRows;
}

void KernelGraph::merge(unsigned a, unsigned b) {
  bool hasOneCount = haveOneCount(a, b);
  KernelGroup &into = groups[a];
  KernelGroup from = std::exchange(groups[b], KernelGroup());
  for (Operation *op : from.ops)
    groupOf[op] = a;
  if (into.rows != from.rows)
    into.rows = into.products.empty() && from.products.empty()
                    ? KernelGroup::kMixedRows
                    : (into.products.empty() ? from.rows : into.rows);
  if (!hasOneCount)
    mixCounts(into, from);
  llvm::append_range(into.products, from.products);
  llvm::append_range(into.ops, from.ops);
  llvm::sort(into.ops, [](Operation *left, Operation *right) {
    return left->isBeforeInBlock(right);
  });
  for (auto &[value, role] : from.reads)
    addRead(into, value, role);
  for (auto &write : from.writes)
    into.writes.insert(write);
}

SmallVector<unsigned> KernelGraph::getSchedule() const {
  SmallVector<unsigned> pending = getGroups();
  llvm::sort(pending, [&](unsigned left, unsigned right) {
    return groups[left].ops.back()->isBeforeInBlock(groups[right].ops.back());
  });
  llvm::SetVector<unsigned> schedule;
  std::function<void(unsigned)> emit = [&](unsigned id) {
    if (schedule.contains(id))
      return;
    for (unsigned producer : getProducers(id))
      emit(producer);
    schedule.insert(id);
  };
  for (unsigned id : pending)
    emit(id);
  return schedule.takeVector();
}
