// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Row-wise ops as one launch, and one more for long sums over rows. Ops that
// have rows in common share threads; others have blocks of their own.
#include "RowSums.h"
#include "RowThreads.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace nag;

/// Arguments that a launch takes at most: 4 KiB of pointers, with room for
/// others.
static constexpr size_t kMaxArguments = 480;

//===----------------------------------------------------------------------===//
// Groups
//===----------------------------------------------------------------------===//

/// Calls `visit` with each tensor that `op` reads, streams taken apart.
static void visitReads(RowwiseOpInterface op,
                       function_ref<void(Value, RowRole)> visit) {
  for (OpOperand &operand : op->getOpOperands()) {
    Value value = operand.get();
    RowRole role = op.getOperandRole(operand.getOperandNumber());
    if (role == RowRole::Stream) {
      visit(resolveStreamPart(value, 0).first, RowRole::Row);
      visit(resolveStreamPart(value, 1).first, RowRole::Lane);
    } else {
      visit(role == RowRole::Whole ? value : resolveRowPart(value).first, role);
    }
  }
}

namespace {

/// The row-wise ops at the beginning of `ops` that one launch computes.
class RowGroups {
public:
  explicit RowGroups(ArrayRef<Operation *> ops);

  ArrayRef<RowGroup> getGroups() const { return groups; }
  unsigned getNumOps() const { return numOps; }

private:
  bool add(RowwiseOpInterface op);
  bool reads(RowwiseOpInterface op, const RowGroup &group) const;
  bool sharesRows(RowwiseOpInterface op, const RowGroup &group) const;

  SmallVector<RowGroup> groups;
  llvm::SmallDenseSet<Value> arguments;
  unsigned numOps = 0;
};

} // namespace

/// The ops of `groups` and `op` as one group; nothing where they do not fit.
static std::optional<RowGroup> join(ArrayRef<const RowGroup *> groups,
                                    Operation *op) {
  SmallVector<Operation *> ops{op};
  for (const RowGroup *group : groups)
    llvm::append_range(ops, group->getOps());
  llvm::sort(ops, [](Operation *left, Operation *right) {
    return left->isBeforeInBlock(right);
  });
  RowGroup joined;
  for (Operation *member : ops) {
    if (!joined.accepts(cast<RowwiseOpInterface>(member)) ||
        findRowCount(member) != findRowCount(op))
      return std::nullopt;
    joined.add(member);
  }
  return joined;
}

bool RowGroups::reads(RowwiseOpInterface op, const RowGroup &group) const {
  bool found = false;
  visitReads(op, [&](Value value, RowRole) {
    found |= group.contains(value.getDefiningOp());
  });
  return found;
}

bool RowGroups::sharesRows(RowwiseOpInterface op, const RowGroup &group) const {
  if (op.getNumRows() != group.getNumRows() ||
      findRowCount(op) != findRowCount(group.getOps().front()))
    return false;
  llvm::SmallDenseSet<Value> rows;
  auto isRow = [](RowRole role) {
    return role == RowRole::Row || role == RowRole::Lane;
  };
  for (Operation *member : group.getOps())
    visitReads(cast<RowwiseOpInterface>(member),
               [&](Value value, RowRole role) {
                 if (isRow(role))
                   rows.insert(value);
               });
  bool found = false;
  visitReads(op, [&](Value value, RowRole role) {
    found |= isRow(role) && rows.contains(value);
  });
  return found;
}

bool RowGroups::add(RowwiseOpInterface op) {
  SmallVector<const RowGroup *> linked;
  bool isReader = false;
  for (const RowGroup &group : groups) {
    bool readsGroup = reads(op, group);
    isReader |= readsGroup;
    if (readsGroup || sharesRows(op, group))
      linked.push_back(&group);
  }
  std::optional<RowGroup> joined = join(linked, op);
  if (!joined) {
    // It waits for what the launch makes, or it stands for itself.
    if (isReader)
      return false;
    linked.clear();
    joined = join({}, op);
  }
  if (!joined)
    return false;
  SmallVector<RowGroup> left;
  for (const RowGroup &group : groups)
    if (!llvm::is_contained(linked, &group))
      left.push_back(group);
  left.push_back(*joined);
  groups = std::move(left);
  return true;
}

