// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Functions for machines that have no library of them: sin, cos and pow of f32
// by way of f64, whose 29 spare bits hide the errors of short polynomials, and
// exp, sin and cos of f64.
#include "WithoutLibrary.h"

#include "mlir/Conversion/ArithCommon/AttrToLLVMConverter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/TypeUtilities.h"

#include <cmath>

using namespace mlir;

namespace {

/// Arithmetic on f64 values, or vectors of them, of the shape of one value.
class F64Builder {
public:
  F64Builder(Location loc, PatternRewriter &rewriter, Type like)
      : builder(loc, rewriter), shape(dyn_cast<VectorType>(like)) {}

  Type type(Type element) {
    return shape ? Type(shape.clone(element)) : element;
  }
  Value real(double value) { return constant(builder.getF64FloatAttr(value)); }
  Value integer(int64_t value) {
    return constant(builder.getI64IntegerAttr(value));
  }
  Value constant(TypedAttr scalar) {
    if (!shape)
      return arith::ConstantOp::create(builder, scalar);
    auto vector = cast<ShapedType>(type(scalar.getType()));
    return arith::ConstantOp::create(builder,
                                     DenseElementsAttr::get(vector, scalar));
  }

  Value add(Value a, Value b) { return arith::AddFOp::create(builder, a, b); }
  Value sub(Value a, Value b) { return arith::SubFOp::create(builder, a, b); }
  Value mul(Value a, Value b) { return arith::MulFOp::create(builder, a, b); }
  Value div(Value a, Value b) { return arith::DivFOp::create(builder, a, b); }
  Value neg(Value a) { return arith::NegFOp::create(builder, a); }
  Value abs(Value a) { return math::AbsFOp::create(builder, a); }
  Value fma(Value a, Value b, Value c) {
    return math::FmaOp::create(builder, a, b, c);
  }
  Value round(Value a) { return math::RoundEvenOp::create(builder, a); }
  Value select(Value condition, Value a, Value b) {
    return arith::SelectOp::create(builder, condition, a, b);
  }
  Value compare(arith::CmpFPredicate predicate, Value a, Value b) {
    return arith::CmpFOp::create(builder, predicate, a, b);
  }
  Value isEqual(Value a, Value b) {
    return compare(arith::CmpFPredicate::OEQ, a, b);
  }
  Value isLess(Value a, Value b) {
    return compare(arith::CmpFPredicate::OLT, a, b);
  }
  Value either(Value a, Value b) { return arith::OrIOp::create(builder, a, b); }
  Value toInteger(Value a) {
    return arith::FPToSIOp::create(builder, type(builder.getI64Type()), a);
  }
  Value toReal(Value a) {
    return arith::SIToFPOp::create(builder, type(builder.getF64Type()), a);
  }
  Value hasBit(Value a, int64_t bit) {
    Value masked = arith::AndIOp::create(builder, a, integer(bit));
    return arith::CmpIOp::create(builder, arith::CmpIPredicate::ne, masked,
                                 integer(0));
  }
  Value widen(Value a) {
    Type wide = type(builder.getF64Type());
    return a.getType() == wide ? a : arith::ExtFOp::create(builder, wide, a);
  }
  Value narrow(Value a, Type to) {
    return a.getType() == to
               ? a
               : arith::TruncFOp::create(builder, to, a).getResult();
  }

  /// coefficients[0] + coefficients[1] x + ...
  Value polynomial(Value x, ArrayRef<double> coefficients);
  Value exp(Value x);
  Value log(Value x);
  /// The sine, or the cosine, of x.
  Value sine(Value x, bool isCosine);

private:
  ImplicitLocOpBuilder builder;
  VectorType shape;
};

} // namespace

Value F64Builder::polynomial(Value x, ArrayRef<double> coefficients) {
  Value sum = real(coefficients.back());
  for (double coefficient : llvm::reverse(coefficients.drop_back()))
    sum = fma(sum, x, real(coefficient));
  return sum;
}

