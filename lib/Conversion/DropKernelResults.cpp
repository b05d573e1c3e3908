// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nag-drop-kernel-results: kernels return nothing once their destinations are
// buffers.
#include "nag/Conversion/Passes.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace nag {
#define GEN_PASS_DEF_DROPKERNELRESULTS
#include "nag/Conversion/Passes.h.inc"
} // namespace nag

using namespace mlir;

/// The buffer that `value` is, perhaps in another shape.
static Value getBase(Value value) {
  while (Operation *view = value.getDefiningOp()) {
    if (!isa<memref::CastOp, memref::CollapseShapeOp, memref::ExpandShapeOp>(
            view))
      break;
    value = view->getOperand(0);
  }
  return value;
}

namespace {

struct DropKernelResultsPass
    : nag::impl::DropKernelResultsBase<DropKernelResultsPass> {
  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (!function->hasAttr(nag::kKernelAttrName) || function.isExternal())
      return;
    Operation *terminator = function.front().getTerminator();
    ArrayRef<BlockArgument> destinations =
        function.getArguments().take_back(terminator->getNumOperands());
    OpBuilder builder(terminator);
    for (auto [result, destination] :
         llvm::zip_equal(terminator->getOperands(), destinations))
      if (getBase(result) != destination)
        memref::CopyOp::create(builder, terminator->getLoc(), result,
                               destination);
    terminator->setOperands({});
    function.setFunctionType(
        FunctionType::get(&getContext(), function.getArgumentTypes(), {}));
    function.setResAttrsAttr(nullptr);
  }
};

} // namespace
