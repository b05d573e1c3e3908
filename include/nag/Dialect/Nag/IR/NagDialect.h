// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The nag dialect: types, attributes and ops for norm-agnostic residual
// transformers.
#ifndef NAG_DIALECT_NAG_IR_NAGDIALECT_H
#define NAG_DIALECT_NAG_IR_NAGDIALECT_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/IR/Attributes.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "nag/Interfaces/NagInterfaces.h"

namespace nag {
/// A double that attributes can hold: uniqued by its bits.
struct Real {
  double value = 0;
  Real(double number = 0) : value(number) {}
  operator double() const { return value; }
  bool operator==(const Real &other) const {
    return llvm::bit_cast<uint64_t>(value) ==
           llvm::bit_cast<uint64_t>(other.value);
  }
};
inline llvm::hash_code hash_value(const Real &real) {
  return llvm::hash_value(llvm::bit_cast<uint64_t>(real.value));
}
mlir::AsmPrinter &operator<<(mlir::AsmPrinter &printer, const Real &real);
} // namespace nag

namespace mlir {
template <> struct FieldParser<nag::Real> {
  static FailureOr<nag::Real> parse(AsmParser &parser) {
    nag::Real real;
    if (parser.parseFloat(real.value))
      return failure();
    return real;
  }
};
} // namespace mlir

#include "nag/Dialect/Nag/IR/NagDialect.h.inc"
#include "nag/Dialect/Nag/IR/NagEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "nag/Dialect/Nag/IR/NagAttributes.h.inc"
#define GET_TYPEDEF_CLASSES
#include "nag/Dialect/Nag/IR/NagTypes.h.inc"
#define GET_OP_CLASSES
#include "nag/Dialect/Nag/IR/NagOps.h.inc"

namespace nag {

/// Names of the discardable attributes the dialect owns.
/// On a function argument: NagParamAttr.
inline constexpr llvm::StringLiteral kParamAttrName = "nag.param";
/// On a function argument or result: its name in the program's manifest, a
/// string.
inline constexpr llvm::StringLiteral kNameAttrName = "nag.name";
/// On the module: dictionary from optimizer group names to NagGroupAttr.
inline constexpr llvm::StringLiteral kGroupsAttrName = "nag.groups";
/// On the module: dictionary, the configuration the model was built from.
inline constexpr llvm::StringLiteral kConfigAttrName = "nag.config";
/// On a function made by -nag-outline-kernels: unit attribute.
inline constexpr llvm::StringLiteral kKernelAttrName = "nag.kernel";
/// The nested module of those functions, and the unit attribute on it.
inline constexpr llvm::StringLiteral kKernelsModuleName = "kernels";
inline constexpr llvm::StringLiteral kKernelsAttrName = "nag.kernels";
/// On a destination of such a function: the input whose memory it may take.
inline constexpr llvm::StringLiteral kSharesAttrName = "nag.shares";
/// On such a destination: the input whose contents must stand in it at entry;
/// the function writes some of its rows alone.
inline constexpr llvm::StringLiteral kUpdatesAttrName = "nag.updates";
/// On nag.kernel: the number of the operand, and on the function made of it the
/// argument (a unit attribute), that holds the offsets of routed rows: of all
/// tensors with its rows only the first offsets[B] count. On an op of a kernel
/// whose ops have rows of different counts: the number of its own.
inline constexpr llvm::StringLiteral kRowCountAttrName = "nag.row_count";
/// On a function made of a nag.kernel with such rows: the share of them that is
/// expected to count.
inline constexpr llvm::StringLiteral kExpectedShareAttrName =
    "nag.expected_share";
/// On ops of the host program, by -nag-plan-buffers: one NagSlotAttr per
/// tensor result.
inline constexpr llvm::StringLiteral kSlotsAttrName = "nag.slots";
/// On nag.repeat: per carry, the slots of its first and its second iteration's
/// result; later iterations alternate.
inline constexpr llvm::StringLiteral kCarrySlotsAttrName = "nag.carry_slots";
/// On nag.repeat and func.call: the slot of the callee's workspace.
inline constexpr llvm::StringLiteral kCalleeSlotAttrName = "nag.callee_slot";
/// On a result of a layer function: the number of the argument that it is; the
/// caller finds it there.
inline constexpr llvm::StringLiteral kForwardsAttrName = "nag.forwards";
/// On a function: bytes of workspace it needs, its callees' included.
inline constexpr llvm::StringLiteral kWorkspaceAttrName = "nag.workspace_bytes";

/// The type in which a row of elements `type` is computed: f32 for bf16, else
/// the type itself.
mlir::Type getComputeType(mlir::Type type);

/// The row spaces of a row-wise op or of a RowSpaceOpInterface; none for
/// others.
llvm::SmallVector<RowSpace> getRowSpaces(mlir::Operation *op);

/// True when `indices` and `offsets` are constants that execute every token in
/// its place.
bool isIdentityRoute(mlir::Value indices, mlir::Value offsets);

} // namespace nag

#endif // NAG_DIALECT_NAG_IR_NAGDIALECT_H
