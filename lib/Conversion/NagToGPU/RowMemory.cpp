// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Thread code of rows: loads, stores and small values.
#include "RowThreads.h"

#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace nag;

/// Bytes of a vector or a scalar.
static unsigned getVectorBytes(Type type) {
  auto vector = cast<VectorType>(type);
  return vector.getNumElements() * vector.getElementTypeBitWidth() / 8;
}

/// The shared memory that the launch asks for.
static Value getDynamicSharedMemory(ImplicitLocOpBuilder &builder) {
  constexpr StringLiteral name = "dynamic_shared";
  constexpr unsigned sharedSpace = 3;
  auto device = builder.getInsertionBlock()
                    ->getParentOp()
                    ->getParentOfType<gpu::GPUModuleOp>();
  if (!device.lookupSymbol(name)) {
    // External and without size, as CUDA declares it.
    OpBuilder atStart = OpBuilder::atBlockBegin(device.getBody());
    auto type = LLVM::LLVMArrayType::get(builder.getI8Type(), 0);
    LLVM::GlobalOp::create(atStart, device.getLoc(), type,
                           /*isConstant=*/false, LLVM::Linkage::External, name,
                           Attribute(), /*alignment=*/128, sharedSpace);
  }
  return LLVM::AddressOfOp::create(
      builder, LLVM::LLVMPointerType::get(builder.getContext(), sharedSpace),
      name);
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

Value RowThreads::constant(int64_t value) {
  return arith::ConstantIndexOp::create(builder, value);
}

Value RowThreads::splat(Value scalar, int64_t width) {
  auto type = VectorType::get({width}, scalar.getType());
  return vector::BroadcastOp::create(builder, type, scalar);
}

Value RowThreads::zero(Type type) {
  return arith::ConstantOp::create(builder, builder.getZeroAttr(type));
}

/// A scalar or a vector of floats with elements of another float type.
Value RowThreads::toType(Value value, Type element) {
  Type from = getElementTypeOrSelf(value.getType());
  if (from == element || !isa<FloatType>(from))
    return value;
  Type to = element;
  if (auto vector = dyn_cast<VectorType>(value.getType()))
    to = vector.clone(element);
  if (from.getIntOrFloatBitWidth() < element.getIntOrFloatBitWidth())
    return arith::ExtFOp::create(builder, to, value);
  return arith::TruncFOp::create(builder, to, value);
}

Value RowThreads::offset(Value base, Value index) {
  return arith::AddIOp::create(builder, base, index,
                               arith::IntegerOverflowFlags::nsw);
}

Value RowThreads::offset(Value base, int64_t count) {
  return count == 0 ? base : offset(base, constant(count));
}

Value RowThreads::isBelow(Value a, Value b) {
  return arith::CmpIOp::create(builder, arith::CmpIPredicate::slt, a, b);
}

/// The conjunction of two conditions; null stands for true.
Value RowThreads::both(Value a, Value b) {
  if (!a || !b)
    return a ? a : b;
  return arith::AndIOp::create(builder, a, b);
}

/// What `load` builds where `condition` holds, else zero.
Value RowThreads::guarded(Value condition, Type type,
                          function_ref<Value()> load) {
  if (!condition)
    return load();
  auto branch = scf::IfOp::create(builder, type, condition, true);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(branch.thenBlock());
  scf::YieldOp::create(builder, load());
  builder.setInsertionPointToStart(branch.elseBlock());
  scf::YieldOp::create(builder, zero(type));
  return branch.getResult(0);
}

//===----------------------------------------------------------------------===//
// Vectors
//===----------------------------------------------------------------------===//

/// True when elements a multiple of `stride` (and of `width`) into `memory`
/// begin at multiples of `width` elements.
bool RowThreads::isAligned(Value memory, int64_t stride, int64_t width) {
  auto type = cast<MemRefType>(memory.getType());
  return type.getNumElements() % width == 0 && stride % width == 0;
}

/// The vector at `position` of a row of `length` elements that begins at
/// `base`; zero outside the row. `aligned`: positions are those of aligned
/// addresses.
Value RowThreads::loadVector(Value memory, Value base, int64_t length,
                             bool aligned, RowPosition &position) {
  int64_t width = position.layout.width;
  auto element = cast<MemRefType>(memory.getType()).getElementType();
  auto type = VectorType::get({width}, element);
  Value index = offset(base, position.first);
  if (width == 1) {
    Value inside = position.isBounded ? getMask(position, length) : Value();
    if (inside)
      inside = vector::ExtractOp::create(builder, inside, 0);
    Value value = guarded(both(inside, isActive), element, [&]() -> Value {
      return memref::LoadOp::create(builder, memory, index);
    });
    return splat(value, 1);
  }
  auto loadWhole = [&]() -> Value {
    return vector::LoadOp::create(builder, type, memory, index);
  };
  auto loadParts = [&](Value mask) -> Value {
    if (!mask) {
      Value vector = zero(type);
      for (int64_t i = 0; i < width; ++i)
        vector = vector::InsertOp::create(
            builder, loadElement(memory, offset(index, i)), vector, i);
      return vector;
    }
    auto load = vector::MaskedLoadOp::create(builder, type, memory, index, mask,
                                             zero(type));
    load.setAlignment(llvm::divideCeil(element.getIntOrFloatBitWidth(), 8));
    return load;
  };
  Value mask = position.isBounded ? getMask(position, length) : Value();
  bool wholeOrNothing = position.layout.period == 0 && length % width == 0;
  if (!aligned)
    return guarded(isActive, type, [&] { return loadParts(mask); });
  if (!mask)
    return guarded(isActive, type, loadWhole);
  Value isInside = getWholeMask(position, length);
  if (wholeOrNothing)
    return guarded(both(isInside, isActive), type, loadWhole);
  return guarded(isActive, type, [&]() -> Value {
    auto branch = scf::IfOp::create(builder, type, isInside, true);
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(branch.thenBlock());
    scf::YieldOp::create(builder, loadWhole());
    builder.setInsertionPointToStart(branch.elseBlock());
    scf::YieldOp::create(builder, loadParts(mask));
    return branch.getResult(0);
  });
}

/// Writes the part of `vector` that lies in the row. `aligned`: positions are
/// those of aligned addresses.
void RowThreads::storeVector(Value vector, Value memory, Value base,
                             int64_t length, bool aligned,
                             RowPosition &position) {
  int64_t width = position.layout.width;
  Type element = cast<MemRefType>(memory.getType()).getElementType();
  Value index = offset(base, position.first);
  auto when = [&](Value condition, function_ref<void()> store,
                  function_ref<void()> otherwise = {}) {
    if (!condition)
      return store();
    auto branch = scf::IfOp::create(builder, condition, bool(otherwise));
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(branch.thenBlock());
    store();
    if (!otherwise)
      return;
    builder.setInsertionPointToStart(branch.elseBlock());
    otherwise();
  };
  auto storeWhole = [&] {
    if (width > 1 && aligned) {
      vector::StoreOp::create(builder, vector, memory, index);
      return;
    }
    for (int64_t i = 0; i < width; ++i) {
      Value scalar = vector::ExtractOp::create(builder, vector, i);
      memref::StoreOp::create(builder, scalar, memory, offset(index, i));
    }
  };
  Value isInside =
      position.isBounded ? getWholeMask(position, length) : Value();
  if (!isInside || width == 1 ||
      (position.layout.period == 0 && length % width == 0))
    return when(both(isInside, isActive), storeWhole);
  Value mask = getMask(position, length);
  when(isActive, [&] {
    when(isInside, storeWhole, [&] {
      auto store =
          vector::MaskedStoreOp::create(builder, memory, index, mask, vector);
      store.setAlignment(llvm::divideCeil(element.getIntOrFloatBitWidth(), 8));
    });
  });
}

Value RowThreads::loadRow(Value argument, RowPosition &position) {
  int64_t length = getNumElements(argument);
  return loadVector(memories.lookup(argument), getRowBase(length), length,
                    /*aligned=*/true, position);
}

//===----------------------------------------------------------------------===//
// Rows in shared memory
//===----------------------------------------------------------------------===//

/// Where chunk `position` of a row waits; null where it is in registers.
const RowGeometry::HeldRow *RowThreads::findHeld(Value source,
                                                 const RowPosition &position) {
  if (position.layout.isPoint)
    return nullptr;
  for (const RowGeometry::HeldRow &entry : geometry.held)
    if (entry.argument == source && position.chunk >= entry.firstChunk)
      return &entry;
  return nullptr;
}

/// A place of the thread's own: no thread reads what another has put there.
Value RowThreads::getHeldAddress(Value source, RowPosition &position) {
  const RowGeometry::HeldRow &entry = *findHeld(source, position);
  int64_t before =
      entry.firstChunk * geometry.threadsPerRow * position.layout.width;
  Type element =
      cast<MemRefType>(memories.lookup(source).getType()).getElementType();
  int64_t bytes = element.getIntOrFloatBitWidth() / 8;
  Value place =
      arith::IndexCastOp::create(builder, builder.getI64Type(), position.place);
  Value base = getDynamicSharedMemory(builder);
  Value start =
      LLVM::GEPOp::create(builder, base.getType(), builder.getI8Type(), base,
                          ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(
                              entry.offset - before * bytes)});
  Value size =
      arith::ConstantIntOp::create(builder, builder.getI64Type(), bytes);
  Value distance = arith::MulIOp::create(builder, place, size,
                                         arith::IntegerOverflowFlags::nsw);
  return LLVM::GEPOp::create(builder, base.getType(), builder.getI8Type(),
                             start, ArrayRef<LLVM::GEPArg>{distance});
}

