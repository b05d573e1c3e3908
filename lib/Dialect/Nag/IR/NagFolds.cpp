// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Dialect/Nag/IR/NagDialect.h"

using namespace mlir;
using namespace nag;

OpFoldResult ConstrainOp::fold(FoldAdaptor) { return {}; }
OpFoldResult DirectionOp::fold(FoldAdaptor) { return {}; }
OpFoldResult LogNormOp::fold(FoldAdaptor) { return {}; }
OpFoldResult MakeStreamOp::fold(FoldAdaptor) { return {}; }
void RotaryOp::getCanonicalizationPatterns(RewritePatternSet &, MLIRContext *) {
}
