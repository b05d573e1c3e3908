// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which rows of a cache hold which positions, where the layers of a sequence
// share its rows: a token that skips a layer takes no row there (depth routing
// with kv = routed, docs/mathematics.md section 4).
#ifndef NAG_RUNTIME_CACHEROWS_H
#define NAG_RUNTIME_CACHEROWS_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>
#include <optional>
#include <vector>

namespace nag::runtime {

/// Every sequence has `budget` rows. Element [l,b,i] of the table is the row of
/// the i-th position that the next token of sequence b sees in layer l; in what
/// order follows from that sequence alone.
class CacheRows {
public:
  /// Layer l's tokens see `reach[l]` positions before their own at most, of
  /// which the table has room for `width`.
  CacheRows(int64_t batch, int64_t budget, std::vector<int64_t> reach,
            int64_t width);

  /// Forgets a sequence.
  void clear(int64_t sequence);
  /// Frees the rows that a layer's tokens behind `position` do not see.
  void release(int64_t layer, int64_t sequence, int64_t position);
  /// Takes a row for a position that is larger than those before; nothing where
  /// the sequence has none left.
  std::optional<int64_t> take(int64_t layer, int64_t sequence,
                              int64_t position);

  /// Rows that a sequence holds in all layers.
  int64_t countTaken(int64_t sequence) const {
    return budget - int64_t(freeRows[sequence].size());
  }
  int64_t getBudget() const { return budget; }
  /// How far tokens of a layer see.
  int64_t getReach(int64_t layer) const { return reach[layer]; }
  int64_t countLayers() const { return int64_t(reach.size()); }

  llvm::ArrayRef<int32_t> getTable() const { return table; }
  /// Per layer and sequence, how many positions the table has.
  llvm::ArrayRef<int32_t> getCounts() const { return counts; }
  /// Elements of the table that changed since the last call.
  std::vector<size_t> takeChanges();

private:
  size_t getList(int64_t layer, int64_t sequence) const {
    return size_t(layer * batch + sequence);
  }
  void set(size_t element, int32_t row, int64_t position);

  int64_t batch, budget, width;
  std::vector<int64_t> reach;
  /// Beside every element of the table, its position.
  std::vector<int64_t> positions;
  std::vector<int32_t> table, counts;
  std::vector<std::vector<int32_t>> freeRows;
  std::vector<size_t> changes;
};

} // namespace nag::runtime

#endif // NAG_RUNTIME_CACHEROWS_H