/// exp(x) = 2^n exp(r) with |r| <= ln(2) / 2; Taylor's polynomial of degree 13
/// leaves 4e-18 of exp(r).
Value F64Builder::exp(Value x) {
  Value n = round(mul(x, real(1.4426950408889634)));
  // The high part of ln(2) has zeros at its end: n times it is exact.
  Value r = fma(n, real(-6.93147180369123816490e-01), x);
  r = fma(n, real(-1.90821492927058770002e-10), r);
  SmallVector<double> coefficients{1};
  for (int k = 1; k <= 13; ++k)
    coefficients.push_back(coefficients.back() / k);
  Value mantissa = polynomial(r, coefficients);
  Value exponent = arith::AddIOp::create(builder, toInteger(n), integer(1023));
  Value bits = arith::ShLIOp::create(builder, exponent, integer(52));
  Value scale =
      arith::BitcastOp::create(builder, type(builder.getF64Type()), bits);
  Value result = mul(mantissa, scale);
  result = select(isLess(x, real(-708.0)), real(0), result);
  return select(isLess(real(709.0), x), real(HUGE_VAL), result);
}

/// log(x) for normal x > 0: e ln(2) + 2 atanh((m - 1) / (m + 1)) with the
/// mantissa m between sqrt(1/2) and sqrt(2).
Value F64Builder::log(Value x) {
  constexpr int64_t kSqrtHalf = 0x3fe6a09e00000000;
  Value bits = arith::BitcastOp::create(builder, type(builder.getI64Type()), x);
  Value above = arith::SubIOp::create(builder, bits, integer(kSqrtHalf));
  Value exponent = arith::ShRSIOp::create(builder, above, integer(52));
  Value shifted = arith::ShLIOp::create(builder, exponent, integer(52));
  Value m = arith::BitcastOp::create(
      builder, x.getType(),
      arith::SubIOp::create(builder, bits, shifted).getResult());
  Value s = div(sub(m, real(1)), add(m, real(1)));
  SmallVector<double> coefficients;
  for (int k = 0; k <= 9; ++k)
    coefficients.push_back(2.0 / (2 * k + 1));
  Value fraction = mul(s, polynomial(mul(s, s), coefficients));
  return fma(toReal(exponent), real(0.6931471805599453), fraction);
}

/// The argument less n pi/2, at most pi/4, by Taylor's polynomials; n is exact
/// for arguments up to 1e9, say.
Value F64Builder::sine(Value x, bool isCosine) {
  Value n = round(mul(x, real(0.63661977236758134308)));
  Value r = fma(n, real(-1.57079632679489655800e+00), x);
  r = fma(n, real(-6.12323399573676603587e-17), r);
  Value square = mul(r, r);
  SmallVector<double> sines{1}, cosines{1};
  for (int k = 1; k <= 8; ++k) {
    sines.push_back(-sines.back() / ((2 * k) * (2 * k + 1)));
    cosines.push_back(-cosines.back() / ((2 * k - 1) * (2 * k)));
  }
  Value sin = mul(r, polynomial(square, sines));
  Value cos = polynomial(square, cosines);
  Value quadrant = toInteger(n);
  if (isCosine)
    quadrant = arith::AddIOp::create(builder, quadrant, integer(1));
  Value value = select(hasBit(quadrant, 1), cos, sin);
  return select(hasBit(quadrant, 2), neg(value), value);
}

//===----------------------------------------------------------------------===//
// Patterns
//===----------------------------------------------------------------------===//

namespace {

struct ExpandExp : OpRewritePattern<math::ExpOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(math::ExpOp op,
                                PatternRewriter &rewriter) const override {
    if (!getElementTypeOrSelf(op.getType()).isF64())
      return failure();
    F64Builder builder(op.getLoc(), rewriter, op.getType());
    rewriter.replaceOp(op, builder.exp(op.getOperand()));
    return success();
  }
};

template <typename Op> struct ExpandSine : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;
  LogicalResult matchAndRewrite(Op op,
                                PatternRewriter &rewriter) const override {
    F64Builder builder(op.getLoc(), rewriter, op.getType());
    Value value = builder.sine(builder.widen(op.getOperand()),
                               std::is_same_v<Op, math::CosOp>);
    rewriter.replaceOp(op, builder.narrow(value, op.getType()));
    return success();
  }
};

struct ExpandRsqrt : OpRewritePattern<math::RsqrtOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(math::RsqrtOp op,
                                PatternRewriter &rewriter) const override {
    F64Builder builder(op.getLoc(), rewriter, op.getType());
    Value root = math::SqrtOp::create(rewriter, op.getLoc(), op.getOperand());
    Type element = getElementTypeOrSelf(op.getType());
    Value one = builder.constant(rewriter.getFloatAttr(element, 1.0));
    rewriter.replaceOpWithNewOp<arith::DivFOp>(op, one, root);
    return success();
  }
};

