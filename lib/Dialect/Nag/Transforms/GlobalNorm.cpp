// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "GlobalNorm.h"

#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

Value nag::buildGlobalNorm(OpBuilder &builder, Location loc,
                           ValueRange inputs) {
  Value sum;
  for (Value input : inputs) {
    Value square = SquaredNormOp::create(builder, loc, input);
    sum = sum ? arith::AddFOp::create(builder, loc, sum, square) : square;
  }
  return math::SqrtOp::create(builder, loc, sum);
}