void RowThreads::hold(Value argument, Value vector, RowPosition &position) {
  LLVM::StoreOp::create(builder, vector, getHeldAddress(argument, position),
                        /*alignment=*/getVectorBytes(vector.getType()));
}

Value RowThreads::loadHeld(Value argument, RowPosition &position) {
  Type element =
      cast<MemRefType>(memories.lookup(argument).getType()).getElementType();
  auto type = VectorType::get({position.layout.width}, element);
  return LLVM::LoadOp::create(builder, type, getHeldAddress(argument, position),
                              /*alignment=*/getVectorBytes(type));
}

//===----------------------------------------------------------------------===//
// Scalars
//===----------------------------------------------------------------------===//

Value RowThreads::loadElement(Value memory, Value index) {
  return memref::LoadOp::create(builder, memory, index);
}

/// An element that all threads of a row (or of a warp) use: one of them loads
/// it for the others of its warp.
Value RowThreads::loadUniform(Value memory, Value index, bool perRow) {
  int64_t lanes = kWarpSize;
  if (perRow)
    lanes = std::min(lanes, geometry.threadsPerRow);
  Type stored = cast<MemRefType>(memory.getType()).getElementType();
  Type type = getComputeType(stored);
  auto load = [&]() -> Value {
    return toType(loadElement(memory, index), type);
  };
  Value active = perRow ? isActive : Value();
  if (lanes == 1 || !(type.isF32() || type.isInteger(32)))
    return guarded(active, type, load);
  Value number = arith::RemUIOp::create(builder, lane, constant(lanes));
  Value isFirst = arith::CmpIOp::create(builder, arith::CmpIPredicate::eq,
                                        number, constant(0));
  Value value = guarded(both(isFirst, active), type, load);
  Value first = arith::IndexCastOp::create(
      builder, builder.getI32Type(),
      arith::SubIOp::create(builder, lane, number).getResult());
  Value width =
      arith::ConstantIntOp::create(builder, builder.getI32Type(), kWarpSize);
  return gpu::ShuffleOp::create(builder, value, first, width,
                                gpu::ShuffleMode::IDX)
      .getShuffleResult();
}