/// As C's powf, special cases included.
struct ExpandPow : OpRewritePattern<math::PowFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(math::PowFOp op,
                                PatternRewriter &rewriter) const override {
    if (!getElementTypeOrSelf(op.getType()).isF32())
      return failure();
    F64Builder f(op.getLoc(), rewriter, op.getType());
    Value x = f.widen(op.getLhs()), y = f.widen(op.getRhs());
    Value zero = f.real(0), one = f.real(1), infinity = f.real(HUGE_VAL);
    Value nan = f.real(std::nan(""));
    Value size = f.abs(x);
    Value result = f.exp(f.mul(y, f.log(size)));
    Value grows = f.isLess(zero, y);
    result = f.select(f.isEqual(size, zero), f.select(grows, zero, infinity),
                      result);
    result = f.select(f.isEqual(size, infinity),
                      f.select(grows, infinity, zero), result);
    // An infinite exponent: only whether |x| is above 1 counts.
    Value vanishes = f.isEqual(f.abs(y), infinity);
    Value above = f.select(grows, infinity, zero);
    Value below = f.select(grows, zero, infinity);
    Value limit = f.select(f.isLess(one, size), above, below);
    limit = f.select(f.isEqual(size, one), one, limit);
    result = f.select(vanishes, limit, result);
    // A negative base: the sign of the power, or none.
    Value half = f.mul(y, f.real(0.5));
    Value isInteger = f.isEqual(f.round(y), y);
    Value isEven = f.isEqual(f.round(half), half);
    Value mirrored = f.select(isEven, result, f.neg(result));
    Value isFinite = f.isLess(size, infinity);
    Value none = f.select(isFinite, nan, result);
    Value signedResult = f.select(isInteger, mirrored, none);
    result = f.select(f.isLess(x, zero), signedResult, result);
    Value isNaN = f.compare(arith::CmpFPredicate::UNO, x, y);
    result = f.select(isNaN, nan, result);
    Value isOne = f.either(f.isEqual(x, one), f.isEqual(y, zero));
    result = f.select(isOne, one, result);
    rewriter.replaceOp(op, f.narrow(result, op.getType()));
    return success();
  }
};

/// An op that is one instruction. The call survives gpu-to-nvvm, which would
/// turn the math op into a call of NVIDIA's library.
template <typename Op> struct CallIntrinsic : OpRewritePattern<Op> {
  CallIntrinsic(MLIRContext *context, StringRef intrinsic)
      : OpRewritePattern<Op>(context), name(intrinsic) {}
  LogicalResult matchAndRewrite(Op op,
                                PatternRewriter &rewriter) const override {
    auto flags = LLVM::FastmathFlagsAttr::get(
        op.getContext(),
        arith::convertArithFastMathFlagsToLLVM(op.getFastmath()));
    rewriter.replaceOpWithNewOp<LLVM::CallIntrinsicOp>(
        op, op.getType(), rewriter.getStringAttr(name), op->getOperands(),
        flags);
    return success();
  }
  StringRef name;
};

} // namespace

void nag::populateMathToIntrinsicsPatterns(RewritePatternSet &patterns) {
  MLIRContext *context = patterns.getContext();
  patterns.add<CallIntrinsic<math::AbsFOp>>(context, "llvm.fabs");
  patterns.add<CallIntrinsic<math::CeilOp>>(context, "llvm.ceil");
  patterns.add<CallIntrinsic<math::FloorOp>>(context, "llvm.floor");
  patterns.add<CallIntrinsic<math::FmaOp>>(context, "llvm.fma");
  patterns.add<CallIntrinsic<math::RoundEvenOp>>(context, "llvm.roundeven");
  patterns.add<CallIntrinsic<math::SqrtOp>>(context, "llvm.sqrt");
}

void nag::populateMathWithoutLibraryPatterns(RewritePatternSet &patterns) {
  patterns.add<ExpandExp, ExpandPow, ExpandRsqrt, ExpandSine<math::SinOp>,
               ExpandSine<math::CosOp>>(patterns.getContext());
}
