// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "HostFunction.h"
#include "nag/Conversion/Passes.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace nag;

std::string nag::getEntrySymbol(StringRef function) {
  return ("nag_" + function).str();
}

HostFunctionLowering::HostFunctionLowering(func::FuncOp hostFunction,
                                           SymbolTable &programSymbols,
                                           LLVM::LLVMFuncOp lowered,
                                           DeviceRuntime *deviceRuntime)
    : function(hostFunction), symbols(programSymbols), target(lowered),
      device(deviceRuntime),
      builder(hostFunction.getLoc(), hostFunction.getContext()),
      pointerType(LLVM::LLVMPointerType::get(hostFunction.getContext())),
      entry(target.addEntryBlock(builder)) {
  builder.setInsertionPointToStart(entry);
  workspace = entry->getArgument(1);
  unsigned count = function.getNumArguments();
  for (unsigned buffer : getResultBuffers(function))
    count = std::max(count, buffer + 1);
  for (unsigned index = 0; index < count; ++index)
    arguments.push_back(LLVM::LoadOp::create(
        builder, pointerType,
        advance(entry->getArgument(0), index * sizeof(void *))));
  for (BlockArgument argument : function.getArguments())
    pointers[argument] = arguments[argument.getArgNumber()];
}

LogicalResult HostFunctionLowering::run() {
  for (Operation &op : function.getBody().front()) {
    builder.setLoc(op.getLoc());
    LogicalResult result =
        llvm::TypeSwitch<Operation *, LogicalResult>(&op)
            .Case([&](LaunchOp launch) { return lowerLaunch(launch); })
            .Case(
                [&](RepeatOp repeat) { return lowerRepeat(repeat), success(); })
            .Case([&](func::CallOp call) { return lowerCall(call), success(); })
            .Case([&](CopyOp copy) { return lowerCopy(copy), success(); })
            .Case([&](func::ReturnOp) {
              LLVM::ReturnOp::create(builder, ValueRange());
              return success();
            })
            .Default([](Operation *) { return success(); });
    if (failed(result))
      return failure();
  }
  return success();
}

Value HostFunctionLowering::constant(int64_t value) {
  return LLVM::ConstantOp::create(builder, builder.getI64Type(),
                                  builder.getI64IntegerAttr(value));
}

Value HostFunctionLowering::advance(Value pointer, int64_t bytes) {
  return bytes == 0 ? pointer : advance(pointer, constant(bytes), 1);
}

Value HostFunctionLowering::advance(Value pointer, Value index,
                                    int64_t stride) {
  if (stride != 1)
    index = LLVM::MulOp::create(builder, index, constant(stride));
  return LLVM::GEPOp::create(builder, pointerType, builder.getI8Type(), pointer,
                             ArrayRef<LLVM::GEPArg>{index});
}

Value HostFunctionLowering::getSlotPointer(Attribute attribute) {
  auto slot = cast<SlotAttr>(attribute);
  Value base = slot.getBase() == SlotBase::Workspace
                   ? workspace
                   : arguments[slot.getIndex()];
  return advance(base, slot.getOffset());
}

/// The pointer is computed in front of its first user; host functions are
/// chains of blocks that dominate all that follows.
Value HostFunctionLowering::getPointer(Value tensor) {
  Value &pointer = pointers[tensor];
  if (!pointer) {
    Value computed = computePointer(tensor);
    return pointers[tensor] = computed;
  }
  return pointer;
}

Value HostFunctionLowering::computePointer(Value tensor) {
  auto result = cast<OpResult>(tensor);
  Operation *op = result.getOwner();
  if (auto slots = op->getAttrOfType<ArrayAttr>(kSlotsAttrName))
    return getSlotPointer(slots[result.getResultNumber()]);
  if (auto constantOp = dyn_cast<arith::ConstantOp>(op))
    return getGlobal(constantOp);
  ViewPart view = getViewParts(op)->front();
  return advance(getPointer(view.whole), view.offset);
}

Value HostFunctionLowering::getGlobal(arith::ConstantOp constantOp) {
  auto value = cast<DenseElementsAttr>(constantOp.getValue());
  int64_t count = value.getNumElements();
  auto flat = RankedTensorType::get({count}, value.getElementType());
  OpBuilder moduleBuilder(target);
  auto global = LLVM::GlobalOp::create(
      moduleBuilder, constantOp.getLoc(),
      LLVM::LLVMArrayType::get(value.getElementType(), count),
      /*isConstant=*/true, LLVM::Linkage::Internal, "nag_constant",
      value.reshape(flat), /*alignment=*/64);
  symbols.insert(global);
  Value address = LLVM::AddressOfOp::create(builder, global);
  if (!device)
    return address;
  return device->constant(builder, address,
                          constant(getTypeBytes(constantOp.getType())));
}

LogicalResult HostFunctionLowering::lowerLaunch(LaunchOp op) {
  auto kernel = SymbolTable::lookupNearestSymbolFrom<LLVM::LLVMFuncOp>(
      op, op.getKernelAttr());
  if (!kernel)
    return op.emitOpError("expected a kernel lowered to an llvm.func, but ")
           << op.getKernel() << " is none";
  SmallVector<Value> buffers;
  for (Value value : llvm::concat<Value>(op->getOperands(), op->getResults()))
    buffers.push_back(getPointer(value));
  if (kernel.getNumArguments() != buffers.size())
    return op.emitOpError("expected a kernel that takes ")
           << buffers.size() << " pointers, but got "
           << kernel.getNumArguments() << " arguments";
  LLVM::CallOp::create(builder, kernel, buffers);
  return success();
}

void HostFunctionLowering::lowerCopy(CopyOp op) {
  Value to = getPointer(op.getResult()), from = getPointer(op.getInput());
  Value bytes = constant(getTypeBytes(op.getInput().getType()));
  if (device)
    device->copy(builder, to, from, bytes);
  else
    LLVM::MemmoveOp::create(builder, to, from, bytes, /*isVolatile=*/false);
}

Value HostFunctionLowering::allocatePointerArray(unsigned count) {
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(entry);
  return LLVM::AllocaOp::create(builder, pointerType, pointerType,
                                constant(count));
}

void HostFunctionLowering::callHost(func::FuncOp callee,
                                    ArrayRef<Value> buffers, Attribute slot,
                                    Value pointerArray) {
  for (auto [index, buffer] : llvm::enumerate(buffers))
    LLVM::StoreOp::create(builder, buffer,
                          advance(pointerArray, index * sizeof(void *)));
  LLVM::CallOp::create(builder, TypeRange(), getEntrySymbol(callee.getName()),
                       ValueRange{pointerArray, getSlotPointer(slot)});
}

void HostFunctionLowering::lowerCall(func::CallOp op) {
  auto callee = symbols.lookup<func::FuncOp>(op.getCallee());
  SmallVector<Value> buffers;
  for (Value operand : op.getOperands())
    buffers.push_back(getPointer(operand));
  appendResultBuffers(callee, buffers, [&](unsigned index) {
    return getPointer(op.getResult(index));
  });
  callHost(callee, buffers, op->getAttr(kCalleeSlotAttrName),
           allocatePointerArray(buffers.size()));
}