RowGroups::RowGroups(ArrayRef<Operation *> ops) {
  for (Operation *op : ops) {
    auto rowwise = dyn_cast<RowwiseOpInterface>(op);
    if (!rowwise || rowwise.getNumRows() == 0)
      return;
    visitReads(rowwise, [&](Value value, RowRole) { arguments.insert(value); });
    arguments.insert_range(op->getResults());
    if ((numOps > 0 && arguments.size() > kMaxArguments) || !add(rowwise))
      return;
    ++numOps;
  }
}

//===----------------------------------------------------------------------===//
// The launch
//===----------------------------------------------------------------------===//

namespace {

/// One group of a launch: its blocks follow those of the groups before.
struct RowPart {
  std::unique_ptr<RowProgram> program;
  std::unique_ptr<RowGeometry> geometry;
  /// The tensor that counts its rows, or null.
  Value offsets;
};

class RowLaunch {
public:
  explicit RowLaunch(const GPUTarget &gpuTarget) : target(gpuTarget) {}

  /// Fails where a tensor is not for the GPU. `given` may be null.
  LogicalResult build(ArrayRef<RowGroup> groups, ScheduleAttr given);
  /// Null where parts have to agree.
  ScheduleAttr getSchedule(MLIRContext *context) const;
  std::string getFault(ScheduleAttr given) const;
  void emit(KernelLowering &kernel);

private:
  void chooseGeometry(ScheduleAttr given);
  void addOperands(KernelLowering &kernel, RowPart &part);
  void emitPart(DeviceFunction &function, RowPart &part,
                ArrayRef<Value> arguments, Value block);

  const GPUTarget &target;
  SmallVector<RowPart> parts;
  SmallVector<Value> operands;
  SmallVector<PartialSum> sums;
};

} // namespace

static Value getFlatBuffer(KernelLowering &kernel, Value tensor) {
  return kernel.getBuffer(tensor, {getNumElements(tensor)});
}

LogicalResult RowLaunch::build(ArrayRef<RowGroup> groups, ScheduleAttr given) {
  for (const RowGroup &group : groups) {
    auto program = RowProgram::build(group);
    if (failed(program))
      return failure();
    parts.push_back(
        {std::move(*program), nullptr, findRowCount(group.getOps().front())});
  }
  chooseGeometry(given);
  return success();
}

ScheduleAttr RowLaunch::getSchedule(MLIRContext *context) const {
  return parts.size() == 1 ? parts.front().geometry->getSchedule(context)
                           : ScheduleAttr();
}

std::string RowLaunch::getFault(ScheduleAttr given) const {
  if (!given || parts.size() == 1)
    return parts.front().geometry->getFault();
  return "ops that have rows in common";
}

/// Blocks of all parts have as many threads.
void RowLaunch::chooseGeometry(ScheduleAttr given) {
  if (parts.size() > 1)
    given = {};
  int64_t threads = 0;
  for (RowPart &part : parts) {
    part.geometry = std::make_unique<RowGeometry>(*part.program, target, given);
    threads = std::max(threads, part.geometry->getBlock()[0]);
  }
  if (parts.size() == 1)
    return;
  threads = llvm::alignTo(threads, kWarpSize);
  for (RowPart &part : parts)
    part.geometry =
        std::make_unique<RowGeometry>(*part.program, target, given, threads);
}

void RowLaunch::addOperands(KernelLowering &kernel, RowPart &part) {
  for (const RowArgument &argument : part.program->getArguments())
    operands.push_back(getFlatBuffer(kernel, argument.tensor));
  int64_t slots = part.geometry->getNumPartialSums();
  for (const RowOutput &output : part.program->getOutputs()) {
    Value result = getFlatBuffer(kernel, output.replaced.front());
    if (output.isSum() && slots > 1) {
      int64_t length = output.type.getNumElements();
      auto f32 = Float32Type::get(result.getContext());
      Value partials =
          kernel.allocateScratch(MemRefType::get({slots * length}, f32));
      sums.push_back({partials, result, slots, length,
                      static_cast<unsigned>(operands.size())});
      result = partials;
    }
    operands.push_back(result);
  }
  if (part.offsets)
    operands.push_back(getFlatBuffer(kernel, part.offsets));
}

