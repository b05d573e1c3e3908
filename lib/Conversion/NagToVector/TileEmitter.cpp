// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "TileEmitter.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace nag;

using Values = TileEmitter::Values;

//===----------------------------------------------------------------------===//
// Constants and index arithmetic
//===----------------------------------------------------------------------===//

Value TileEmitter::index(int64_t value) {
  return arith::ConstantIndexOp::create(*this, value);
}

Value TileEmitter::number(double value) {
  return arith::ConstantOp::create(*this, getFloatAttr(element, value));
}

Value TileEmitter::splat(double value, int64_t width) {
  auto type = VectorType::get(width, element);
  return arith::ConstantOp::create(
      *this, DenseElementsAttr::get(type, getFloatAttr(element, value)));
}

Value TileEmitter::broadcast(Value scalar, int64_t width) {
  return vector::BroadcastOp::create(
      *this, VectorType::get(width, scalar.getType()), scalar);
}

Value TileEmitter::plus(Value lhs, Value rhs) {
  if (!lhs || !rhs)
    return lhs ? lhs : rhs;
  return createOrFold<arith::AddIOp>(lhs, rhs);
}

Value TileEmitter::plus(Value lhs, int64_t rhs) {
  return rhs == 0 ? lhs : plus(lhs, index(rhs));
}

Value TileEmitter::minus(Value lhs, Value rhs) {
  return createOrFold<arith::SubIOp>(lhs, rhs);
}

Value TileEmitter::times(Value lhs, int64_t rhs) {
  return createOrFold<arith::MulIOp>(lhs, index(rhs));
}

Value TileEmitter::smaller(Value lhs, Value rhs) {
  return createOrFold<arith::MinSIOp>(lhs, rhs);
}

Value TileEmitter::larger(Value lhs, Value rhs) {
  return createOrFold<arith::MaxSIOp>(lhs, rhs);
}

std::pair<Value, Value> TileEmitter::divide(Value value, int64_t divisor) {
  Value by = index(divisor);
  return {createOrFold<arith::DivUIOp>(value, by),
          createOrFold<arith::RemUIOp>(value, by)};
}

//===----------------------------------------------------------------------===//
// Control flow
//===----------------------------------------------------------------------===//

Values TileEmitter::loop(Value lower, Value upper, int64_t step,
                         ValueRange initial,
                         llvm::function_ref<Values(Value, ValueRange)> body) {
  auto loopOp = scf::ForOp::create(*this, lower, upper, index(step), initial);
  InsertionGuard guard(*this);
  setInsertionPointToStart(loopOp.getBody());
  Values results =
      body(loopOp.getInductionVar(), ValueRange(loopOp.getRegionIterArgs()));
  if (!initial.empty())
    scf::YieldOp::create(*this, results);
  return llvm::to_vector_of<Value>(loopOp.getResults());
}

void TileEmitter::loop(Value lower, Value upper, int64_t step,
                       llvm::function_ref<void(Value)> body) {
  loop(lower, upper, step, ValueRange(), [&](Value iv, ValueRange) {
    body(iv);
    return Values();
  });
}

void TileEmitter::parallel(StringRef name, ValueRange buffers, int64_t count,
                           llvm::function_ref<void(ValueRange, Value)> body) {
  OpFoldResult bound = getIndexAttr(count);
  auto loopOp = scf::ForallOp::create(*this, bound, ValueRange(),
                                      /*mapping=*/std::nullopt);
  InsertionGuard guard(*this);
  SmallVector<Type> types = llvm::to_vector(buffers.getTypes());
  types.push_back(getIndexType());
  SymbolTable table(SymbolTable::getNearestSymbolTable(loopOp));
  OpBuilder detached(getContext());
  auto function = func::FuncOp::create(detached, getLoc(), name,
                                       getFunctionType(types, {}));
  function.setPrivate();
  table.insert(function);
  setInsertionPointToStart(loopOp.getBody());
  SmallVector<Value> operands = llvm::to_vector(buffers);
  operands.push_back(loopOp.getInductionVar(0));
  func::CallOp::create(*this, function, operands);
  Block *entry = function.addEntryBlock();
  setInsertionPointToStart(entry);
  ValueRange arguments = entry->getArguments();
  body(arguments.drop_back(), arguments.back());
  func::ReturnOp::create(*this);
}

void TileEmitter::when(Value condition, llvm::function_ref<void()> body) {
  auto branch = scf::IfOp::create(*this, condition, /*withElseRegion=*/false);
  InsertionGuard guard(*this);
  setInsertionPointToStart(branch.thenBlock());
  body();
}

Values TileEmitter::choose(Value condition, llvm::function_ref<Values()> body,
                           ValueRange otherwise) {
  auto branch = scf::IfOp::create(*this, otherwise.getTypes(), condition,
                                  /*withElseRegion=*/true);
  InsertionGuard guard(*this);
  setInsertionPointToStart(branch.thenBlock());
  scf::YieldOp::create(*this, body());
  setInsertionPointToStart(branch.elseBlock());
  scf::YieldOp::create(*this, otherwise);
  return llvm::to_vector_of<Value>(branch.getResults());
}

