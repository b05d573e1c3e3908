// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "KernelGraph.h"
#include "nag/Dialect/Nag/Transforms/HostOps.h"

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

/// The op whose group `op` belongs to: itself, or the one whose stream it packs
/// or unpacks, or the one whose destination it fills.
static Operation *getAnchor(Operation *op) {
  if (isa<MakeStreamOp>(op))
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

KernelGraph::KernelGraph(Block &block) {
  for (Operation &op : block.without_terminator())
    if (getAnchor(&op) == &op) {
      groupOf[&op] = groups.size();
      groups.emplace_back();
    }
  for (Operation &op : block.without_terminator())
    addOp(groupOf.lookup(getAnchor(&op)), &op);
}

void KernelGraph::addOp(unsigned id, Operation *op) {
  KernelGroup &group = groups[id];
  groupOf[op] = id;
  group.ops.push_back(op);
  if (getAnchor(op) != op)
    return;
  group.isHost = isHostOp(op);
  if (auto rowwise = dyn_cast<RowwiseOpInterface>(op)) {
    group.rows = rowwise.getNumRows();
    addAccesses(group, rowwise);
  }
}

/// The user of `stream` of type `OpTy`, or null.
template <typename OpTy> static Value findPart(Value stream) {
  for (Operation *user : stream.getUsers())
    if (isa<OpTy>(user))
      return user->getResult(0);
  return Value();
}

void KernelGraph::addAccesses(KernelGroup &group, RowwiseOpInterface op) {
  for (auto [index, operand] : llvm::enumerate(op->getOperands())) {
    if (auto pair = operand.getDefiningOp<MakeStreamOp>()) {
      group.reads.insert({pair.getDirection(), RowRole::Row});
      group.reads.insert({pair.getLogNorm(), RowRole::Lane});
      continue;
    }
    RowRole role = op.getOperandRole(index);
    auto [entry, isNew] = group.reads.insert({operand, role});
    if (!isNew && entry->second != role)
      entry->second = RowRole::Whole;
  }
  for (auto [index, result] : llvm::enumerate(op->getResults())) {
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

std::optional<unsigned> KernelGraph::findGroup(Value value) const {
  Operation *op = value.getDefiningOp();
  auto found = groupOf.find(op);
  if (!op || found == groupOf.end())
    return std::nullopt;
  return found->second;
}

SmallVector<unsigned> KernelGraph::getNeighbours(unsigned id) const {
  llvm::SmallSetVector<unsigned, 8> neighbours;
  for (auto &[value, role] : groups[id].reads) {
    if (auto producer = findGroup(value))
      neighbours.insert(*producer);
    for (Operation *user : value.getUsers())
      if (auto found = groupOf.find(user); found != groupOf.end())
        neighbours.insert(found->second);
  }
  neighbours.remove(id);
  return neighbours.takeVector();
}

SetVector<unsigned> KernelGraph::getProducers(unsigned id) const {
  SetVector<unsigned> producers;
  for (Operation *op : groups[id].ops)
    for (Value value : getUsedValues(op))
      if (auto producer = findGroup(value); producer && *producer != id)
        producers.insert(*producer);
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

bool KernelGraph::canMerge(unsigned a, unsigned b) const {
  const KernelGroup &left = groups[a], &right = groups[b];
  return a != b && left.rows > 0 && left.rows == right.rows &&
         isRowLocal(left, right) && isRowLocal(right, left) &&
         !dependsThroughOthers(a, b) && !dependsThroughOthers(b, a);
}

void KernelGraph::merge(unsigned a, unsigned b) {
  KernelGroup &into = groups[a];
  KernelGroup from = std::exchange(groups[b], KernelGroup());
  for (Operation *op : from.ops)
    groupOf[op] = a;
  llvm::append_range(into.ops, from.ops);
  llvm::sort(into.ops, [](Operation *left, Operation *right) {
    return left->isBeforeInBlock(right);
  });
  for (auto &[value, role] : from.reads) {
    auto [entry, isNew] = into.reads.insert({value, role});
    if (!isNew && entry->second != role)
      entry->second = RowRole::Whole;
  }
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
