// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Thread code of the attention kernels: the places of heads in buffers, and
// which keys a query sees.
#ifndef NAG_LIB_CONVERSION_NAGTOGPU_ATTENTIONCODE_H
#define NAG_LIB_CONVERSION_NAGTOGPU_ATTENTIONCODE_H

#include "Attention.h"
#include "KernelCode.h"

namespace nag::attention {

using Values = KernelCode::Values;

/// The queries, or the keys, of one sequence: rows one behind the other. Row
/// number i has the position `origin` + i, or, of routed rows, the one that
/// element i of `indices` gives; positions count through all sequences.
struct RowSet {
  /// The first row in the buffers, and how many there are.
  mlir::Value first, count;
  mlir::Value origin;
  /// The pointer to the first row's index; null for rows of all tokens.
  mlir::Value indices;

  bool isRouted() const { return bool(indices); }
};

/// The head of one sequence: a column block of a [B, T, heads*hd] buffer.
struct Head {
  /// The pointer to the sequence's first row.
  mlir::Value start;
  /// Bytes from one row to the next.
  int64_t rowBytes;
  /// The number of rows.
  mlir::Value count;
};

/// Rows of a set from number `first` on.
struct RowRange {
  RowSet set;
  mlir::Value first;
  /// The positions of the first and of the last that exists.
  mlir::Value firstPosition, lastPosition;
};

class AttentionCode : public KernelCode {
public:
  /// Stands for the score of an invisible key; finite, so that no NaN arises.
  static constexpr double kInvisible = -1.0e30;

  AttentionCode(mlir::ImplicitLocOpBuilder &owner, const Sizes &opSizes)
      : KernelCode(owner), sizes(opSizes) {}

  const Sizes &getSizes() const { return sizes; }

  /// The buffers of the route's indices and offsets; nothing else is asked for
  /// routed rows before.
  void setRoute(mlir::ValueRange buffers) {
    if (!buffers.empty())
      std::tie(indices, offsets) = std::make_pair(buffers[0], buffers[1]);
  }
  RowSet getQueries(mlir::Value batch);
  RowSet getKeys(mlir::Value batch);
  /// Of the tiles that a launch has for routed rows, the sequence of number
  /// `tile`, and the tile's number in it. It may lie behind the sequence's
  /// rows.
  std::pair<mlir::Value, mlir::Value> findRoutedTile(mlir::Value tile,
                                                     int64_t rows);

  Head head(mlir::Value buffer, int64_t heads, const RowSet &set,
            mlir::Value head);
  Head head(mlir::Value buffer, int64_t heads, mlir::Value batch,
            mlir::Value which) {
    return head(buffer, heads, getAllRows(batch), which);
  }
  mlir::Value row(const Head &head, mlir::Value number);
  /// The pointer to a head's row of `lse` or `delta`, [B, heads, T] in f32, or
  /// [heads, M] of routed queries.
  mlir::Value headSums(mlir::Value buffer, const RowSet &set, mlir::Value batch,
                       mlir::Value head);

  /// Builds `body`, which needs row number `first` of the set. A routed set
  /// may have fewer rows than its tiles have room for: then only where there
  /// is one.
  void ifHasRow(const RowSet &set, mlir::Value first,
                llvm::function_ref<void()> body);
  /// The position of a row that exists.
  mlir::Value position(const RowSet &set, mlir::Value number);
  RowRange range(const RowSet &set, mlir::Value first, int64_t count);
  /// Where the query sees the key, by their positions; false for every query
  /// before the first and key behind the query.
  mlir::Value sees(mlir::Value query, mlir::Value key);
  /// The keys that `count` queries see, as [begin, end); begin is a multiple of
  /// `step` behind 0.
  std::pair<mlir::Value, mlir::Value> keyRange(const RowRange &queries,
                                               int64_t count,
                                               const RowSet &keys,
                                               int64_t step);
  /// The queries that see one of `count` keys. It may be empty where queries
  /// are routed.
  std::pair<mlir::Value, mlir::Value>
  queryRange(const RowRange &keys, int64_t count, const RowSet &queries);

protected:
  const Sizes sizes;

private:
  RowSet getAllRows(mlir::Value batch);
  RowSet getRoutedRows(mlir::Value batch);
  /// How many rows of a routed set stand before a position.
  mlir::Value countBefore(const RowSet &set, mlir::Value position);

  mlir::Value indices, offsets;
};

} // namespace nag::attention

#endif // NAG_LIB_CONVERSION_NAGTOGPU_ATTENTIONCODE_H
