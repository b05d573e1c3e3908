// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "PlacementPlanner.h"
#include "CarriedRows.h"
#include "HostUses.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace nag;

/// True when `insert` and the insertions below it put disjoint slices into an
/// empty tensor, each used by the next alone: the order of writing is free.
static bool isDisjointAssembly(tensor::InsertSliceOp insert) {
  SmallVector<std::pair<int64_t, int64_t>> ranges;
  for (Value dest = insert; !dest.getDefiningOp<tensor::EmptyOp>();) {
    auto link = dest.getDefiningOp<tensor::InsertSliceOp>();
    if (!link || (link != insert && !dest.hasOneUse()))
      return false;
    auto parts = getViewParts(link);
    if (!parts)
      return false;
    int64_t begin = parts->back().offset;
    ranges.push_back({begin, begin + bytesOf(link.getSource())});
    dest = link.getDest();
  }
  llvm::sort(ranges);
  for (auto [left, right] : llvm::zip(ranges, llvm::drop_begin(ranges)))
    if (left.second > right.first)
      return false;
  return true;
}

PlacementPlanner::PlacementPlanner(func::FuncOp hostFunction,
                                   SymbolTableCollection &symbolTables,
                                   bool carries)
    : function(hostFunction), symbols(symbolTables), carriesRows(carries) {
  unsigned count = function.getNumArguments();
  for (unsigned buffer : getResultBuffers(function))
    count = std::max(count, buffer + 1);
  for (unsigned index = 0; index < count; ++index)
    buffers.emplace_back().argument = index;
}

void PlacementPlanner::run() {
  Block &block = function.getBody().front();
  placeUpdates();
  for (auto call : llvm::to_vector(block.getOps<func::CallOp>()))
    aliasUpdates(call);
  for (Operation *op = block.getTerminator(); op; op = op->getPrevNode())
    llvm::TypeSwitch<Operation *>(op)
        .Case([&](func::ReturnOp ret) { visitReturn(ret); })
        .Case([&](tensor::ConcatOp concat) { visitConcat(concat); })
        .Case([&](tensor::InsertSliceOp insert) { visitInsert(insert); })
        .Case([&](LaunchOp launch) { visitLaunch(launch); })
        .Case([&](RepeatOp repeat) { visitRepeat(repeat); })
        .Case<func::CallOp, tensor::EmptyOp>([&](Operation *producer) {
          for (Value result : producer->getResults())
            if (!aliases.contains(result))
              ensurePlace(result);
        });
}

std::optional<Place> PlacementPlanner::resolve(Value value) const {
  int64_t offset = 0;
  while (true) {
    if (auto place = places.find(value); place != places.end())
      return Place{place->second.buffer, place->second.offset + offset};
    if (auto argument = dyn_cast<BlockArgument>(value))
      return Place{argument.getArgNumber(), offset};
    if (auto alias = aliases.find(value); alias != aliases.end()) {
      offset += alias->second.second;
      value = alias->second.first;
    } else if (auto view = getViewOf(value)) {
      offset += view->offset;
      value = view->whole;
    } else {
      return std::nullopt;
    }
  }
}

Place PlacementPlanner::addBuffer(int64_t bytes) {
  buffers.emplace_back().bytes = bytes;
  return {unsigned(buffers.size() - 1), 0};
}

Place PlacementPlanner::ensurePlace(Value value) {
  auto [entry, isNew] = places.insert({value, Place()});
  if (isNew)
    entry->second = addBuffer(bytesOf(value));
  return entry->second;
}

/// Asks that `value` be written at `place`. False when it already stands
/// elsewhere, is not this function's to write, or `place` is still read.
bool PlacementPlanner::request(Value value, Place place) {
  auto result = dyn_cast<OpResult>(value);
  if (!result || places.contains(value) || aliases.contains(value) ||
      isa<arith::ConstantOp>(result.getOwner()))
    return false;
  if (auto view = getViewOf(value))
    return bytesOf(view->whole) == bytesOf(value) &&
           request(view->whole, place);
  if (auto repeat = dyn_cast<RepeatOp>(result.getOwner()))
    aliasForwards(repeat);
  if (aliases.contains(value) || places.contains(value) ||
      !mayWrite(result, place.buffer))
    return false;
  places[value] = place;
  return true;
}

