// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Derivatives of the float ops of arith and math, on scalars and on tensors.
#include "Models.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nag;

namespace {

/// Short names for the arithmetic that the rules below are written in.
struct Arithmetic : ImplicitLocOpBuilder {
  using ImplicitLocOpBuilder::ImplicitLocOpBuilder;

  Value constant(Type type, double value) {
    auto element = FloatAttr::get(getElementTypeOrSelf(type), value);
    if (auto shaped = dyn_cast<ShapedType>(type))
      return arith::ConstantOp::create(*this,
                                       DenseElementsAttr::get(shaped, element));
    return arith::ConstantOp::create(*this, element);
  }
  Value add(Value x, Value y) { return arith::AddFOp::create(*this, x, y); }
  Value sub(Value x, Value y) { return arith::SubFOp::create(*this, x, y); }
  Value mul(Value x, Value y) { return arith::MulFOp::create(*this, x, y); }
  Value div(Value x, Value y) { return arith::DivFOp::create(*this, x, y); }
  Value neg(Value x) { return arith::NegFOp::create(*this, x); }
  Value add(Value x, double y) { return add(x, constant(x.getType(), y)); }
  Value mul(Value x, double y) { return mul(x, constant(x.getType(), y)); }
  Value compare(arith::CmpFPredicate predicate, Value x, Value y) {
    return arith::CmpFOp::create(*this, predicate, x, y);
  }
  Value select(Value condition, Value x, Value y) {
    return arith::SelectOp::create(*this, condition, x, y);
  }
};

using Values = SmallVector<Value>;

/// The model of an op with one result, made from a rule: operands' cotangents
/// from that of the result, null where there is none.
template <typename OpTy, Values (*rule)(Arithmetic &, OpTy, Value)>
struct Model
    : DifferentiableOpInterface::ExternalModel<Model<OpTy, rule>, OpTy> {
  Cotangents buildVJP(Operation *op, OpBuilder &builder,
                      ArrayRef<Cotangent> cotangents) const {
    Arithmetic b(op->getLoc(), builder);
    return llvm::map_to_vector(rule(b, cast<OpTy>(op), cotangents[0].value),
                               tensorCotangent);
  }
};

//===----------------------------------------------------------------------===//
// arith
//===----------------------------------------------------------------------===//

Values constantRule(Arithmetic &, arith::ConstantOp, Value) { return {}; }

Values addRule(Arithmetic &, arith::AddFOp, Value dy) { return {dy, dy}; }

Values subRule(Arithmetic &b, arith::SubFOp, Value dy) {
  return {dy, b.neg(dy)};
}

Values mulRule(Arithmetic &b, arith::MulFOp op, Value dy) {
  return {b.mul(dy, op.getRhs()), b.mul(dy, op.getLhs())};
}

Values divRule(Arithmetic &b, arith::DivFOp op, Value dy) {
  Value dx = b.div(dy, op.getRhs());
  return {dx, b.neg(b.mul(dx, op.getResult()))};
}

Values negRule(Arithmetic &b, arith::NegFOp, Value dy) { return {b.neg(dy)}; }

/// The operand that `predicate` prefers gets the cotangent.
Values choose(Arithmetic &b, arith::CmpFPredicate predicate, Value lhs,
              Value rhs, Value dy) {
  Value first = b.compare(predicate, lhs, rhs);
  Value zero = b.constant(dy.getType(), 0.0);
  return {b.select(first, dy, zero), b.select(first, zero, dy)};
}

Values maximumRule(Arithmetic &b, arith::MaximumFOp op, Value dy) {
  return choose(b, arith::CmpFPredicate::OGE, op.getLhs(), op.getRhs(), dy);
}

Values minimumRule(Arithmetic &b, arith::MinimumFOp op, Value dy) {
  return choose(b, arith::CmpFPredicate::OLE, op.getLhs(), op.getRhs(), dy);
}

Values selectRule(Arithmetic &b, arith::SelectOp op, Value dy) {
  Value zero = b.constant(dy.getType(), 0.0);
  return {Value(), b.select(op.getCondition(), dy, zero),
          b.select(op.getCondition(), zero, dy)};
}

Values extRule(Arithmetic &b, arith::ExtFOp op, Value dy) {
  return {arith::TruncFOp::create(b, op.getIn().getType(), dy)};
}

Values truncRule(Arithmetic &b, arith::TruncFOp op, Value dy) {
  return {arith::ExtFOp::create(b, op.getIn().getType(), dy)};
}

//===----------------------------------------------------------------------===//
// math
//===----------------------------------------------------------------------===//

Values expRule(Arithmetic &b, math::ExpOp op, Value dy) {
  return {b.mul(dy, op.getResult())};
}

Values expm1Rule(Arithmetic &b, math::ExpM1Op op, Value dy) {
  return {b.mul(dy, b.add(op.getResult(), 1.0))};
}

Values logRule(Arithmetic &b, math::LogOp op, Value dy) {
  return {b.div(dy, op.getOperand())};
}

Values log1pRule(Arithmetic &b, math::Log1pOp op, Value dy) {
  return {b.div(dy, b.add(op.getOperand(), 1.0))};
}

Values tanhRule(Arithmetic &b, math::TanhOp op, Value dy) {
  Value y = op.getResult();
  return {b.sub(dy, b.mul(dy, b.mul(y, y)))};
}

Values sqrtRule(Arithmetic &b, math::SqrtOp op, Value dy) {
  return {b.div(b.mul(dy, 0.5), op.getResult())};
}

Values rsqrtRule(Arithmetic &b, math::RsqrtOp op, Value dy) {
  Value y = op.getResult();
  return {b.mul(b.mul(dy, -0.5), b.mul(y, b.mul(y, y)))};
}

Values absRule(Arithmetic &b, math::AbsFOp op, Value dy) {
  Value x = op.getOperand(), zero = b.constant(dy.getType(), 0.0);
  Value positive = b.compare(arith::CmpFPredicate::OGT, x, zero);
  Value negative = b.compare(arith::CmpFPredicate::OLT, x, zero);
  return {b.select(positive, dy, b.select(negative, b.neg(dy), zero))};
}

Values sinRule(Arithmetic &b, math::SinOp op, Value dy) {
  return {b.mul(dy, math::CosOp::create(b, op.getOperand()))};
}

Values cosRule(Arithmetic &b, math::CosOp op, Value dy) {
  return {b.neg(b.mul(dy, math::SinOp::create(b, op.getOperand())))};
}

Values erfRule(Arithmetic &b, math::ErfOp op, Value dy) {
  constexpr double kTwoOverSqrtPi = 1.1283791670955126;
  Value x = op.getOperand();
  Value density = math::ExpOp::create(b, b.neg(b.mul(x, x)));
  return {b.mul(dy, b.mul(density, kTwoOverSqrtPi))};
}

/// Of x^y; the derivative by y is 0 where x is not positive.
Values powRule(Arithmetic &b, math::PowFOp op, Value dy) {
  Value x = op.getLhs(), y = op.getRhs();
  Value power = math::PowFOp::create(b, x, b.add(y, -1.0));
  Value zero = b.constant(dy.getType(), 0.0);
  Value positive = b.compare(arith::CmpFPredicate::OGT, x, zero);
  Value log = math::LogOp::create(b, x);
  Value byExponent = b.mul(dy, b.mul(op.getResult(), log));
  return {b.mul(dy, b.mul(y, power)), b.select(positive, byExponent, zero)};
}

Values fmaRule(Arithmetic &b, math::FmaOp op, Value dy) {
  return {b.mul(dy, op.getB()), b.mul(dy, op.getA()), dy};
}

template <typename OpTy, Values (*rule)(Arithmetic &, OpTy, Value)>
void attach(MLIRContext *context) {
  OpTy::template attachInterface<Model<OpTy, rule>>(*context);
}

} // namespace

