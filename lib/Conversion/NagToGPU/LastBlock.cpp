// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The pattern of CUDA's sample threadFenceReduction: write, fence, count. Order
// by PTX ISA, "Memory Consistency Model": the barrier orders a block's writes
// before its first thread's fence, which with the counter orders them before
// the last block's reads. Nothing is added here, so results do not depend on
// which block is last.
#include "LastBlock.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

using namespace mlir;
using namespace nag;

static constexpr StringLiteral kScope = "device";

Value nag::getArrivalCounters(ThreadCode &code, StringRef suffix,
                              int64_t count) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  Operation *parent = builder.getInsertionBlock()->getParentOp();
  auto function = dyn_cast<gpu::GPUFuncOp>(parent);
  if (!function)
    function = parent->getParentOfType<gpu::GPUFuncOp>();
  auto device = function->getParentOfType<gpu::GPUModuleOp>();
  auto space = static_cast<unsigned>(Space::Global);
  std::string name = (function.getName() + suffix).str();
  if (!device.lookupSymbol<LLVM::GlobalOp>(name)) {
    OpBuilder atStart = OpBuilder::atBlockBegin(device.getBody());
    LLVM::GlobalOp::create(
        atStart, builder.getLoc(),
        LLVM::LLVMArrayType::get(builder.getI32Type(), count),
        /*isConstant=*/false, LLVM::Linkage::Internal, name,
        LLVM::ZeroAttr::get(builder.getContext()), /*alignment=*/4, space);
  }
  return LLVM::AddressOfOp::create(
      builder, LLVM::LLVMPointerType::get(builder.getContext(), space), name);
}

void nag::emitInLastBlock(ThreadCode &code, Value flag, Value counter,
                          int64_t counters, Value count,
                          function_ref<void()> body) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  Value place = code.offset(getArrivalCounters(code, "_arrivals", counters),
                            code.mul(counter, 4));
  auto fence = [&] {
    LLVM::FenceOp::create(builder, LLVM::AtomicOrdering::acq_rel, kScope);
  };
  Value last = code.add(count, -1);
  code.barrier();
  code.ifTrue(code.less(code.threadIndex(), 1), [&] {
    fence();
    // Wraps around to 0 at the last block.
    Value before = LLVM::AtomicRMWOp::create(
        builder, LLVM::AtomicBinOp::uinc_wrap, place, last,
        LLVM::AtomicOrdering::monotonic, kScope);
    fence();
    code.store(before, flag, 4);
  });
  code.barrier();
  Value before = code.load(builder.getI32Type(), flag, 4);
  code.ifTrue(code.less(code.bitXor(before, last), 1), body);
}