static func::FuncOp getCallee(RepeatOp op, SymbolTableCollection &symbols) {
  return symbols.lookupNearestSymbolFrom<func::FuncOp>(op, op.getCalleeAttr());
}

/// The operand that `result` may stand in while its op still reads it.
static std::optional<unsigned> getOverwritten(OpResult result,
                                              SymbolTableCollection &symbols) {
  if (auto launch = dyn_cast<LaunchOp>(result.getOwner()))
    return getSharedInput(launch, result.getResultNumber(), symbols);
  if (auto insert = dyn_cast<tensor::InsertSliceOp>(result.getOwner()))
    return insert.getDestMutable().getOperandNumber();
  if (auto repeat = dyn_cast<RepeatOp>(result.getOwner()))
    if (isUpdated(getCallee(repeat, symbols), result.getResultNumber()))
      return result.getResultNumber();
  return std::nullopt;
}

/// True unless `buffer` is an argument that this or a later op still reads.
bool PlacementPlanner::mayWrite(OpResult result, unsigned buffer) {
  if (buffer >= function.getNumArguments())
    return true;
  Operation *op = result.getOwner();
  auto overwritten = getOverwritten(result, symbols);
  bool allowed = true;
  forEachUse(function.getArgument(buffer), [&](OpOperand &use) {
    if (use.getOwner() == op)
      allowed &= overwritten == use.getOperandNumber() &&
                 bytesOf(use.get()) == bytesOf(function.getArgument(buffer));
    else
      allowed &= use.getOwner()->isBeforeInBlock(op) &&
                 !isForwardedCarry(use, symbols);
  });
  return allowed;
}

bool PlacementPlanner::isAt(Value value, Place place) const {
  std::optional<Place> current = resolve(value);
  return current && current->buffer == place.buffer &&
         current->offset == place.offset;
}

Value PlacementPlanner::insertCopy(Value value, Place place,
                                   Operation *before) {
  OpBuilder builder(before);
  auto copy = CopyOp::create(builder, before->getLoc(), value);
  places[copy] = place;
  ++numCopies;
  copiedBytes += bytesOf(value);
  return copy;
}

/// Makes `part`, which `use` reads, stand at `place`.
void PlacementPlanner::placeOrCopy(Value part, Place place, OpOperand &use) {
  if (isAt(part, place) || request(part, place))
    return;
  use.set(insertCopy(part, place, use.getOwner()));
}

/// Results that cannot be made in place are copied at the end; an argument that
/// another result overwrites is saved first.
void PlacementPlanner::visitReturn(func::ReturnOp op) {
  SmallVector<unsigned> targets = getResultBuffers(function);
  SmallVector<OpOperand *> copied;
  for (OpOperand &use : op->getOpOperands()) {
    Place place{targets[use.getOperandNumber()], 0};
    if (!isAt(use.get(), place) && !request(use.get(), place))
      copied.push_back(&use);
  }
  for (OpOperand *use : copied) {
    auto place = resolve(use->get());
    if (place && place->buffer < function.getNumArguments() &&
        llvm::is_contained(targets, place->buffer))
      use->set(insertCopy(use->get(), addBuffer(bytesOf(use->get())), op));
  }
  for (OpOperand *use : copied)
    use->set(insertCopy(use->get(), {targets[use->getOperandNumber()], 0}, op));
}

void PlacementPlanner::visitConcat(tensor::ConcatOp op) {
  Place place = ensurePlace(op);
  auto parts = getViewParts(op);
  for (auto [part, use] : llvm::zip_equal(*parts, op->getOpOperands()))
    placeOrCopy(part.part, {place.buffer, place.offset + part.offset}, use);
}

