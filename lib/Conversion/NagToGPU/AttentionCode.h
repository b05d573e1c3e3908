// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Thread code of the attention kernels: the places of heads in buffers, and
// which keys a query sees.
#ifndef NAG_LIB_CONVERSION_NAGTOGPU_ATTENTIONCODE_H
#define NAG_LIB_CONVERSION_NAGTOGPU_ATTENTIONCODE_H

#include "Attention.h"
#include "KernelCode.h"

namespace nag::attention {

using Values = KernelCode::Values;

/// The head of one sequence: a column block of a [B, T, heads*hd] buffer.
struct Head {
  /// The pointer to position 0.
  mlir::Value start;
  /// Bytes from one position to the next.
  int64_t rowBytes;
};

class AttentionCode : public KernelCode {
public:
  /// Stands for the score of an invisible key; finite, so that no NaN arises.
  static constexpr double kInvisible = -1.0e30;

  AttentionCode(mlir::ImplicitLocOpBuilder &owner, const Sizes &opSizes)
      : KernelCode(owner), sizes(opSizes) {}

  const Sizes &getSizes() const { return sizes; }

  Head head(mlir::Value buffer, int64_t heads, mlir::Value batch,
            mlir::Value head);
  mlir::Value row(const Head &head, mlir::Value position);
  /// The pointer to a head's row of `lse` or `delta`, [B, heads, T] in f32.
  mlir::Value headSums(mlir::Value buffer, mlir::Value batch, mlir::Value head);

  /// Where the query sees the key; false for every query before the first and
  /// key behind the query. Positions behind the end count.
  mlir::Value sees(mlir::Value query, mlir::Value key);
  /// The keys that the queries [first, first + count) see, as [begin, end);
  /// begin is a multiple of `step` behind 0.
  std::pair<mlir::Value, mlir::Value> keyRange(mlir::Value first, int64_t count,
                                               int64_t step);
  /// The queries that see a key of [first, first + count); begin is `first`.
  std::pair<mlir::Value, mlir::Value> queryRange(mlir::Value first,
                                                 int64_t count);

protected:
  const Sizes sizes;
};

} // namespace nag::attention

#endif // NAG_LIB_CONVERSION_NAGTOGPU_ATTENTIONCODE_H