void nag::registerElementwiseModels(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, arith::ArithDialect *) {
    attach<arith::ConstantOp, constantRule>(context);
    attach<arith::AddFOp, addRule>(context);
    attach<arith::SubFOp, subRule>(context);
    attach<arith::MulFOp, mulRule>(context);
    attach<arith::DivFOp, divRule>(context);
    attach<arith::NegFOp, negRule>(context);
    attach<arith::MaximumFOp, maximumRule>(context);
    attach<arith::MinimumFOp, minimumRule>(context);
    attach<arith::SelectOp, selectRule>(context);
    attach<arith::ExtFOp, extRule>(context);
    attach<arith::TruncFOp, truncRule>(context);
  });
  registry.addExtension(+[](MLIRContext *context, math::MathDialect *) {
    attach<math::ExpOp, expRule>(context);
    attach<math::ExpM1Op, expm1Rule>(context);
    attach<math::LogOp, logRule>(context);
    attach<math::Log1pOp, log1pRule>(context);
    attach<math::TanhOp, tanhRule>(context);
    attach<math::SqrtOp, sqrtRule>(context);
    attach<math::RsqrtOp, rsqrtRule>(context);
    attach<math::AbsFOp, absRule>(context);
    attach<math::SinOp, sinRule>(context);
    attach<math::CosOp, cosRule>(context);
    attach<math::ErfOp, erfRule>(context);
    attach<math::PowFOp, powRule>(context);
    attach<math::FmaOp, fmaRule>(context);
  });
}
