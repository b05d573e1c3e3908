// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the CPU computes in f32 though the program stores it as bf16.
#ifndef NAG_PIPELINES_CPUPRECISION_H
#define NAG_PIPELINES_CPUPRECISION_H

#include "mlir/Pass/PassManager.h"

namespace nag {

/// Comes before buildPlanPipeline: the CPU has no bf16 products, so sums over
/// more than a row read and compute f32.
void buildCPUPrecisionPipeline(mlir::OpPassManager &manager);

} // namespace nag

#endif // NAG_PIPELINES_CPUPRECISION_H
