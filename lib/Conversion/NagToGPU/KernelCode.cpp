// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "KernelCode.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace nag;

using Values = KernelCode::Values;

/// All lanes of a warp.
static constexpr int64_t kWarpMask = -1;
static constexpr int64_t kLastLane = 31;

//===----------------------------------------------------------------------===//
// i32 arithmetic and control flow
//===----------------------------------------------------------------------===//

Value KernelCode::sub(Value a, Value b) {
  return getBuilder().createOrFold<arith::SubIOp>(a, b);
}

Value KernelCode::smaller(Value a, Value b) {
  return getBuilder().createOrFold<arith::MinSIOp>(a, b);
}

Value KernelCode::larger(Value a, Value b) {
  return getBuilder().createOrFold<arith::MaxSIOp>(a, b);
}

Values KernelCode::loop(Value lower, Value upper, int64_t step,
                        ValueRange initial,
                        function_ref<Values(Value, ValueRange)> body) {
  ImplicitLocOpBuilder &ops = getBuilder();
  auto loopOp = scf::ForOp::create(ops, lower, upper, constant(step), initial);
  OpBuilder::InsertionGuard guard(ops);
  ops.setInsertionPointToStart(loopOp.getBody());
  Values results =
      body(loopOp.getInductionVar(), ValueRange(loopOp.getRegionIterArgs()));
  if (!initial.empty())
    scf::YieldOp::create(ops, results);
  return llvm::to_vector_of<Value>(loopOp.getResults());
}

void KernelCode::loop(Value lower, Value upper, int64_t step,
                      function_ref<void(Value)> body) {
  loop(lower, upper, step, ValueRange(), [&](Value iv, ValueRange) {
    body(iv);
    return Values();
  });
}

/// Halves [low, high) until nothing is left.
Value KernelCode::countLeading(Value count, int64_t room,
                               function_ref<Value(Value)> holds) {
  Value initial[] = {constant(0), count};
  return loop(constant(0), constant(llvm::Log2_64_Ceil(room + 1)), 1, initial,
              [&](Value, ValueRange state) -> Values {
                Value middle = shiftRight(add(state[0], state[1]), 1);
                Value isOpen = less(state[0], state[1]);
                Value isBefore = holds(middle);
                return {
                    select(both(isOpen, isBefore), add(middle, 1), state[0]),
                    select(isBefore, state[1], middle)};
              })[0];
}

//===----------------------------------------------------------------------===//
// f32 arithmetic
//===----------------------------------------------------------------------===//

Value KernelCode::number(double value) {
  return arith::ConstantOp::create(getBuilder(),
                                   getBuilder().getF32FloatAttr(value));
}

Value KernelCode::addf(Value a, Value b) {
  return arith::AddFOp::create(getBuilder(), a, b);
}

Value KernelCode::subf(Value a, Value b) {
  return arith::SubFOp::create(getBuilder(), a, b);
}

Value KernelCode::mulf(Value a, Value b) {
  return arith::MulFOp::create(getBuilder(), a, b);
}

Value KernelCode::fma(Value a, Value b, Value c) {
  return LLVM::FMAOp::create(getBuilder(), a, b, c);
}

Value KernelCode::maximum(Value a, Value b) {
  return LLVM::MaxNumOp::create(getBuilder(), a, b);
}

Value KernelCode::intrinsic(StringRef name, Value x) {
  ImplicitLocOpBuilder &ops = getBuilder();
  return LLVM::CallIntrinsicOp::create(ops, x.getType(),
                                       ops.getStringAttr(name), ValueRange(x))
      .getResult(0);
}

Value KernelCode::exp2(Value x) {
  return intrinsic("llvm.nvvm.ex2.approx.ftz", x);
}

Value KernelCode::log2(Value x) {
  return intrinsic("llvm.nvvm.lg2.approx.ftz.f", x);
}

Value KernelCode::reciprocal(Value x) {
  return arith::DivFOp::create(getBuilder(), number(1), x);
}

/// A lane's value of `shfl.sync` in one of its modes.
static Value exchange(KernelCode &code, NVVM::ShflKind mode, Value value,
                      Value lane, int64_t clamp) {
  return NVVM::ShflOp::create(code.getBuilder(), value.getType(),
                              code.constant(kWarpMask), value, lane,
                              code.constant(clamp), mode, UnitAttr());
}

Value KernelCode::reduce(Value value, int64_t lanes,
                         function_ref<Value(Value, Value)> join,
                         int64_t firstDistance) {
  for (int64_t distance = firstDistance; distance < lanes * firstDistance;
       distance *= 2)
    value = join(value, exchange(*this, NVVM::ShflKind::bfly, value,
                                 constant(distance), kLastLane));
  return value;
}

Value KernelCode::shuffle(Value value, Value source) {
  return exchange(*this, NVVM::ShflKind::idx, value, source, kLastLane);
}

Value KernelCode::inclusiveSum(Value value, Value lane) {
  for (int64_t distance = 1; distance <= kLastLane; distance *= 2) {
    Value below = exchange(*this, NVVM::ShflKind::up, value, constant(distance),
                           /*clamp=*/0);
    value = select(less(lane, distance), value, add(value, below));
  }
  return value;
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Values KernelCode::loadFloats(Type element, Value pointer, int64_t width) {
  ImplicitLocOpBuilder &ops = getBuilder();
  int64_t bytes = width * element.getIntOrFloatBitWidth() / 8;
  auto type = VectorType::get(width, element);
  Value vector = load(type, pointer, bytes);
  if (!element.isF32())
    vector = arith::ExtFOp::create(
        ops, VectorType::get(width, ops.getF32Type()), vector);
  return vector::ToElementsOp::create(ops, vector).getResults();
}

void KernelCode::storeFloats(Type element, ValueRange values, Value pointer) {
  ImplicitLocOpBuilder &ops = getBuilder();
  int64_t width = values.size();
  auto type = VectorType::get(width, ops.getF32Type());
  Value vector = vector::FromElementsOp::create(ops, type, values);
  if (!element.isF32())
    vector =
        arith::TruncFOp::create(ops, VectorType::get(width, element), vector);
  store(vector, pointer, width * element.getIntOrFloatBitWidth() / 8);
}

Value KernelCode::place(Type type, Value buffer, Value index) {
  return offset(pointer(buffer, Space::Global),
                mul(extend(index), type.getIntOrFloatBitWidth() / 8));
}

Value KernelCode::loadAt(Type type, Value buffer, Value index) {
  return load(type, place(type, buffer, index),
              type.getIntOrFloatBitWidth() / 8);
}

void KernelCode::storeAt(Value value, Value buffer, Value index) {
  Type type = value.getType();
  store(value, place(type, buffer, index), type.getIntOrFloatBitWidth() / 8);
}

void nag::shareRegisters(gpu::GPUFuncOp function, int64_t blocks) {
  Builder attributes(function.getContext());
  function->setAttr(NVVM::NVVMDialect::getMinctasmAttrName(),
                    attributes.getI32IntegerAttr(blocks));
}
