// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The kernel families as a table, and the schedules that they are given.
#include "nag/Conversion/NagToGPU.h"
#include "nag/Dialect/Nag/Transforms/Prologues.h"
#include "nag/Dialect/Nag/Transforms/RoutedRows.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace nag;

ArrayRef<KernelFamily> nag::getKernelFamilies() {
  static constexpr KernelFamily families[] = {
      {emitGemm, planGemm},
      {emitAttention, planAttention},
      {emitEmbeddingVJP, planEmbeddingVJP},
      {emitSelection, planSelection},
      {emitRows, planRows}};
  return families;
}

FailureOr<LaunchPlan> nag::planFirst(const GPUTarget &target,
                                     ArrayRef<Operation *> ops) {
  for (const KernelFamily &family : getKernelFamilies()) {
    FailureOr<LaunchPlan> plan = family.plan(target, ops);
    if (failed(plan) || plan->numOps > 0)
      return plan;
  }
  return LaunchPlan();
}

/// True for a nag.take whose rows products alone load: where they are.
static bool isGathered(Operation *op,
                       const llvm::SetVector<Operation *> &prologues) {
  auto take = dyn_cast<TakeOp>(op);
  return take && take.getRest().use_empty() && !take.getRows().use_empty() &&
         llvm::all_of(take.getRows().getUsers(), [&](Operation *user) {
           return isa<RowProductOpInterface>(user) || prologues.contains(user);
         });
}

/// The parts of streams compute nothing; a dial is the selection's.
SmallVector<Operation *> nag::collectComputation(func::FuncOp kernel) {
  SmallVector<Operation *> ops;
  auto prologues = collectPrologues(kernel.getBody().front());
  for (Operation &op : kernel.getBody().front().without_terminator())
    if (!isa<bufferization::MaterializeInDestinationOp, DirectionOp, LogNormOp,
             MakeStreamOp, tensor::CollapseShapeOp, tensor::ExpandShapeOp>(
            op) &&
        !op.hasTrait<OpTrait::ConstantLike>() && !isGathered(&op, prologues) &&
        !prologues.contains(&op) && !isPartOfDial(&op))
      ops.push_back(&op);
  return ops;
}

Value nag::findRowCount(Operation *op) {
  auto kernel = op->getParentOfType<func::FuncOp>();
  if (auto number = op->getAttrOfType<IntegerAttr>(kRowCountAttrName))
    return kernel.getArgument(number.getInt());
  for (BlockArgument argument : kernel.getArguments())
    if (kernel.getArgAttr(argument.getArgNumber(), kRowCountAttrName))
      return argument;
  return Value();
}

double nag::getExpectedShare(Operation *op) {
  auto share = op->getParentOfType<func::FuncOp>()->getAttrOfType<FloatAttr>(
      kExpectedShareAttrName);
  return share && findRowCount(op) ? share.getValueAsDouble() : 1;
}

FailureOr<ScheduleAttr> nag::getGivenSchedule(Operation *op,
                                              ScheduleFamily family) {
  Attribute own = op->getAttr(kScheduleAttrName);
  Attribute shared;
  if (auto function = op->getParentOfType<func::FuncOp>())
    shared = function->getAttr(kScheduleAttrName);
  Attribute given = own ? own : shared;
  if (!given)
    return ScheduleAttr();
  auto schedule = dyn_cast<ScheduleAttr>(given);
  if (schedule && schedule.getFamily() == family)
    return schedule;
  // A function's is for its ops of one family.
  if (schedule && !own)
    return ScheduleAttr();
  return op->emitOpError("expected a #nag.schedule of the family ")
         << stringifyScheduleFamily(family) << " as '" << kScheduleAttrName
         << "', but got " << given;
}
