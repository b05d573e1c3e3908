// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "PlacementPlanner.h"
#include "nag/Dialect/Nag/Transforms/HostOps.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace nag;

static int64_t bytesOf(Value value) { return getTypeBytes(value.getType()); }

/// The tensor that a reshape or contiguous slice `value` looks into, with the
/// byte offset; nothing when `value` is no such view.
static std::optional<ViewPart> getViewOf(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op || isa<tensor::ConcatOp, tensor::InsertSliceOp>(op))
    return std::nullopt;
  auto parts = getViewParts(op);
  return parts ? std::optional(parts->front()) : std::nullopt;
}

/// Calls `visit` on each use of the memory that `value` looks into or is looked
/// into, through reshapes and slices.
static void forEachUse(Value value, function_ref<void(OpOperand &)> visit) {
  while (auto view = getViewOf(value))
    value = view->whole;
  SmallVector<Value> worklist{value};
  while (!worklist.empty())
    for (OpOperand &use : worklist.pop_back_val().getUses()) {
      Operation *user = use.getOwner();
      if (user->getNumResults() == 1 && getViewOf(user->getResult(0)))
        worklist.push_back(user->getResult(0));
      else
        visit(use);
    }
}

/// True when `use` is a carry that comes out of its nag.repeat unchanged, in
/// the memory where it went in.
static bool isForwardedCarry(OpOperand &use, SymbolTableCollection &symbols) {
  auto repeat = dyn_cast<RepeatOp>(use.getOwner());
  if (!repeat || use.getOperandNumber() >= repeat.getCarry().size())
    return false;
  auto callee = symbols.lookupNearestSymbolFrom<func::FuncOp>(
      repeat, repeat.getCalleeAttr());
  return callee.getResultAttr(use.getOperandNumber(), kForwardsAttrName) !=
         nullptr;
}

/// True when `user` alone reads the memory of `value` from there on, and reads
/// it once.
static bool diesAt(Value value, Operation *user,
                   SymbolTableCollection &symbols) {
  unsigned uses = 0;
  bool dies = true;
  forEachUse(value, [&](OpOperand &use) {
    uses += use.getOwner() == user;
    dies &= !user->isBeforeInBlock(use.getOwner()) &&
            !isForwardedCarry(use, symbols);
  });
  return dies && uses == 1;
}

/// The input that the kernel of `launch` names, by the attribute `name`, for
/// result `index`.
static std::optional<unsigned> getNamedInput(LaunchOp launch, unsigned index,
                                             StringRef name,
                                             SymbolTableCollection &symbols) {
  auto kernel = symbols.lookupNearestSymbolFrom<FunctionOpInterface>(
      launch, launch.getKernelAttr());
  if (!kernel)
    return std::nullopt;
  auto input = kernel.getArgAttrOfType<IntegerAttr>(
      launch.getInputs().size() + index, name);
  if (!input || uint64_t(input.getInt()) >= launch.getInputs().size())
    return std::nullopt;
  return input.getInt();
}

/// The input that result `index` of `launch` may overwrite.
static std::optional<unsigned> getSharedInput(LaunchOp launch, unsigned index,
                                              SymbolTableCollection &symbols) {
  auto input = getNamedInput(launch, index, kSharesAttrName, symbols);
  if (!input ||
      bytesOf(launch.getInputs()[*input]) != bytesOf(launch->getResult(index)))
    return std::nullopt;
  return input;
}

/// The input whose contents must stand where result `index` of `launch` does.
static std::optional<unsigned> getUpdatedInput(LaunchOp launch, unsigned index,
                                               SymbolTableCollection &symbols) {
  return getNamedInput(launch, index, kUpdatesAttrName, symbols);
}

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
                                   SymbolTableCollection &symbolTables)
    : function(hostFunction), symbols(symbolTables) {
  unsigned count = function.getNumArguments();
  for (unsigned buffer : getResultBuffers(function))
    count = std::max(count, buffer + 1);
  for (unsigned index = 0; index < count; ++index)
    buffers.emplace_back().argument = index;
}

