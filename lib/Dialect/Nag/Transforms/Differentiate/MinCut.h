// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Minimum cuts of small directed graphs.
#ifndef NAG_LIB_TRANSFORMS_DIFFERENTIATE_MINCUT_H
#define NAG_LIB_TRANSFORMS_DIFFERENTIATE_MINCUT_H

#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/SmallVector.h"
#include <cstdint>

namespace nag {

/// A flow network with integer capacities, solved by Dinic's algorithm.
class FlowNetwork {
public:
  /// A capacity that no cut pays.
  static constexpr int64_t kUnlimited = INT64_MAX / 4;

  unsigned addNode();
  void addEdge(unsigned from, unsigned to, int64_t capacity);

  /// Saturates the network and returns the nodes on the sink's side of the
  /// minimum cut that lies closest to the sink.
  llvm::BitVector cutNearSink(unsigned source, unsigned sink);

private:
  struct Edge {
    unsigned to;
    int64_t capacity;
  };

  bool computeLevels(unsigned source, unsigned sink);
  int64_t augment(unsigned source, unsigned sink);

  /// Edge 2i and its reverse 2i+1; per node, the indices of those that leave
  /// it.
  llvm::SmallVector<Edge> edges;
  llvm::SmallVector<llvm::SmallVector<unsigned, 4>> outgoing;
  llvm::SmallVector<int> level;
  llvm::SmallVector<unsigned> next;
};

} // namespace nag

#endif // NAG_LIB_TRANSFORMS_DIFFERENTIATE_MINCUT_H
