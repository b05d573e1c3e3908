// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef NAG_CONVERSION_MATHTOPOLYNOMIALS_WITHOUTLIBRARY_H
#define NAG_CONVERSION_MATHTOPOLYNOMIALS_WITHOUTLIBRARY_H

#include "mlir/IR/PatternMatch.h"

namespace nag {

/// Expands math.exp of f64, math.sin, math.cos, math.rsqrt and math.powf of
/// f32 to arithmetic.
void populateMathWithoutLibraryPatterns(mlir::RewritePatternSet &patterns);

/// Makes the math ops that are one instruction calls of LLVM's intrinsics.
void populateMathToIntrinsicsPatterns(mlir::RewritePatternSet &patterns);

} // namespace nag

#endif // NAG_CONVERSION_MATHTOPOLYNOMIALS_WITHOUTLIBRARY_H
