// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ThreadCode.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace nag;

Value ThreadCode::constant(int64_t value) {
  return arith::ConstantIntOp::create(builder, builder.getI32Type(), value);
}

Value ThreadCode::constantLike(Value like, int64_t value) {
  return arith::ConstantIntOp::create(builder, like.getType(), value);
}

Value ThreadCode::constant64(int64_t value) {
  return arith::ConstantIntOp::create(builder, builder.getI64Type(), value);
}

Value ThreadCode::zero(Type type) {
  return arith::ConstantOp::create(builder, builder.getZeroAttr(type));
}

Value ThreadCode::threadIndex() {
  Value index = gpu::ThreadIdOp::create(builder, gpu::Dimension::x);
  return arith::IndexCastOp::create(builder, builder.getI32Type(), index);
}

Value ThreadCode::blockIndex() {
  if (block)
    return block;
  Value index = gpu::BlockIdOp::create(builder, gpu::Dimension::x);
  return arith::IndexCastOp::create(builder, builder.getI32Type(), index);
}

template <typename Op> Value ThreadCode::fold(Value a, Value b) {
  return builder.createOrFold<Op>(a, b);
}

template <typename Op> Value ThreadCode::fold(Value a, int64_t b) {
  return builder.createOrFold<Op>(a, constantLike(a, b));
}

Value ThreadCode::add(Value a, Value b) { return fold<arith::AddIOp>(a, b); }

Value ThreadCode::add(Value a, int64_t b) {
  return b == 0 ? a : fold<arith::AddIOp>(a, b);
}

Value ThreadCode::mul(Value a, int64_t b) { return fold<arith::MulIOp>(a, b); }

Value ThreadCode::div(Value a, int64_t b) { return fold<arith::DivUIOp>(a, b); }

Value ThreadCode::rem(Value a, int64_t b) { return fold<arith::RemUIOp>(a, b); }

Value ThreadCode::bitAnd(Value a, int64_t mask) {
  return fold<arith::AndIOp>(a, mask);
}

Value ThreadCode::bitXor(Value a, Value b) { return fold<arith::XOrIOp>(a, b); }

Value ThreadCode::bitXor(Value a, int64_t b) {
  return b == 0 ? a : fold<arith::XOrIOp>(a, b);
}

Value ThreadCode::shiftLeft(Value a, int64_t bits) {
  return fold<arith::ShLIOp>(a, bits);
}

Value ThreadCode::shiftRight(Value a, int64_t bits) {
  return fold<arith::ShRUIOp>(a, bits);
}

Value ThreadCode::less(Value a, int64_t b) {
  return builder.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::ult, a,
                                             constantLike(a, b));
}

Value ThreadCode::less(Value a, Value b) {
  return builder.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::ult, a, b);
}

Value ThreadCode::both(Value a, Value b) { return fold<arith::AndIOp>(a, b); }

Value ThreadCode::select(Value condition, Value a, Value b) {
  return builder.createOrFold<arith::SelectOp>(condition, a, b);
}

Value ThreadCode::extend(Value a) {
  return builder.createOrFold<arith::ExtUIOp>(builder.getI64Type(), a);
}

static Type getPointerType(MLIRContext *context, Space space) {
  return LLVM::LLVMPointerType::get(context, static_cast<unsigned>(space));
}

Value ThreadCode::pointer(Value buffer, Space space) {
  Value address =
      memref::ExtractAlignedPointerAsIndexOp::create(builder, buffer);
  address = arith::IndexCastOp::create(builder, builder.getI64Type(), address);
  return LLVM::IntToPtrOp::create(
      builder, getPointerType(builder.getContext(), space), address);
}

static constexpr StringLiteral kSharedName = "dynamic_shared";

Value ThreadCode::dynamicShared() {
  Operation *function = builder.getInsertionBlock()->getParentOp();
  auto device = function->getParentOfType<gpu::GPUModuleOp>();
  auto space = static_cast<unsigned>(Space::Shared);
  auto global = device.lookupSymbol<LLVM::GlobalOp>(kSharedName);
  if (!global) {
    // External and without size: what a launch asks for, as CUDA declares it.
    OpBuilder atStart = OpBuilder::atBlockBegin(device.getBody());
    auto type = LLVM::LLVMArrayType::get(builder.getI8Type(), 0);
    global = LLVM::GlobalOp::create(
        atStart, device.getLoc(), type, /*isConstant=*/false,
        LLVM::Linkage::External, kSharedName, Attribute(),
        /*alignment=*/128, space);
  }
  return LLVM::AddressOfOp::create(
      builder, getPointerType(builder.getContext(), Space::Shared),
      kSharedName);
}

Value ThreadCode::offset(Value pointer, Value bytes) {
  if (bytes.getType().isInteger(32))
    bytes = extend(bytes);
  return LLVM::GEPOp::create(builder, pointer.getType(), builder.getI8Type(),
                             pointer, ArrayRef<LLVM::GEPArg>{bytes});
}

Value ThreadCode::offset(Value pointer, int64_t bytes) {
  return bytes == 0 ? pointer : offset(pointer, constant64(bytes));
}

Value ThreadCode::load(Type type, Value pointer, unsigned alignment) {
  return LLVM::LoadOp::create(builder, type, pointer, alignment);
}

void ThreadCode::store(Value value, Value pointer, unsigned alignment) {
  LLVM::StoreOp::create(builder, value, pointer, alignment);
}

void ThreadCode::ifTrue(Value condition, function_ref<void()> body) {
  auto branch = scf::IfOp::create(builder, condition, /*withElse=*/false);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(branch.thenYield());
  body();
}

void ThreadCode::ifElse(Value condition, function_ref<void()> body,
                        function_ref<void()> otherwise) {
  auto branch = scf::IfOp::create(builder, condition, /*withElse=*/true);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(branch.thenYield());
  body();
  builder.setInsertionPoint(branch.elseYield());
  otherwise();
}

SmallVector<Value>
ThreadCode::ifElse(Value condition, TypeRange types,
                   function_ref<SmallVector<Value>()> body,
                   function_ref<SmallVector<Value>()> otherwise) {
  auto branch = scf::IfOp::create(builder, types, condition, /*withElse=*/true);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(branch.thenBlock());
  scf::YieldOp::create(builder, body());
  builder.setInsertionPointToStart(branch.elseBlock());
  scf::YieldOp::create(builder, otherwise());
  return llvm::to_vector_of<Value>(branch.getResults());
}

SmallVector<Value> ThreadCode::ifTrue(Value condition, int64_t count,
                                      function_ref<SmallVector<Value>()> body) {
  Type type = builder.getF32Type();
  return ifElse(condition, SmallVector<Type>(count, type), body,
                [&] { return SmallVector<Value>(count, zero(type)); });
}

void ThreadCode::barrier() { gpu::BarrierOp::create(builder); }

void ThreadCode::warpBarrier() {
  NVVM::SyncWarpOp::create(builder, constant(-1));
}
