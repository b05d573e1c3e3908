// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// convert-math-to-polynomials: f32 math functions as arithmetic that vectors
// do as well as scalars.
#include "WithoutLibrary.h"
#include "nag/Conversion/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/TypeUtilities.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

namespace nag {
#define GEN_PASS_DEF_CONVERTMATHTOPOLYNOMIALS
#include "nag/Conversion/Passes.h.inc"
} // namespace nag

using namespace mlir;

/// Functions whose polynomials are exact to a few units in the last place.
static constexpr StringLiteral kFunctions[] = {
    math::ExpOp::getOperationName(), math::ErfOp::getOperationName(),
    math::LogOp::getOperationName(), math::Log1pOp::getOperationName(),
    math::TanhOp::getOperationName()};

namespace {

struct ConvertMathToPolynomialsPass
    : nag::impl::ConvertMathToPolynomialsBase<ConvertMathToPolynomialsPass> {
  using ConvertMathToPolynomialsBase::ConvertMathToPolynomialsBase;

  void runOnOperation() override {
    if (withoutLibrary)
      rewrite(nag::populateMathWithoutLibraryPatterns);
    expandPolynomials();
    if (withoutLibrary)
      rewrite(nag::populateMathToIntrinsicsPatterns);
  }

private:
  void rewrite(function_ref<void(RewritePatternSet &)> populate) {
    RewritePatternSet patterns(&getContext());
    populate(patterns);
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }

  void expandPolynomials() {
    SmallVector<Operation *> functions;
    getOperation()->walk([&](Operation *op) {
      if (llvm::is_contained(kFunctions, op->getName().getStringRef()) &&
          getElementTypeOrSelf(op->getResult(0)).isF32())
        functions.push_back(op);
    });
    RewritePatternSet patterns(&getContext());
    populateMathPolynomialApproximationPatterns(patterns, [](StringRef name) {
      return llvm::is_contained(kFunctions, name);
    });
    (void)applyOpPatternsGreedily(functions, std::move(patterns));
  }
};

} // namespace
