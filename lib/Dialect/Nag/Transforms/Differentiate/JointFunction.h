// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A function together with its reverse pass, before what is saved is decided.
#ifndef NAG_LIB_TRANSFORMS_DIFFERENTIATE_JOINTFUNCTION_H
#define NAG_LIB_TRANSFORMS_DIFFERENTIATE_JOINTFUNCTION_H

#include "CallSite.h"

#include "mlir/IR/OwningOpRef.h"

namespace nag {

/// Which derivative of a function is wanted.
struct DerivativeRequest {
  mlir::func::FuncOp function;
  CallShape shape;
  /// The arguments whose cotangents are wanted.
  llvm::BitVector arguments;
  /// The results whose cotangents are given; the others' are zero.
  llvm::BitVector results;
  /// The arguments that are still in memory when the backward pass runs.
  llvm::BitVector freeArguments;

  /// An op handle that const code may use.
  mlir::func::FuncOp getFunction() const { return function; }
  bool operator==(const DerivativeRequest &other) const;
};

/// The derivative of a function that is called. A stream counts as two tensors,
/// direction and log-norm. "Active" means requested.
struct Derivative {
  /// `forward(arguments) -> (results, residuals)`.
  mlir::func::FuncOp forward;
  /// `backward(cotangents of the active carry results, sums so far of the
  /// active shared arguments' cotangents, residuals, needed slices, cotangents
  /// of the active other results, needed shared arguments) -> (cotangents of
  /// the active carry, sums of the active shared arguments, cotangents of the
  /// active slices)`.
  mlir::func::FuncOp backward;
  unsigned numResiduals = 0;
  /// The arguments that the backward pass reads again.
  llvm::BitVector neededArguments;
};

using DerivativeProvider =
    llvm::function_ref<mlir::FailureOr<Derivative>(const DerivativeRequest &)>;

/// `f(arguments, cotangents) -> (results, gradients)`: the cotangents of the
/// active results follow the arguments, those of the active arguments the
/// results. Ops that depend on no cotangent belong to either pass.
class JointFunction {
public:
  JointFunction(mlir::OwningOpRef<mlir::func::FuncOp> joint,
                const DerivativeRequest &request);

  mlir::Block &getBody() const { return function.get().getBody().front(); }
  mlir::Operation *getReturn() const { return getBody().getTerminator(); }
  mlir::ValueRange getArguments() const;
  mlir::ValueRange getCotangents() const;
  mlir::ValueRange getResults() const;
  mlir::ValueRange getGradients() const;
  const DerivativeRequest &getRequest() const { return request; }

private:
  mlir::OwningOpRef<mlir::func::FuncOp> function;
  DerivativeRequest request;
};

/// Builds the joint function. `derivatives` yields those of the callees.
mlir::FailureOr<JointFunction> buildJoint(const DerivativeRequest &request,
                                          mlir::SymbolTable &symbols,
                                          DerivativeProvider derivatives);

} // namespace nag

#endif // NAG_LIB_TRANSFORMS_DIFFERENTIATE_JOINTFUNCTION_H