void RowLaunch::emitPart(DeviceFunction &function, RowPart &part,
                         ArrayRef<Value> arguments, Value block) {
  RowThreads threads(function, *part.program, *part.geometry, block);
  if (part.offsets) {
    threads.setRowCount(arguments.back());
    arguments = arguments.drop_back();
  }
  for (const RowArgument &argument : part.program->getArguments()) {
    threads.setArgument(argument.value, arguments.front());
    arguments = arguments.drop_front();
  }
  for (Value result : arguments)
    threads.addResult(result);
  threads.emit();
}

void RowLaunch::emit(KernelLowering &kernel) {
  for (RowPart &part : parts)
    addOperands(kernel, part);
  Dim3 grid = parts.front().geometry->getGrid();
  int64_t heldBytes = 0;
  for (RowPart &part : parts) {
    heldBytes = std::max(heldBytes, part.geometry->heldBytes);
    if (&part != &parts.front())
      grid[0] += part.geometry->getGrid()[0];
  }
  bool addsUp = fitsLastBlock(sums);
  size_t firstTotal = operands.size();
  if (addsUp)
    for (const PartialSum &sum : sums)
      operands.push_back(sum.result);
  Dim3 threads = parts.front().geometry->getBlock();
  DeviceFunction function =
      kernel.createLaunch("", operands, grid, threads, heldBytes);
  ImplicitLocOpBuilder &builder = function.builder;
  // Else ptxas may spill a register for the sake of one more resident block.
  function.function->setAttr(NVVM::NVVMDialect::getMinctasmAttrName(),
                             builder.getI32IntegerAttr(1));
  if (ScheduleAttr schedule = getSchedule(builder.getContext()))
    function.function->setAttr(kScheduleAttrName, schedule);
  Value block = gpu::BlockIdOp::create(builder, gpu::Dimension::x);
  ArrayRef<Value> arguments = function.arguments;
  for (RowPart &part : parts) {
    size_t numOwn = part.program->getArguments().size() +
                    part.program->getOutputs().size() + (part.offsets ? 1 : 0);
    OpBuilder::InsertionGuard guard(builder);
    Value blocks =
        arith::ConstantIndexOp::create(builder, part.geometry->getGrid()[0]);
    Value next = block;
    if (parts.size() > 1) {
      next = arith::SubIOp::create(builder, block, blocks);
      // Blocks of earlier parts have wrapped around.
      Value isOwn = arith::CmpIOp::create(builder, arith::CmpIPredicate::ult,
                                          block, blocks);
      auto branch = scf::IfOp::create(builder, isOwn, false);
      builder.setInsertionPointToStart(branch.thenBlock());
    }
    emitPart(function, part, arguments.take_front(numOwn), block);
    arguments = arguments.drop_front(numOwn);
    block = next;
  }
  if (addsUp)
    addUpInLastBlock(
        function, sums,
        ArrayRef(function.arguments).slice(firstTotal, sums.size()), grid[0],
        threads[0]);
  else
    emitPartialSums(kernel, sums);
}

FailureOr<SchedulePlan> nag::planRows(const GPUTarget &target,
                                      ArrayRef<Operation *> ops,
                                      ScheduleAttr given) {
  SchedulePlan plan;
  RowGroups groups(ops);
  if (groups.getNumOps() == 0)
    return plan;
  RowLaunch launch(target);
  if (failed(launch.build(groups.getGroups(), given)))
    return failure();
  plan.numOps = groups.getNumOps();
  plan.schedule = given ? given : launch.getSchedule(ops.front()->getContext());
  plan.fault = launch.getFault(given);
  return plan;
}

FailureOr<unsigned> nag::emitRows(KernelLowering &kernel,
                                  ArrayRef<Operation *> ops) {
  RowGroups groups(ops);
  if (groups.getNumOps() == 0)
    return 0u;
  auto given = getGivenSchedule(ops.front(), ScheduleFamily::Rows);
  RowLaunch launch(kernel.getTarget());
  if (failed(given) || failed(launch.build(groups.getGroups(), *given)) ||
      failed(verifySchedule(ops.front(), {0, *given, launch.getFault(*given)})))
    return failure();
  launch.emit(kernel);
  return groups.getNumOps();
}
