// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The parts of the attention emitter. Kernels stream tiles of keys past a tile
// of queries (forward, query gradient) or tiles of queries past a tile of keys
// (key and value gradients); no T x T matrix is stored (Dao et al., 2022).
#ifndef NAG_LIB_CONVERSION_NAGTOGPU_ATTENTION_H
#define NAG_LIB_CONVERSION_NAGTOGPU_ATTENTION_H

#include "ThreadCode.h"
#include "nag/Conversion/NagToGPU.h"

#include "llvm/Support/MathExtras.h"

#include <cmath>
#include <limits>
#include <optional>

namespace nag::attention {

/// Static sizes of one attention op.
struct Sizes {
  int64_t batch, length, heads, kvHeads, headDim;
  std::optional<int64_t> window;
  mlir::FloatType element;
  /// Routed queries, of all sequences together; 0 where all tokens are queries.
  int64_t routedRows = 0;
  /// Keys and values are those of routed tokens too; `length` is `routedRows`.
  bool routesKeys = false;

  template <typename AttentionLike> static Sizes of(AttentionLike op) {
    auto type = mlir::cast<mlir::RankedTensorType>(op.getQuery().getType());
    Sizes sizes{type.getDimSize(0),
                type.getDimSize(1),
                int64_t(op.getHeads()),
                int64_t(op.getKvHeads()),
                op.getHeadDim(),
                op.getWindow(),
                mlir::cast<mlir::FloatType>(type.getElementType())};
    if (op.getRoute().empty() || type.getRank() != 2)
      return sizes;
    auto keys = mlir::cast<mlir::RankedTensorType>(op.getKey().getType());
    auto offsets =
        mlir::cast<mlir::RankedTensorType>(op.getRoute()[1].getType());
    sizes.routedRows = type.getDimSize(0);
    sizes.routesKeys = keys.getRank() == 2;
    sizes.batch = offsets.getDimSize(0) - 1;
    sizes.length = sizes.routesKeys ? sizes.routedRows : keys.getDimSize(1);
    return sizes;
  }

  /// Query heads that read the same keys.
  int64_t getGroup() const { return heads / kvHeads; }
  bool isRouted() const { return routedRows > 0; }
  /// How many tiles of `rows` rows a launch has for one head's routed rows, as
  /// every sequence may end within one.
  int64_t countRoutedTiles(int64_t rows) const {
    return llvm::divideCeil(routedRows, rows) + batch - 1;
  }
  /// Query q sees key k where 0 <= q - k < span. Routed keys stand further
  /// apart than they are many.
  int64_t getSpan() const {
    if (routesKeys)
      return window ? *window + 1 : std::numeric_limits<int32_t>::max();
    return window ? std::min(*window, length - 1) + 1 : length;
  }
  bool hasWindow() const {
    return routesKeys ? window.has_value() : getSpan() < length;
  }
  int64_t getElementBytes() const {
    return element.getIntOrFloatBitWidth() / 8;
  }
  double getScale() const { return 1 / std::sqrt(double(headDim)); }
  /// Turns q k^T into logarithms to base 2 of unnormalised probabilities.
  double getLog2Scale() const { return M_LOG2E * getScale(); }
};

/// Buffers of an op's operands and results, [B, T, heads*hd] but for
/// `lse` and `delta`, [B, heads, T]. With routed queries, [M, heads*hd] and
/// [heads, M]; `route` holds their indices and offsets.
struct Forward {
  mlir::Value query, key, value, result, lse;
  llvm::SmallVector<mlir::Value> route;
};
struct Backward {
  mlir::Value query, key, value, result, resultGrad, lse;
  /// Scratch memory for the sums <result, result_grad> of every row and head.
  mlir::Value delta;
  mlir::Value queryGrad, keyGrad, valueGrad;
  llvm::SmallVector<mlir::Value> route;
};

/// The widest heads that the kernels take: their tiles fit in shared memory,
/// and their sums in registers.
inline constexpr int64_t kMaxHeadDim = 512;

/// Given the schedule of the family attention.
void emitForward(KernelLowering &kernel, const Sizes &sizes,
                 const Forward &buffers, ScheduleAttr schedule);
/// Launches the kernels of dq, and of dk and dv. Given the schedule of the
/// family attention_vjp.
void emitBackward(KernelLowering &kernel, const Sizes &sizes,
                  const Backward &buffers, ScheduleAttr schedule);

/// What caches of keys and values hold of a sequence.
struct CacheSizes {
  /// Positions at most.
  int64_t capacity;
  /// A table says in which rows they are.
  bool isShared;
};

/// Launches the kernel of one new token per sequence: `sizes.batch` sequences
/// with caches of `sizes.length` rows. `buffers` are the op's operands, its
/// result, its route, and the table of rows where the cache is shared.
void emitCached(KernelLowering &kernel, const Sizes &sizes,
                const CacheSizes &cache, mlir::ValueRange buffers,
                int64_t warps);
/// The shared memory of its blocks.
int64_t getCachedSharedBytes(const Sizes &sizes, int64_t warps);

} // namespace nag::attention

#endif // NAG_LIB_CONVERSION_NAGTOGPU_ATTENTION_H
