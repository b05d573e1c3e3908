// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How many kernels a program launches, once kernels are outlined.
#ifndef NAG_DIALECT_NAG_TRANSFORMS_LAUNCHES_H
#define NAG_DIALECT_NAG_TRANSFORMS_LAUNCHES_H

#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/IR/BuiltinOps.h"

namespace nag {

/// What a nag.launch of a kernel counts for: 1, or on a device the launches of
/// the kernel's functions.
using LaunchCount = llvm::function_ref<int64_t(LaunchOp)>;

/// Launches of one call of `function`: a nag.repeat counts as often as it runs,
/// callees are looked up in the function's module.
int64_t countLaunches(mlir::func::FuncOp function, LaunchCount count);

/// Prints "launches @f: n" for each public function and "distinct kernels: k".
void printLaunches(mlir::ModuleOp program, LaunchCount count,
                   int64_t distinctKernels);

} // namespace nag

#endif // NAG_DIALECT_NAG_TRANSFORMS_LAUNCHES_H