void TileEmitter::forBlocks(int64_t count, int64_t largest,
                            llvm::function_ref<void(Value, int64_t)> body) {
  int64_t blocks = llvm::divideCeil(count, largest);
  int64_t size = count / blocks, longer = count % blocks;
  int64_t middle = longer * (size + 1);
  if (longer)
    loop(index(0), index(middle), size + 1,
         [&](Value first) { body(first, size + 1); });
  loop(index(middle), index(count), size,
       [&](Value first) { body(first, size); });
}

void TileEmitter::forBlocks(Value count, int64_t size, bool exact,
                            llvm::function_ref<void(Value, int64_t)> body) {
  if (exact)
    return loop(index(0), count, size, [&](Value first) { body(first, size); });
  Value whole = minus(count, divide(count, size).second);
  loop(index(0), whole, size, [&](Value first) { body(first, size); });
  loop(whole, count, 1, [&](Value first) { body(first, 1); });
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Value TileEmitter::scratch(int64_t rows, int64_t columns) {
  constexpr int64_t kCacheLine = 64;
  return memref::AllocaOp::create(*this,
                                  MemRefType::get({rows, columns}, element),
                                  getI64IntegerAttr(kCacheLine));
}

void TileEmitter::indices(const Tile &tile, Value row, Value column,
                          Values &result) {
  result.append(tile.prefix.begin(), tile.prefix.end());
  result.push_back(plus(tile.row, row));
  result.push_back(plus(tile.column, column));
}

Value TileEmitter::load(const Tile &tile, Value row, Value column) {
  Values at;
  indices(tile, row, column, at);
  return memref::LoadOp::create(*this, tile.buffer, at);
}

Value TileEmitter::load(const Tile &tile, Value row, Value column,
                        int64_t width) {
  Values at;
  indices(tile, row, column, at);
  return vector::LoadOp::create(*this, VectorType::get(width, element),
                                tile.buffer, at);
}

void TileEmitter::store(Value value, const Tile &tile, Value row,
                        Value column) {
  Values at;
  indices(tile, row, column, at);
  if (isa<VectorType>(value.getType()))
    vector::StoreOp::create(*this, value, tile.buffer, at);
  else
    memref::StoreOp::create(*this, value, tile.buffer, at);
}

void TileEmitter::fill(const Tile &tile, Value rows, int64_t columns,
                       Value scalar) {
  constexpr int64_t kWidth = 8;
  loop(index(0), rows, 1, [&](Value row) {
    forBlocks(columns, kWidth, [&](Value column, int64_t width) {
      store(broadcast(scalar, width), tile, row, column);
    });
  });
}

//===----------------------------------------------------------------------===//
// Vector arithmetic
//===----------------------------------------------------------------------===//

Value TileEmitter::add(Value lhs, Value rhs) {
  return arith::AddFOp::create(*this, lhs, rhs);
}

Value TileEmitter::sub(Value lhs, Value rhs) {
  return arith::SubFOp::create(*this, lhs, rhs);
}

Value TileEmitter::mul(Value lhs, Value rhs) {
  return arith::MulFOp::create(*this, lhs, rhs);
}

Value TileEmitter::fma(Value a, Value b, Value c) {
  return vector::FMAOp::create(*this, a, b, c);
}

Value TileEmitter::maximum(Value lhs, Value rhs) {
  Value above =
      arith::CmpFOp::create(*this, arith::CmpFPredicate::OGT, lhs, rhs);
  return arith::SelectOp::create(*this, above, lhs, rhs);
}

/// Horner's scheme, lowest coefficient first.
Value TileEmitter::polynomial(Value x, ArrayRef<double> coefficients) {
  int64_t width = cast<VectorType>(x.getType()).getNumElements();
  Value sum = splat(coefficients.back(), width);
  for (double coefficient : llvm::reverse(coefficients.drop_back()))
    sum = fma(sum, x, splat(coefficient, width));
  return sum;
}

namespace {

/// Bit layout of a binary format, and polynomials to its precision.
struct FormatFacts {
  unsigned bits, fraction;
  int64_t bias;
  SmallVector<double> exp2, log;
};

FormatFacts getFacts(FloatType type) {
  FormatFacts facts;
  bool isDouble = type.isF64();
  facts.bits = isDouble ? 64 : 32;
  facts.fraction = isDouble ? 52 : 23;
  facts.bias = isDouble ? 1023 : 127;
  // ln(x) = 2 f (1 + f^2/3 + f^4/5 + ...), |f| < 0.172.
  for (int64_t term = 0; term < (isDouble ? 11 : 5); ++term)
    facts.log.push_back(1.0 / double(2 * term + 1));
  if (!isDouble) {
    // Minimax on [-1/2, 1/2] with value 1 at 0: relative error 2.0e-9.
    facts.exp2 = {1.0,
                  0.693147202855083,
                  0.24022647913626555,
                  0.05550332471099871,
                  0.009618437357817977,
                  0.0013398874422366099,
                  0.00015353361889547043};
    return facts;
  }
  // Taylor's series in x ln 2: relative error 5e-18.
  double term = 1;
  for (int64_t power = 0; power < 14; term *= M_LN2 / double(++power))
    facts.exp2.push_back(term);
  return facts;
}

} // namespace

/// Adding 1.5 * 2^fraction rounds to an integer and leaves it, with the bias
/// added as well, in the low bits, from where a shift makes it an exponent.
Value TileEmitter::exp2(Value x) {
  FormatFacts facts = getFacts(element);
  int64_t width = cast<VectorType>(x.getType()).getNumElements();
  Type integers = VectorType::get(width, getIntegerType(facts.bits));
  Value magic =
      splat(std::ldexp(1.5, facts.fraction) + double(facts.bias), width);
  Value clamped = maximum(splat(-double(facts.bias), width), x);
  Value shifted = add(clamped, magic);
  Value rest = sub(clamped, sub(shifted, magic));
  Value bits = arith::BitcastOp::create(*this, integers, shifted);
  Value distance = arith::ConstantOp::create(
      *this, DenseElementsAttr::get(
                 cast<ShapedType>(integers),
                 getIntegerAttr(getIntegerType(facts.bits), facts.fraction)));
  Value power = arith::BitcastOp::create(
      *this, x.getType(), arith::ShLIOp::create(*this, bits, distance));
  return mul(polynomial(rest, facts.exp2), power);
}

/// x = m 2^n with m in [sqrt(1/2), sqrt(2)); f = (m - 1) / (m + 1).
Value TileEmitter::log(Value x) {
  FormatFacts facts = getFacts(element);
  int64_t width = cast<VectorType>(x.getType()).getNumElements();
  Type integer = getIntegerType(facts.bits);
  auto integers = VectorType::get(width, integer);
  auto constant = [&](int64_t value) -> Value {
    return arith::ConstantOp::create(
        *this,
        DenseElementsAttr::get(integers, getIntegerAttr(integer, value)));
  };
  // The bits of sqrt(1/2) as an offset make the exponent field that of m.
  APFloat root(M_SQRT1_2);
  bool inexact;
  root.convert(element.getFloatSemantics(), APFloat::rmNearestTiesToEven,
               &inexact);
  Value offset = constant(root.bitcastToAPInt().getSExtValue());
  Value bits = arith::BitcastOp::create(*this, integers, x);
  Value above = arith::SubIOp::create(*this, bits, offset);
  Value exponent =
      arith::ShRSIOp::create(*this, above, constant(facts.fraction));
  Value power =
      arith::ShLIOp::create(*this, exponent, constant(facts.fraction));
  Value mantissa = arith::BitcastOp::create(
      *this, x.getType(), arith::SubIOp::create(*this, bits, power));
  Value one = splat(1.0, width);
  Value f =
      arith::DivFOp::create(*this, sub(mantissa, one), add(mantissa, one));
  Value series = mul(add(f, f), polynomial(mul(f, f), facts.log));
  Value n = arith::SIToFPOp::create(*this, x.getType(), exponent);
  return fma(n, splat(M_LN2, width), series);
}

/// Swaps ever smaller off-diagonal blocks: log2(n) rounds of two-vector
/// shuffles.
Values TileEmitter::transpose(Values rows) {
  int64_t size = rows.size();
  for (int64_t half = size / 2; half > 0; half /= 2) {
    for (int64_t row = 0; row < size; ++row) {
      if (row & half)
        continue;
      SmallVector<int64_t> low, high;
      for (int64_t column = 0; column < size; ++column) {
        bool second = column & half;
        low.push_back(second ? size + column - half : column);
        high.push_back(second ? size + column : column + half);
      }
      Value first = rows[row], other = rows[row + half];
      rows[row] = vector::ShuffleOp::create(*this, first, other, low);
      rows[row + half] = vector::ShuffleOp::create(*this, first, other, high);
    }
  }
  return rows;
}

Values TileEmitter::multiply(ValueRange initial, Value count,
                             llvm::function_ref<Value(int64_t, Value)> left,
                             llvm::function_ref<Value(Value)> right) {
  int64_t width = cast<VectorType>(initial.front().getType()).getNumElements();
  return loop(index(0), count, 1, initial, [&](Value k, ValueRange sums) {
    Value factor = right(k);
    Values next;
    for (auto [row, sum] : llvm::enumerate(sums))
      next.push_back(fma(broadcast(left(row, k), width), factor, sum));
    return next;
  });
}
