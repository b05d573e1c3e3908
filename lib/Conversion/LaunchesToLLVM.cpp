// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// convert-nag-launches-to-llvm: host functions that launch device functions
// become calls of the runtime.
#include "DeviceRuntime.h"
#include "nag/Conversion/NagToGPU.h"
#include "nag/Conversion/Passes.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

namespace nag {
#define GEN_PASS_DEF_CONVERTNAGLAUNCHESTOLLVM
#include "nag/Conversion/Passes.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

/// What cuMemAlloc aligns to at least, so that scratch buffers are aligned like
/// others.
static constexpr int64_t kScratchAlignment = 256;

namespace {
/// Lowers one host function.
class HostFunctionLowering {
public:
  HostFunctionLowering(func::FuncOp hostFunction, LLVM::LLVMFuncOp lowered,
                       DeviceRuntime &deviceRuntime,
                       const llvm::StringMap<int64_t> &kernelNumbers)
      : function(hostFunction), runtime(deviceRuntime), numbers(kernelNumbers),
        builder(hostFunction.getLoc(), hostFunction.getContext()),
        pointerType(LLVM::LLVMPointerType::get(builder.getContext())) {
    entry = lowered.addEntryBlock(builder);
    builder.setInsertionPointToEnd(entry);
    values.map(function.getArguments(), entry->getArguments());
  }

  LogicalResult run() {
    for (Operation &op : function.getBody().front())
      if (failed(lower(op)))
        return failure();
    return success();
  }

  int64_t getScratchBytes() const { return scratchBytes; }

private:
  LogicalResult lower(Operation &op) {
    builder.setLoc(op.getLoc());
    return llvm::TypeSwitch<Operation *, LogicalResult>(&op)
        .Case(
            [&](arith::ConstantOp constant) { return lowerConstant(constant); })
        .Case([&](memref::ReinterpretCastOp cast) {
          values.map(cast.getResult(), values.lookup(cast.getSource()));
          return success();
        })
        .Case([&](gpu::AllocOp alloc) { return lowerAlloc(alloc), success(); })
        .Case([&](gpu::LaunchFuncOp launch) {
          return lowerLaunch(launch), success();
        })
        .Case([&](func::ReturnOp) {
          LLVM::ReturnOp::create(builder, ValueRange());
          return success();
        })
        .Default([](Operation *other) {
          return other->emitOpError("expected an op of a host function: a "
                                    "launch, a gpu.alloc, a reshape");
        });
  }

  LogicalResult lowerConstant(arith::ConstantOp op) {
    // Sizes of launches are read off their constants.
    auto value = cast<TypedAttr>(op.getValue());
    if (!isa<IndexType>(op.getType()))
      values.map(op.getResult(),
                 LLVM::ConstantOp::create(builder, op.getType(), value));
    return success();
  }

  Value constant(int64_t value) {
    return LLVM::ConstantOp::create(builder, builder.getI64Type(),
                                    builder.getI64IntegerAttr(value));
  }

  void lowerAlloc(gpu::AllocOp op) {
    int64_t bytes = getTypeBytes(op.getMemref().getType());
    Value base = runtime.scratch(builder);
    Value pointer =
        LLVM::GEPOp::create(builder, pointerType, builder.getI8Type(), base,
                            ArrayRef<LLVM::GEPArg>{constant(scratchBytes)});
    values.map(op.getMemref(), pointer);
    scratchBytes += llvm::alignTo(bytes, kScratchAlignment);
  }

  static int64_t getSize(Value size) {
    APInt value;
    return size && matchPattern(size, m_ConstantInt(&value))
               ? value.getSExtValue()
               : 0;
  }

  /// An array on the stack with these elements.
  Value store(Type element, ValueRange elements) {
    Value array;
    {
      OpBuilder::InsertionGuard guard(builder);
      builder.setInsertionPointToStart(entry);
      array = LLVM::AllocaOp::create(builder, pointerType, element,
                                     constant(elements.size()));
    }
    for (auto [index, value] : llvm::enumerate(elements)) {
      Value place = LLVM::GEPOp::create(builder, pointerType, element, array,
                                        ArrayRef<LLVM::GEPArg>(index));
      LLVM::StoreOp::create(builder, value, place);
    }
    return array;
  }

  void lowerLaunch(gpu::LaunchFuncOp op) {
    SmallVector<Value> sizes;
    Value given[] = {op.getGridSizeX(),
                     op.getGridSizeY(),
                     op.getGridSizeZ(),
                     op.getBlockSizeX(),
                     op.getBlockSizeY(),
                     op.getBlockSizeZ(),
                     op.getDynamicSharedMemorySize()};
    for (Value size : given)
      sizes.push_back(constant(getSize(size)));
    SmallVector<Value> arguments;
    for (Value operand : op.getKernelOperands()) {
      Value value = values.lookup(operand);
      arguments.push_back(store(value.getType(), value));
    }
    Value number = constant(numbers.lookup(op.getKernelName().getValue()));
    runtime.launch(builder, number, store(builder.getI64Type(), sizes),
                   store(pointerType, arguments));
  }

  func::FuncOp function;
  DeviceRuntime &runtime;
  const llvm::StringMap<int64_t> &numbers;
  ImplicitLocOpBuilder builder;
  Type pointerType;
  Block *entry;
  IRMapping values;
  int64_t scratchBytes = 0;
};

struct ConvertNagLaunchesToLLVMPass
    : nag::impl::ConvertNagLaunchesToLLVMBase<ConvertNagLaunchesToLLVMPass> {
  void runOnOperation() override {
    ModuleOp kernels = getOperation();
    DeviceRuntime runtime(kernels);
    llvm::StringMap<int64_t> numbers;
    for (auto device : kernels.getOps<gpu::GPUModuleOp>())
      for (auto [index, function] : llvm::enumerate(getDeviceKernels(device)))
        numbers[function.getName()] = index;
    int64_t scratchBytes = 0;
    for (auto function :
         llvm::make_early_inc_range(kernels.getOps<func::FuncOp>())) {
      if (!function->hasAttr(kKernelAttrName))
        continue;
      HostFunctionLowering lowering(function, declare(function), runtime,
                                    numbers);
      if (failed(lowering.run()))
        return signalPassFailure();
      scratchBytes = std::max(scratchBytes, lowering.getScratchBytes());
      function.erase();
    }
    kernels->setAttr(kScratchBytesAttrName,
                     Builder(&getContext()).getI64IntegerAttr(scratchBytes));
  }

private:
  static LLVM::LLVMFuncOp declare(func::FuncOp function) {
    OpBuilder builder(function);
    auto pointer = LLVM::LLVMPointerType::get(builder.getContext());
    SmallVector<Type> arguments(function.getNumArguments(), pointer);
    auto type = LLVM::LLVMFunctionType::get(
        LLVM::LLVMVoidType::get(builder.getContext()), arguments);
    auto lowered = LLVM::LLVMFuncOp::create(builder, function.getLoc(),
                                            function.getName(), type);
    lowered->setAttr(kKernelAttrName, builder.getUnitAttr());
    return lowered;
  }
};
} // namespace
