// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Row-wise ops as one launch, and one more for long sums over rows. Ops that
// have rows in common share threads; others have blocks of their own.
#include "RowCarry.h"
#include "RowSchedule.h"
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
  /// Of no schedule yet.
  RowGeometry rows;
  /// The tensor that counts its rows, or null.
  Value offsets;
};

class RowLaunch : public LaunchModel {
public:
  RowLaunch(const GPUTarget &target, ArrayRef<Operation *> ops,
            ArrayRef<RowGroup> rowGroups)
      : LaunchModel(target, rowGroups.size() == 1 ? ScheduleFamily::Rows
                                                  : ScheduleFamily::RowParts),
        groups(rowGroups) {
    setOps(ops);
  }

  /// Fails where a tensor is not for the GPU.
  LogicalResult build();

  SmallVector<ScheduleAttr> listCandidates() const override;
  std::string findFault(ScheduleAttr schedule) const override;
  SmallVector<LaunchWork> describe(ScheduleAttr schedule) const override;

  void emit(KernelLowering &kernel, ScheduleAttr schedule);

private:
  /// The parts' schedules of the family rows.
  ScheduleAttr getPartSchedule(const RowPart &part,
                               ScheduleAttr schedule) const;
  ScheduleAttr choosePart(const RowPart &part, int64_t threads) const;
  void addOperands(KernelLowering &kernel, RowPart &part);
  void emitPart(DeviceFunction &function, RowPart &part,
                ArrayRef<Value> arguments, Value block);

  SmallVector<RowGroup> groups;
  std::vector<RowPart> parts;
  /// Rows that are copied, by blocks that follow those of the parts.
  SmallVector<RowCarry> carries;
  /// By threads of a block and what rows have in common.
  mutable std::map<std::pair<int64_t, std::string>, ScheduleAttr> chosen;
  SmallVector<Value> operands;
  SmallVector<PartialSum> sums;
};

} // namespace

static Value getFlatBuffer(KernelLowering &kernel, Value tensor) {
  return kernel.getBuffer(tensor, {getNumElements(tensor)});
}

LogicalResult RowLaunch::build() {
  for (const RowGroup &group : groups) {
    auto program = RowProgram::build(group);
    if (failed(program))
      return failure();
    RowGeometry rows(**program, getTarget());
    parts.push_back({std::move(*program), std::move(rows),
                     findRowCount(group.getOps().front())});
  }
  carries = findCarries(getOps());
  return success();
}

//===----------------------------------------------------------------------===//
// Schedules
//===----------------------------------------------------------------------===//

/// Rows of the same program, as text: of parts that are alike, one is looked
/// at.
static std::string getSignature(RowProgram &program) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << program.getNumRows();
  for (const RowArgument &argument : program.getArguments())
    os << ' ' << static_cast<int>(argument.role) << argument.tensor.getType();
  for (const RowOutput &output : program.getOutputs())
    os << ' ' << static_cast<int>(output.role) << output.type;
  for (Operation &op : program.getBody())
    os << ' ' << op.getName();
  return text;
}

/// The best for blocks of so many threads; null where there is none.
ScheduleAttr RowLaunch::choosePart(const RowPart &part, int64_t threads) const {
  auto [place, isNew] =
      chosen.try_emplace({threads, getSignature(*part.program)});
  if (!isNew)
    return place->second;
  SmallVector<ScheduleAttr> schedules =
      listRowSchedules(part.rows, *part.program, getTarget(), threads);
  std::optional<size_t> best =
      chooseBest(llvm::map_to_vector(schedules, [&](ScheduleAttr schedule) {
        return estimateRows(schedule, part.rows, *part.program, getTarget());
      }));
  return place->second = best ? schedules[*best] : ScheduleAttr();
}

ScheduleAttr RowLaunch::getPartSchedule(const RowPart &part,
                                        ScheduleAttr schedule) const {
  return parts.size() == 1 ? schedule
                           : choosePart(part, schedule.get("threads"));
}

SmallVector<ScheduleAttr> RowLaunch::listCandidates() const {
  if (parts.size() == 1)
    return listRowSchedules(parts.front().rows, *parts.front().program,
                            getTarget());
  SmallVector<ScheduleAttr> list;
  for (int64_t threads : {128, 256, 64, 512, 32, 1024})
    list.push_back(ScheduleAttr::get(getContext(), getFamily(), threads));
  keepThose(list, [&](ScheduleAttr schedule) {
    return llvm::all_of(parts, [&](const RowPart &part) {
      ScheduleAttr own = choosePart(part, schedule.get("threads"));
      return own && fitsRegisters(own, part.rows, getTarget());
    });
  });
  return list;
}

std::string RowLaunch::findFault(ScheduleAttr schedule) const {
  for (const RowPart &part : parts) {
    ScheduleAttr own = getPartSchedule(part, schedule);
    if (!own)
      return "'threads' that all rows fit in";
    RowGeometry rows = part.rows;
    if (std::string fault = rows.follow(own); !fault.empty())
      return fault;
  }
  return "";
}

