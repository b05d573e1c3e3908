// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// convert-nag-runtime-calls: nag.runtime_call on buffers becomes a call of a C
// function that takes sizes and bare pointers.
#include "nag/Conversion/Passes.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace nag {
#define GEN_PASS_DEF_CONVERTNAGRUNTIMECALLS
#include "nag/Conversion/Passes.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

/// The address of the first element of a buffer.
static Value getPointer(ImplicitLocOpBuilder &builder, Value buffer) {
  Value address =
      memref::ExtractAlignedPointerAsIndexOp::create(builder, buffer);
  Value integer =
      arith::IndexCastOp::create(builder, builder.getI64Type(), address);
  return LLVM::IntToPtrOp::create(
      builder, LLVM::LLVMPointerType::get(builder.getContext()), integer);
}

static bool startsAtItsAddress(Value buffer) {
  return cast<MemRefType>(buffer.getType()).getStridesAndOffset().second == 0;
}

/// The declaration of `name` in the symbol table around `op`.
static FailureOr<func::FuncOp> declare(OpBuilder &builder, Operation *op,
                                       StringRef name, FunctionType type) {
  Operation *table = SymbolTable::getNearestSymbolTable(op);
  if (Operation *symbol = SymbolTable::lookupSymbolIn(table, name)) {
    auto function = dyn_cast<func::FuncOp>(symbol);
    if (function && function.getFunctionType() == type)
      return function;
    return symbol->emitError()
           << "expected '" << name << "' to be a function of type " << type;
  }
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(&table->getRegion(0).front());
  auto function = func::FuncOp::create(builder, op->getLoc(), name, type);
  function.setPrivate();
  return function;
}

static LogicalResult convert(RuntimeCallOp op) {
  if (op->getNumResults() != 0)
    return op.emitOpError("expected buffers, but got tensors; bufferize it "
                          "first");
  ImplicitLocOpBuilder builder(op.getLoc(), op);
  SmallVector<Value> arguments;
  for (int64_t size : op.getSizes())
    arguments.push_back(
        arith::ConstantOp::create(builder, builder.getI64IntegerAttr(size)));
  for (Value buffer : llvm::concat<Value>(op.getInputs(), op.getOutputs())) {
    if (!startsAtItsAddress(buffer))
      return op.emitOpError("expected buffers without an offset, but got ")
             << buffer.getType();
    arguments.push_back(getPointer(builder, buffer));
  }
  auto type = builder.getFunctionType(ValueRange(arguments).getTypes(), {});
  FailureOr<func::FuncOp> callee = declare(builder, op, op.getCallee(), type);
  if (failed(callee))
    return failure();
  func::CallOp::create(builder, *callee, arguments);
  op.erase();
  return success();
}

namespace {
struct ConvertNagRuntimeCallsPass
    : nag::impl::ConvertNagRuntimeCallsBase<ConvertNagRuntimeCallsPass> {
  void runOnOperation() override {
    SmallVector<RuntimeCallOp> calls;
    getOperation()->walk([&](RuntimeCallOp op) { calls.push_back(op); });
    for (RuntimeCallOp call : calls)
      if (failed(convert(call)))
        return signalPassFailure();
  }
};
} // namespace
