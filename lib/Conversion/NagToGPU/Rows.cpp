// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Row-wise ops as one launch over their rows, and one more where they sum over
// rows.
#include "RowSums.h"
#include "RowThreads.h"

using namespace mlir;
using namespace nag;

/// The row-wise ops at the beginning of `ops` that share their rows.
static RowGroup collectGroup(ArrayRef<Operation *> ops) {
  RowGroup group;
  for (Operation *op : ops) {
    auto rowwise = dyn_cast<RowwiseOpInterface>(op);
    if (!rowwise || rowwise.getNumRows() == 0 || !group.accepts(rowwise))
      break;
    group.add(op);
  }
  return group;
}

static Value getFlatBuffer(KernelLowering &kernel, Value tensor) {
  return kernel.getBuffer(tensor, {getNumElements(tensor)});
}

FailureOr<SchedulePlan> nag::planRows(const GPUTarget &target,
                                      ArrayRef<Operation *> ops,
                                      ScheduleAttr given) {
  SchedulePlan plan;
  RowGroup group = collectGroup(ops);
  if (group.getOps().empty())
    return plan;
  auto program = RowProgram::build(group);
  if (failed(program))
    return failure();
  RowGeometry geometry(**program, target, given);
  plan.numOps = group.getOps().size();
  plan.schedule =
      given ? given : geometry.getSchedule(ops.front()->getContext());
  plan.fault = geometry.getFault();
  return plan;
}

FailureOr<unsigned> nag::emitRows(KernelLowering &kernel,
                                  ArrayRef<Operation *> ops) {
  RowGroup group = collectGroup(ops);
  if (group.getOps().empty())
    return 0u;
  auto built = RowProgram::build(group);
  auto given = getGivenSchedule(ops.front(), ScheduleFamily::Rows);
  if (failed(built) || failed(given))
    return failure();
  RowProgram &program = **built;
  RowGeometry geometry(program, kernel.getTarget(), *given);
  if (failed(verifySchedule(ops.front(), {0, *given, geometry.getFault()})))
    return failure();

  SmallVector<Value> operands;
  for (const RowArgument &argument : program.getArguments())
    operands.push_back(getFlatBuffer(kernel, argument.tensor));
  SmallVector<PartialSum> sums;
  int64_t slots = geometry.getNumBusySlots();
  for (const RowOutput &output : program.getOutputs()) {
    Value result = getFlatBuffer(kernel, output.replaced.front());
    if (output.isSum() && slots > 1) {
      int64_t length = output.type.getNumElements();
      auto f32 = Float32Type::get(result.getContext());
      Value partials =
          kernel.allocateScratch(MemRefType::get({slots * length}, f32));
      sums.push_back({partials, result, slots, length});
      result = partials;
    }
    operands.push_back(result);
  }
  DeviceFunction function =
      kernel.createLaunch("", operands, geometry.getGrid(), geometry.getBlock(),
                          geometry.heldBytes);
  function.function->setAttr(kScheduleAttrName,
                             geometry.getSchedule(ops.front()->getContext()));
  RowThreads threads(function, program, geometry);
  ArrayRef<Value> arguments = function.arguments;
  for (const RowArgument &argument : program.getArguments()) {
    threads.setArgument(argument.value, arguments.front());
    arguments = arguments.drop_front();
  }
  for (Value result : arguments)
    threads.addResult(result);
  threads.emit();
  emitPartialSums(kernel, sums);
  return static_cast<unsigned>(group.getOps().size());
}