void PlacementPlanner::visitInsert(tensor::InsertSliceOp op) {
  Place place = ensurePlace(op);
  int64_t offset = place.offset + getViewParts(op)->back().offset;
  Place slice{place.buffer, offset};
  Value dest = op.getDest();
  bool isDisjoint = isDisjointAssembly(op);
  if (!dest.getDefiningOp<tensor::EmptyOp>() && !isAt(dest, place) &&
      !(diesAt(dest, op, symbols) && request(dest, place)))
    op.getDestMutable().set(insertCopy(dest, place, op));
  if (isDisjoint)
    return placeOrCopy(op.getSource(), slice, op.getSourceMutable());
  op.getSourceMutable().set(insertCopy(op.getSource(), slice, op));
}

void PlacementPlanner::visitLaunch(LaunchOp op) {
  for (OpResult result : op->getResults()) {
    Place place = ensurePlace(result);
    auto shared = getSharedInput(op, result.getResultNumber(), symbols);
    if (shared && diesAt(op.getInputs()[*shared], op, symbols))
      request(op.getInputs()[*shared], place);
    auto updated = getUpdatedInput(op, result.getResultNumber(), symbols);
    if (updated &&
        !(shared == updated && isAt(op.getInputs()[*updated], place)))
      placeUpdated(op, *updated, result.getResultNumber());
  }
}

/// Brings what the launch updates to the result's place, or lets it bring rows
/// that it does not write.
void PlacementPlanner::placeUpdated(LaunchOp op, unsigned input,
                                    unsigned result) {
  Value value = op.getInputs()[input];
  Place place = *resolve(op.getResult(result));
  bool isApart = !isAt(value, place);
  if (!carriesRows || !isApart || !carryRows(op, result, symbols))
    op->setOperand(input, insertCopy(value, place, op));
}

/// What a layer updates in place stands in the argument throughout.
void PlacementPlanner::placeUpdates() {
  for (BlockArgument argument : function.getArguments()) {
    unsigned index = argument.getArgNumber();
    if (!function.getArgAttr(index, kOverwrittenAttrName))
      continue;
    for (Value update : findUpdates(argument, symbols))
      places[update] = Place{index, 0};
  }
}

/// True when `op` is the last to read `value` and the memory may be written: it
/// is made here, or is an argument that a result replaces.
bool PlacementPlanner::mayOverwrite(Value value, Operation *op) {
  Value base = getViewRoot(value);
  if (auto argument = dyn_cast<BlockArgument>(base);
      argument &&
      !llvm::is_contained(getResultBuffers(function), argument.getArgNumber()))
    return false;
  return !base.getDefiningOp<arith::ConstantOp>() && !aliases.contains(base) &&
         diesAt(value, op, symbols);
}

/// A callee that updates an argument in place leaves its result there; the
/// caller hands it a copy where it still needs the old value.
void PlacementPlanner::aliasUpdates(func::CallOp op) {
  auto callee =
      symbols.lookupNearestSymbolFrom<func::FuncOp>(op, op.getCalleeAttr());
  for (auto [index, buffer] : llvm::enumerate(getResultBuffers(callee))) {
    if (buffer >= callee.getNumArguments())
      continue;
    OpOperand &use = op->getOpOperand(buffer);
    if (!mayOverwrite(use.get(), op))
      use.set(insertCopy(use.get(), addBuffer(bytesOf(use.get())), op));
    aliases[op.getResult(index)] = {use.get(), 0};
  }
}

/// Carry results that the callee forwards stand where the carry stands.
void PlacementPlanner::aliasForwards(RepeatOp op) {
  func::FuncOp callee = getCallee(op, symbols);
  for (unsigned index = 0; index < op.getCarry().size(); ++index) {
    Value result = op->getResult(index);
    if (callee.getResultAttr(index, kForwardsAttrName) &&
        !places.contains(result) && !aliases.contains(result))
      aliases[result] = {op.getCarry()[index], 0};
  }
}

