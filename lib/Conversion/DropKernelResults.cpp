// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nag-drop-kernel-results: kernels return nothing once their destinations are
// buffers.
#include "nag/Conversion/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace nag {
#define GEN_PASS_DEF_DROPKERNELRESULTS
#include "nag/Conversion/Passes.h.inc"
} // namespace nag

using namespace mlir;

namespace {

struct DropKernelResultsPass
    : nag::impl::DropKernelResultsBase<DropKernelResultsPass> {
  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (function.isExternal() || !function.getBody().hasOneBlock())
      return;
    Operation *terminator = function.front().getTerminator();
    auto isOwnBuffer = [](Value value) {
      return isa<BlockArgument>(value) && isa<MemRefType>(value.getType());
    };
    if (!llvm::all_of(terminator->getOperands(), isOwnBuffer))
      return;
    terminator->setOperands({});
    function.setFunctionType(
        FunctionType::get(&getContext(), function.getArgumentTypes(), {}));
    function.setResAttrsAttr(nullptr);
  }
};

} // namespace
