// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/CacheRows.h"

using namespace nag::runtime;

CacheRows::CacheRows(int64_t sequences, int64_t rows,
                     std::vector<int64_t> distances, int64_t columns)
    : batch(sequences), budget(rows), width(columns),
      reach(std::move(distances)), positions(reach.size() * batch * width, -1),
      table(reach.size() * batch * width, 0), counts(reach.size() * batch, 0),
      freeRows(batch) {
  for (int64_t sequence = 0; sequence < batch; ++sequence)
    clear(sequence);
}

void CacheRows::clear(int64_t sequence) {
  for (int64_t layer = 0; layer < countLayers(); ++layer)
    counts[getList(layer, sequence)] = 0;
  std::vector<int32_t> &free = freeRows[sequence];
  free.clear();
  for (int64_t row = budget - 1; row >= 0; --row)
    free.push_back(int32_t(row));
}

void CacheRows::set(size_t element, int32_t row, int64_t position) {
  table[element] = row;
  positions[element] = position;
  changes.push_back(element);
}

/// The last element takes the place of one that goes.
void CacheRows::release(int64_t layer, int64_t sequence, int64_t position) {
  size_t list = getList(layer, sequence), first = list * width;
  for (int32_t i = 0; i < counts[list];) {
    if (positions[first + i] > position - reach[layer]) {
      ++i;
      continue;
    }
    freeRows[sequence].push_back(table[first + i]);
    size_t last = first + --counts[list];
    if (last != first + i)
      set(first + i, table[last], positions[last]);
  }
}

std::optional<int64_t> CacheRows::take(int64_t layer, int64_t sequence,
                                       int64_t position) {
  std::vector<int32_t> &free = freeRows[sequence];
  size_t list = getList(layer, sequence);
  if (free.empty() || counts[list] >= width)
    return std::nullopt;
  int32_t row = free.back();
  free.pop_back();
  set(list * width + counts[list]++, row, position);
  return row;
}

std::vector<size_t> CacheRows::takeChanges() {
  std::vector<size_t> taken;
  std::swap(taken, changes);
  return taken;
}