/// A stacked result that is carry `carry` itself: iteration i finds its carry
/// in slice i and writes slice i+1. The last one writes where the carry's
/// result is wanted, else behind the stack.
void PlacementPlanner::placeStack(RepeatOp op, unsigned carry, Value stack) {
  Value result = op->getResult(carry);
  if (!places.contains(stack) && !places.contains(result)) {
    int64_t stackBytes = bytesOf(stack);
    Place place = addBuffer(stackBytes + bytesOf(result));
    places[stack] = place;
    places[result] = {place.buffer, stackBytes};
  }
  Place first = ensurePlace(stack);
  ensurePlace(result);
  placeOrCopy(op.getCarry()[carry], first, op.getCarryMutable()[carry]);
  carryPlaces[op].append(2, *resolve(result));
}

/// A carry that the callee updates in place stands where its result does.
void PlacementPlanner::placeUpdated(RepeatOp op, unsigned carry) {
  Place place = ensurePlace(op->getResult(carry));
  placeOrOverwrite(op.getCarryMutable()[carry], place);
  carryPlaces[op].append(2, place);
}

/// Makes the operand `use`, which its op overwrites, stand at `place`.
void PlacementPlanner::placeOrOverwrite(OpOperand &use, Place place) {
  if (isAt(use.get(), place) ||
      (diesAt(use.get(), use.getOwner(), symbols) && request(use.get(), place)))
    return;
  use.set(insertCopy(use.get(), place, use.getOwner()));
}

/// A carry alternates between two buffers so that the last iteration writes the
/// result's. The first carry may stand in the one that iteration 0 leaves
/// alone, and must where the callee overwrites it.
void PlacementPlanner::placeAlternating(RepeatOp op, unsigned carry) {
  Place last = ensurePlace(op.getCarryResults()[carry]);
  OpOperand &use = op.getCarryMutable()[carry];
  bool isOverwritten =
      getCallee(op, symbols).getArgAttr(carry, kOverwrittenAttrName) != nullptr;
  SmallVector<Place> &slots = carryPlaces[op];
  if (op.getCount() == 1) {
    slots.append({last, last});
    if (isOverwritten)
      placeOrOverwrite(use, addBuffer(bytesOf(use.get())));
    return;
  }
  Place other = addBuffer(bytesOf(use.get()));
  bool isOdd = op.getCount() % 2 == 1;
  slots.append({isOdd ? last : other, isOdd ? other : last});
  if (isOverwritten)
    placeOrOverwrite(use, slots.back());
  else if (diesAt(use.get(), op, symbols))
    request(use.get(), slots.back());
}

/// Gives a carry that its nag.repeat hands back unchanged a place to stand in.
/// It may itself be handed on by another nag.repeat: then the place is where
/// that one's carry stands. Returns the carry, which may be a copy now.
Value PlacementPlanner::placeForwarded(OpOperand &use) {
  if (use.get().getDefiningOp<arith::ConstantOp>()) {
    use.set(
        insertCopy(use.get(), addBuffer(bytesOf(use.get())), use.getOwner()));
    return use.get();
  }
  Value root = getViewRoot(use.get());
  auto producer = root.getDefiningOp<RepeatOp>();
  if (producer)
    aliasForwards(producer);
  auto alias = aliases.find(root);
  if (producer && alias != aliases.end() && !resolve(root))
    for (OpOperand &carry : producer.getCarryMutable())
      if (carry.get() == alias->second.first) {
        Value placed = placeForwarded(carry);
        aliases[root].first = placed;
        return use.get();
      }
  if (!resolve(root))
    ensurePlace(root);
  return use.get();
}

void PlacementPlanner::visitRepeat(RepeatOp op) {
  aliasForwards(op);
  carryPlaces[op];
  func::FuncOp callee = getCallee(op, symbols);
  for (unsigned carry = 0; carry < op.getCarry().size(); ++carry) {
    Value result = op->getResult(carry);
    if (auto stack = findStackOf(callee, carry, op.getCarry().size())) {
      placeStack(op, carry, op->getResult(*stack));
    } else if (isUpdated(callee, carry)) {
      placeUpdated(op, carry);
    } else if (!aliases.contains(result)) {
      placeAlternating(op, carry);
    } else {
      aliases[result].first = placeForwarded(op.getCarryMutable()[carry]);
      carryPlaces[op].append(2, *resolve(result));
    }
  }
  for (Value result : op.getStackedResults())
    ensurePlace(result);
}
