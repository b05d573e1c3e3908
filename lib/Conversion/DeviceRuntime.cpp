// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "DeviceRuntime.h"

using namespace mlir;
using namespace nag;

static constexpr StringLiteral kContextName = "nag_gpu_context";

LLVM::GlobalOp DeviceRuntime::getContext() {
  if (auto context = module.lookupSymbol<LLVM::GlobalOp>(kContextName))
    return context;
  OpBuilder builder = OpBuilder::atBlockBegin(module.getBody());
  return LLVM::GlobalOp::create(builder, module.getLoc(), builder.getI8Type(),
                                /*isConstant=*/false, LLVM::Linkage::External,
                                kContextName, Attribute());
}

LLVM::CallOp DeviceRuntime::call(ImplicitLocOpBuilder &builder, StringRef name,
                                 bool hasResult, ValueRange arguments) {
  Value context = LLVM::AddressOfOp::create(builder, getContext());
  SmallVector<Value> operands{context};
  llvm::append_range(operands, arguments);
  auto function = module.lookupSymbol<LLVM::LLVMFuncOp>(name);
  if (!function) {
    OpBuilder declaration = OpBuilder::atBlockBegin(module.getBody());
    Type pointer = LLVM::LLVMPointerType::get(builder.getContext());
    Type result =
        hasResult ? pointer : LLVM::LLVMVoidType::get(builder.getContext());
    SmallVector<Type> types(ValueRange(operands).getTypes());
    function =
        LLVM::LLVMFuncOp::create(declaration, module.getLoc(), name,
                                 LLVM::LLVMFunctionType::get(result, types));
  }
  return LLVM::CallOp::create(builder, function, operands);
}

void DeviceRuntime::launch(ImplicitLocOpBuilder &builder, Value kernel,
                           Value sizes, Value arguments) {
  call(builder, "nag_gpu_launch", false, {kernel, sizes, arguments});
}

Value DeviceRuntime::scratch(ImplicitLocOpBuilder &builder) {
  return call(builder, "nag_gpu_scratch", true, {}).getResult();
}

void DeviceRuntime::copy(ImplicitLocOpBuilder &builder, Value to, Value from,
                         Value bytes) {
  call(builder, "nag_gpu_copy", false, {to, from, bytes});
}

Value DeviceRuntime::constant(ImplicitLocOpBuilder &builder, Value host,
                              Value bytes) {
  return call(builder, "nag_gpu_constant", true, {host, bytes}).getResult();
}
