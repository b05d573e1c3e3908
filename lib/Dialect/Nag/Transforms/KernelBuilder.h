// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Wraps groups of ops in nag.kernel.
#ifndef NAG_LIB_TRANSFORMS_KERNELBUILDER_H
#define NAG_LIB_TRANSFORMS_KERNELBUILDER_H

#include "KernelGraph.h"

namespace nag {

/// True for ops that every kernel that needs them repeats: empty tensors and
/// scalars.
bool isRepeatedInKernel(mlir::Operation *op);

/// Wraps the ops of one group in a nag.kernel at the builder's place, products
/// first. With `keepProducts`, a product's result is a result of the kernel
/// unless a row-wise op of the group may overwrite it. `replaced` knows what
/// stands for results of kernels built before, and is told this one's.
void buildKernel(mlir::OpBuilder &builder, const KernelGroup &group,
                 bool keepProducts,
                 llvm::DenseMap<mlir::Value, mlir::Value> &replaced);

/// The names of the group's ops, the middle ones left out where there are many.
std::string getKernelName(const KernelGroup &group);

} // namespace nag

#endif // NAG_LIB_TRANSFORMS_KERNELBUILDER_H
