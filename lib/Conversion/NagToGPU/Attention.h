// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The parts of the attention emitter. Kernels stream tiles of keys past a tile
// of queries (forward, query gradient) or tiles of queries past a tile of keys
// (key and value gradients); no T x T matrix is stored (Dao et al., 2022).
#ifndef NAG_LIB_CONVERSION_NAGTOGPU_ATTENTION_H
#define NAG_LIB_CONVERSION_NAGTOGPU_ATTENTION_H

#include "ThreadCode.h"
#include "nag/Conversion/NagToGPU.h"

#include <cmath>
#include <optional>

namespace nag::attention {

/// Static sizes of one attention op.
struct Sizes {
  int64_t batch, length, heads, kvHeads, headDim;
  std::optional<int64_t> window;
  mlir::FloatType element;

  template <typename AttentionLike> static Sizes of(AttentionLike op) {
    auto type = mlir::cast<mlir::RankedTensorType>(op.getQuery().getType());
    return {type.getDimSize(0),
            type.getDimSize(1),
            int64_t(op.getHeads()),
            int64_t(op.getKvHeads()),
            op.getHeadDim(),
            op.getWindow(),
            mlir::cast<mlir::FloatType>(type.getElementType())};
  }

  /// Query heads that read the same keys.
  int64_t getGroup() const { return heads / kvHeads; }
  /// How many keys a query sees at most: query q sees key k where
  /// 0 <= q - k < span.
  int64_t getSpan() const {
    return window ? std::min(*window, length - 1) + 1 : length;
  }
  int64_t getElementBytes() const {
    return element.getIntOrFloatBitWidth() / 8;
  }
  double getScale() const { return 1 / std::sqrt(double(headDim)); }
  /// Turns q k^T into logarithms to base 2 of unnormalised probabilities.
  double getLog2Scale() const { return M_LOG2E * getScale(); }
};

/// Buffers of an op's operands and results, [B, T, heads*hd] but for
/// `lse` and `delta`, [B, heads, T].
struct Forward {
  mlir::Value query, key, value, result, lse;
};
struct Backward {
  mlir::Value query, key, value, lse, resultGrad;
  /// The sums <result, result_grad> of every row and head.
  mlir::Value delta;
  mlir::Value queryGrad, keyGrad, valueGrad;
};

/// The widest heads that the kernels take: their tiles fit in shared memory,
/// and their sums in registers.
inline constexpr int64_t kMaxHeadDim = 512;

/// Given the schedule of the family attention.
void emitForward(KernelLowering &kernel, const Sizes &sizes,
                 const Forward &buffers, ScheduleAttr schedule);
/// Launches the kernels of dk and dv, and of dq; `delta` is ready. Given the
/// schedule of the family attention_vjp.
void emitBackward(KernelLowering &kernel, const Sizes &sizes,
                  const Backward &buffers, ScheduleAttr schedule);
/// Launches the sums <result, result_grad> over every row's heads.
void emitDelta(KernelLowering &kernel, const Sizes &sizes, mlir::Value result,
               mlir::Value resultGrad, mlir::Value delta);

/// Launches the kernel of one new token per sequence: `sizes.batch` sequences
/// with caches of `sizes.length` rows. `buffers` are the op's operands, then
/// its result.
void emitCached(KernelLowering &kernel, const Sizes &sizes,
                mlir::ValueRange buffers);

} // namespace nag::attention

#endif // NAG_LIB_CONVERSION_NAGTOGPU_ATTENTION_H