void PlacementPlanner::run() {
  Block &block = function.getBody().front();
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

/// The operand that `result` may stand in while its op still reads it.
static std::optional<unsigned> getOverwritten(OpResult result,
                                              SymbolTableCollection &symbols) {
  if (auto launch = dyn_cast<LaunchOp>(result.getOwner()))
    return getSharedInput(launch, result.getResultNumber(), symbols);
  if (auto insert = dyn_cast<tensor::InsertSliceOp>(result.getOwner()))
    return insert.getDestMutable().getOperandNumber();
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
      op->setOperand(*updated, insertCopy(op.getInputs()[*updated], place, op));
  }
}

/// True when `op` is the last to read `value` and the memory may be written: it
/// is made here, or is an argument that a result replaces.
bool PlacementPlanner::mayOverwrite(Value value, Operation *op) {
  Value base = value;
  while (auto view = getViewOf(base))
    base = view->whole;
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

func::FuncOp PlacementPlanner::getCallee(RepeatOp op) const {
  return symbols.lookupNearestSymbolFrom<func::FuncOp>(op, op.getCalleeAttr());
}

/// Carry results that the callee forwards stand where the carry stands. A
/// stacked result that is the carry itself makes a stack with one slice more:
/// iteration i finds its carry in slice i and writes slice i+1.
void PlacementPlanner::aliasForwards(RepeatOp op) {
  unsigned numCarry = op.getCarry().size();
  func::FuncOp callee = getCallee(op);
  for (unsigned index = 0; index < op->getNumResults(); ++index) {
    auto forwards =
        callee.getResultAttrOfType<IntegerAttr>(index, kForwardsAttrName);
    Value result = op->getResult(index);
    if (!forwards || places.contains(result) || aliases.contains(result))
      continue;
    Value carry = op.getCarry()[forwards.getInt()];
    if (index < numCarry) {
      aliases[result] = {carry, 0};
      continue;
    }
    int64_t stackBytes = bytesOf(result);
    places[result] = addBuffer(stackBytes + bytesOf(carry));
    aliases[op->getResult(forwards.getInt())] = {result, stackBytes};
  }
}

/// The tensor that `value` is a view of, or `value`.
static Value getViewRoot(Value value) {
  while (auto view = getViewOf(value))
    value = view->whole;
  return value;
}

/// A carry alternates between two buffers so that the last iteration writes the
/// result's. The first carry may stand in the one that iteration 0 leaves
/// alone.
void PlacementPlanner::placeAlternating(RepeatOp op, unsigned carry) {
  Place last = ensurePlace(op.getCarryResults()[carry]);
  SmallVector<Place> &slots = carryPlaces[op];
  if (op.getCount() == 1) {
    slots.append({last, last});
    return;
  }
  Place other = addBuffer(bytesOf(op.getCarry()[carry]));
  bool isOdd = op.getCount() % 2 == 1;
  slots.append({isOdd ? last : other, isOdd ? other : last});
  if (diesAt(op.getCarry()[carry], op, symbols))
    request(op.getCarry()[carry], slots.back());
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
  for (Value result : op->getResults())
    if (!aliases.contains(result))
      ensurePlace(result);
  carryPlaces[op];
  for (unsigned carry = 0; carry < op.getCarry().size(); ++carry) {
    Value result = op.getCarryResults()[carry];
    auto alias = aliases.find(result);
    if (alias == aliases.end()) {
      placeAlternating(op, carry);
      continue;
    }
    OpOperand &use = op.getCarryMutable()[carry];
    if (alias->second.first != use.get())
      placeOrCopy(use.get(), *resolve(alias->second.first), use);
    else
      aliases[result].first = placeForwarded(use);
    carryPlaces[op].append(2, *resolve(result));
  }
}
