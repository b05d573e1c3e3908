// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -convert-nag-host-to-llvm: the planned host program as LLVM functions.
#include "HostFunction.h"
#include "nag/Conversion/Passes.h"

namespace nag {
#define GEN_PASS_DEF_CONVERTNAGHOSTTOLLVM
#include "nag/Conversion/Passes.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

namespace {
struct HostToLLVMPass : nag::impl::ConvertNagHostToLLVMBase<HostToLLVMPass> {
  using ConvertNagHostToLLVMBase::ConvertNagHostToLLVMBase;

  void runOnOperation() override {
    ModuleOp program = getOperation();
    DeviceRuntime device(program);
    SmallVector<func::FuncOp> functions(program.getOps<func::FuncOp>());
    SymbolTable symbols(program);
    for (func::FuncOp function : functions)
      if (!function->hasAttr(kWorkspaceAttrName)) {
        function.emitOpError("expected a memory plan (run -nag-plan-buffers)");
        return signalPassFailure();
      }
    SmallVector<LLVM::LLVMFuncOp> lowered;
    for (func::FuncOp function : functions)
      lowered.push_back(declare(function, symbols));
    for (auto [function, target] : llvm::zip_equal(functions, lowered))
      if (failed(HostFunctionLowering(function, symbols, target,
                                      deviceMemory ? &device : nullptr)
                     .run()))
        return signalPassFailure();
    for (func::FuncOp function : functions)
      symbols.erase(function);
    // The runtime's functions were declared since.
    SymbolTable merged(program);
    mergeKernels(program, merged);
  }

  /// void nag_name(void **arguments, void *workspace)
  LLVM::LLVMFuncOp declare(func::FuncOp function, SymbolTable &symbols) {
    OpBuilder builder(function);
    auto pointer = LLVM::LLVMPointerType::get(&getContext());
    auto type = LLVM::LLVMFunctionType::get(
        LLVM::LLVMVoidType::get(&getContext()), {pointer, pointer});
    auto target = LLVM::LLVMFuncOp::create(
        builder, function.getLoc(), getEntrySymbol(function.getName()), type,
        function.isPrivate() ? LLVM::Linkage::Internal
                             : LLVM::Linkage::External);
    symbols.insert(target);
    return target;
  }

  /// What outlining noted on the function (nag.expected_share) and arguments
  /// (nag.shares, nag.updates, nag.carries, nag.row_count) has been used; LLVM
  /// IR has no place for it.
  static void dropNotes(LLVM::LLVMFuncOp kernel) {
    kernel->removeAttr(kExpectedShareAttrName);
    for (unsigned index = 0; index < kernel.getNumArguments(); ++index)
      for (StringRef note : {kSharesAttrName, kUpdatesAttrName,
                             kCarriesAttrName, kRowCountAttrName})
        kernel.removeArgAttr(index, note);
  }

  /// Moves the kernels' module into the program; declarations of one name
  /// become one.
  void mergeKernels(ModuleOp program, SymbolTable &symbols) {
    for (ModuleOp nested : llvm::to_vector(program.getOps<ModuleOp>())) {
      if (!nested->hasAttr(kKernelsAttrName))
        continue;
      for (Operation &op : llvm::make_early_inc_range(*nested.getBody())) {
        auto symbol = dyn_cast<SymbolOpInterface>(op);
        if (symbol && symbols.lookup(symbol.getName())) {
          op.erase();
          continue;
        }
        op.remove();
        if (op.hasAttr(kKernelAttrName))
          if (auto kernel = dyn_cast<LLVM::LLVMFuncOp>(op);
              kernel && !kernel.isExternal()) {
            kernel.setLinkage(LLVM::Linkage::Internal);
            dropNotes(kernel);
          }
        if (symbol)
          symbols.insert(&op);
        else
          program.getBody()->push_back(&op);
      }
      nested.erase();
    }
  }
};
} // namespace
