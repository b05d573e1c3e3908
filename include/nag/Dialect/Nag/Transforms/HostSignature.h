// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The buffers that a compiled function takes: its arguments, then those of its
// results that are in no argument's buffer.
#ifndef NAG_DIALECT_NAG_TRANSFORMS_HOSTSIGNATURE_H
#define NAG_DIALECT_NAG_TRANSFORMS_HOSTSIGNATURE_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <optional>
#include <string>

namespace nag {

class PutOp;

/// The name of an argument in the manifest: its parameter's, else its
/// nag.name, else "arg<index>".
std::string getArgumentBufferName(mlir::func::FuncOp function, unsigned index);
/// The name of a result: its nag.name, else "result<index>".
std::string getResultBufferName(mlir::func::FuncOp function, unsigned index);

/// For each result of `function` the number of the buffer that holds it: that
/// of the argument of the same name when the function is public (an update in
/// place), that of the argument it forwards (nag.forwards), that of the carry
/// that it updates (nag.updates), else one of its own behind the arguments.
llvm::SmallVector<unsigned> getResultBuffers(mlir::func::FuncOp function);

/// On a carry of a layer function: it is updated in place, so that the caller
/// finds other contents there. A unit attribute. Where the carry's result is
/// what became of it, that has nag.updates (a unit attribute here).
inline constexpr llvm::StringLiteral kOverwrittenAttrName = "nag.overwritten";

/// On a destination of a kernel function: launches may have it elsewhere than
/// the input that nag.updates names, and the function then writes the other
/// rows as well. A unit attribute.
inline constexpr llvm::StringLiteral kCarriesAttrName = "nag.carries";

/// True when the destination of `put` in a kernel function has that attribute.
bool isCarried(PutOp put);

/// True when result `index` of a layer function stands in argument `index`,
/// which the function updates.
bool isUpdated(mlir::func::FuncOp callee, unsigned index);

/// The stacked result that holds carry `carry`, where a layer function with so
/// many carries hands it back as one.
std::optional<unsigned> findStackOf(mlir::func::FuncOp callee, unsigned carry,
                                    unsigned numCarry);

/// True when result `index` stands in an argument's buffer because both have
/// one name.
bool isInPlace(mlir::func::FuncOp function, unsigned index);

/// Emits an error where a result's name is that of an argument of another
/// type, or a name is used twice.
llvm::LogicalResult verifyHostSignature(mlir::func::FuncOp function);

} // namespace nag

#endif // NAG_DIALECT_NAG_TRANSFORMS_HOSTSIGNATURE_H
