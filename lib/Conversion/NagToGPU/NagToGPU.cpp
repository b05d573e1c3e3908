// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// convert-nag-to-gpu: hands the ops of each kernel function to the emitters of
// their families.
#include "nag/Conversion/NagToGPU.h"
#include "nag/Conversion/Passes.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace nag {
#define GEN_PASS_DEF_CONVERTNAGTOGPU
#include "nag/Conversion/Passes.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

namespace {
struct ConvertNagToGPUPass
    : nag::impl::ConvertNagToGPUBase<ConvertNagToGPUPass> {
  using ConvertNagToGPUBase::ConvertNagToGPUBase;

  void runOnOperation() override {
    FailureOr<GPUTarget> target =
        GPUTarget::get(chip, tf32, [&] { return getOperation().emitError(); });
    if (failed(target))
      return signalPassFailure();
    if (failed(lowerKernels(getOperation(), *target)))
      signalPassFailure();
  }

private:
  static LogicalResult lowerKernels(ModuleOp kernels, const GPUTarget &target) {
    SmallVector<func::FuncOp> functions;
    for (auto function : kernels.getOps<func::FuncOp>())
      if (function->hasAttr(kKernelAttrName))
        functions.push_back(function);
    OpBuilder builder = OpBuilder::atBlockEnd(kernels.getBody());
    kernels->setAttr(gpu::GPUDialect::getContainerModuleAttrName(),
                     builder.getUnitAttr());
    auto device =
        gpu::GPUModuleOp::create(builder, kernels.getLoc(), kDeviceModuleName);
    for (func::FuncOp function : functions)
      if (failed(lowerKernel(function, device, target)))
        return failure();
    return success();
  }

  static LogicalResult lowerKernel(func::FuncOp source, gpu::GPUModuleOp device,
                                   const GPUTarget &target) {
    OpBuilder builder(source);
    SmallVector<Type> types;
    for (BlockArgument argument : source.getArguments()) {
      auto tensor = dyn_cast<RankedTensorType>(argument.getType());
      if (!tensor)
        return refuseArgument(source, argument);
      types.push_back(
          MemRefType::get(tensor.getShape(), tensor.getElementType()));
    }
    auto host = func::FuncOp::create(builder, source.getLoc(), source.getName(),
                                     builder.getFunctionType(types, {}));
    host->setAttr(kKernelAttrName, builder.getUnitAttr());
    KernelLowering kernel(source, host, device, target);
    SmallVector<Operation *> ops = collectComputation(source);
    if (failed(emit(kernel, ops)))
      return failure();
    source.erase();
    return success();
  }

  static LogicalResult refuseArgument(func::FuncOp source,
                                      BlockArgument argument) {
    Operation *reader =
        argument.use_empty() ? source : *argument.getUsers().begin();
    return reader->emitOpError("expected streams to be split before, by "
                               "-nag-split-streams, but got ")
           << argument.getType();
  }

  static LogicalResult emit(KernelLowering &kernel, ArrayRef<Operation *> ops) {
    while (!ops.empty()) {
      kernel.setLoc(ops.front()->getLoc());
      kernel.followNone();
      FailureOr<unsigned> lowered = emitFirst(kernel, ops);
      if (failed(lowered))
        return failure();
      if (*lowered == 0)
        return ops.front()->emitOpError("expected an op with a lowering to "
                                        "GPU kernels; run -nag-decompose and "
                                        "-nag-split-streams first");
      ops = ops.drop_front(*lowered);
    }
    return success();
  }

  static FailureOr<unsigned> emitFirst(KernelLowering &kernel,
                                       ArrayRef<Operation *> ops) {
    for (const KernelFamily &family : getKernelFamilies()) {
      FailureOr<unsigned> lowered = family.emit(kernel, ops);
      if (failed(lowered) || *lowered > 0)
        return lowered;
    }
    return 0u;
  }
};
} // namespace
