// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which values take part in a derivative.
#ifndef NAG_LIB_TRANSFORMS_DIFFERENTIATE_ACTIVITY_H
#define NAG_LIB_TRANSFORMS_DIFFERENTIATE_ACTIVITY_H

#include "CallSite.h"

namespace nag {

/// What flows through one call site: operands and results that are active.
struct CallActivity {
  llvm::BitVector operands;
  llvm::BitVector results;

  bool any() const { return operands.any() && results.any(); }
};

/// A value is active when it depends on one of the differentiated arguments and
/// one of the differentiated results depends on it. Looks through calls; the
/// call graph must have passed verifyCallGraph.
class Activity {
public:
  Activity(mlir::func::FuncOp function, const llvm::BitVector &arguments,
           const llvm::BitVector &results, mlir::SymbolTable &table);

  bool isActive(mlir::Value value) const {
    return varied.contains(value) && useful.contains(value);
  }

  CallActivity getCallActivity(const CallSite &call) const;

private:
  llvm::DenseSet<mlir::Value> varied, useful;
  mlir::SymbolTable &symbols;
};

} // namespace nag

#endif // NAG_LIB_TRANSFORMS_DIFFERENTIATE_ACTIVITY_H
