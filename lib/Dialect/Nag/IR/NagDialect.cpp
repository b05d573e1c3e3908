// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Registration of the dialect's ops, types and attributes.
#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "RowRoles.h"
#include "nag/Dialect/Nag/IR/NagGeneration.h"
#include "nag/Dialect/Nag/IR/NagSchedule.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace nag;

#include "nag/Dialect/Nag/IR/NagDialect.cpp.inc"
#include "nag/Dialect/Nag/IR/NagEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "nag/Dialect/Nag/IR/NagAttributes.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "nag/Dialect/Nag/IR/NagTypes.cpp.inc"

void NagDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "nag/Dialect/Nag/IR/NagAttributes.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "nag/Dialect/Nag/IR/NagTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "nag/Dialect/Nag/IR/NagOps.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "nag/Dialect/Nag/IR/NagGenerationOps.cpp.inc"
      >();
  attachElementwiseRows(*getContext());
}

Type nag::getComputeType(Type type) {
  return type.isBF16() ? Float32Type::get(type.getContext()) : type;
}