SmallVector<LaunchWork> RowLaunch::describe(ScheduleAttr schedule) const {
  LaunchWork work;
  for (const RowPart &part : parts) {
    RowGeometry rows = part.rows;
    rows.follow(getPartSchedule(part, schedule));
    describeRows(rows, *part.program, getTarget(), work);
  }
  return {work};
}

//===----------------------------------------------------------------------===//
// Code
//===----------------------------------------------------------------------===//

void RowLaunch::addOperands(KernelLowering &kernel, RowPart &part) {
  for (const RowArgument &argument : part.program->getArguments())
    operands.push_back(getFlatBuffer(kernel, argument.tensor));
  int64_t slots = part.rows.getNumPartialSums();
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
  RowThreads threads(function, *part.program, part.rows, block);
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

void RowLaunch::emit(KernelLowering &kernel, ScheduleAttr schedule) {
  for (RowPart &part : parts) {
    part.rows.follow(getPartSchedule(part, schedule));
    addOperands(kernel, part);
  }
  for (const RowCarry &carry : carries)
    carry.addOperands(kernel, operands);
  Dim3 grid = parts.front().rows.getGrid();
  int64_t heldBytes = 0;
  for (RowPart &part : parts) {
    heldBytes = std::max(heldBytes, part.rows.heldBytes);
    if (&part != &parts.front())
      grid[0] += part.rows.getGrid()[0];
  }
  Dim3 threads = parts.front().rows.getBlock();
  for (const RowCarry &carry : carries)
    grid[0] += carry.countBlocks(threads[0]);
  bool addsUp = fitsLastBlock(sums);
  size_t firstTotal = operands.size();
  if (addsUp)
    for (const PartialSum &sum : sums)
      operands.push_back(sum.result);
  DeviceFunction function =
      kernel.createLaunch("", operands, grid, threads, heldBytes);
  ImplicitLocOpBuilder &builder = function.builder;
  // Else ptxas may spill a register for the sake of one more resident block.
  function.function->setAttr(NVVM::NVVMDialect::getMinctasmAttrName(),
                             builder.getI32IntegerAttr(1));
  Value block = gpu::BlockIdOp::create(builder, gpu::Dimension::x);
  ArrayRef<Value> arguments = function.arguments;
  bool hasOthers = parts.size() + carries.size() > 1;
  // The next `count` blocks, from 0 on, do what `body` builds.
  auto takeBlocks = [&](int64_t count, function_ref<void(Value)> body) {
    OpBuilder::InsertionGuard guard(builder);
    Value own = block;
    if (hasOthers) {
      Value blocks = arith::ConstantIndexOp::create(builder, count);
      block = arith::SubIOp::create(builder, own, blocks);
      // Blocks of earlier parts have wrapped around.
      Value isOwn = arith::CmpIOp::create(builder, arith::CmpIPredicate::ult,
                                          own, blocks);
      auto branch = scf::IfOp::create(builder, isOwn, false);
      builder.setInsertionPointToStart(branch.thenBlock());
    }
    body(own);
  };
  for (RowPart &part : parts) {
    size_t numOwn = part.program->getArguments().size() +
                    part.program->getOutputs().size() + (part.offsets ? 1 : 0);
    takeBlocks(part.rows.getGrid()[0], [&](Value own) {
      emitPart(function, part, arguments.take_front(numOwn), own);
    });
    arguments = arguments.drop_front(numOwn);
  }
  for (const RowCarry &carry : carries)
    takeBlocks(carry.countBlocks(threads[0]), [&](Value own) {
      carry.emit(function, arguments, own, threads[0]);
    });
  if (addsUp)
    addUpInLastBlock(
        function, sums,
        ArrayRef(function.arguments).slice(firstTotal, sums.size()), grid[0],
        threads[0]);
  else
    emitPartialSums(kernel, sums);
}

/// Null where the first op is not row-wise. Fails where a tensor is not for the
/// GPU.
static FailureOr<std::unique_ptr<RowLaunch>>
createLaunch(const GPUTarget &target, ArrayRef<Operation *> ops) {
  RowGroups groups(ops);
  if (groups.getNumOps() == 0)
    return std::unique_ptr<RowLaunch>();
  auto launch = std::make_unique<RowLaunch>(
      target, ops.take_front(groups.getNumOps()), groups.getGroups());
  if (failed(launch->build()))
    return failure();
  return launch;
}

FailureOr<LaunchPlan> nag::planRows(const GPUTarget &target,
                                    ArrayRef<Operation *> ops) {
  auto launch = createLaunch(target, ops);
  if (failed(launch))
    return failure();
  LaunchPlan plan;
  plan.numOps = *launch ? (*launch)->getOps().size() : 0;
  plan.model = std::move(*launch);
  return plan;
}

FailureOr<unsigned> nag::emitRows(KernelLowering &kernel,
                                  ArrayRef<Operation *> ops) {
  auto launch = createLaunch(kernel.getTarget(), ops);
  if (failed(launch))
    return failure();
  if (!*launch)
    return 0u;
  FailureOr<ScheduleAttr> schedule = kernel.follow(**launch);
  if (failed(schedule))
    return failure();
  (*launch)->emit(kernel, *schedule);
  return (*launch)->getOps().size();
}
