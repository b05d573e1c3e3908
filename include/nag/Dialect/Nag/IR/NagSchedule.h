// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// #nag.schedule: how GPU kernels are cut (NagSchedule.td).
#ifndef NAG_DIALECT_NAG_IR_NAGSCHEDULE_H
#define NAG_DIALECT_NAG_IR_NAGSCHEDULE_H

#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "llvm/Support/Error.h"

namespace llvm::json {
class Value;
} // namespace llvm::json

namespace nag {

/// On the op that leads a launch, on a kernel function for all such ops of its
/// family, and on device functions.
inline constexpr llvm::StringLiteral kScheduleAttrName = "nag.schedule";

/// The emitter that a schedule is for.
enum class ScheduleFamily {
  Gemm,
  Attention,
  AttentionVJP,
  CachedAttention,
  EmbeddingVJP,
  Rows,
  RowParts
};

/// A field of a family's schedules: `count` integers in [least, most].
struct ScheduleField {
  llvm::StringLiteral name;
  unsigned count;
  int64_t least, most;
  bool isPowerOf2 = false;
  /// 1 where the field does not stand.
  bool isOptional = false;
};

/// "gemm", "attention", "attention_vjp", "cached_attention", "embedding_vjp",
/// "rows", "row_parts"; the inverse yields nothing for
/// other names.
llvm::StringRef stringifyScheduleFamily(ScheduleFamily family);
std::optional<ScheduleFamily> symbolizeScheduleFamily(llvm::StringRef name);
/// The names of all families, for messages.
std::string listScheduleFamilies();
/// The fields in the order of ScheduleAttr::getValues.
llvm::ArrayRef<ScheduleField> getScheduleFields(ScheduleFamily family);

class ScheduleAttr;
/// {"family": "gemm", "tile": [128, 256, 32], ...}.
llvm::json::Value toJSON(ScheduleAttr schedule);
/// The inverse. Fails on other fields, values and constraints: "field 'tile':
/// expected 3 integers, but got 2".
llvm::Expected<ScheduleAttr> parseSchedule(const llvm::json::Value &value,
                                           mlir::MLIRContext *context);

} // namespace nag

#define GET_ATTRDEF_CLASSES
#include "nag/Dialect/Nag/IR/NagSchedule.h.inc"

#endif // NAG_DIALECT_NAG_IR_NAGSCHEDULE_H
