// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "MinCut.h"

#include <algorithm>

using namespace nag;

unsigned FlowNetwork::addNode() {
  outgoing.emplace_back();
  return outgoing.size() - 1;
}

void FlowNetwork::addEdge(unsigned from, unsigned to, int64_t capacity) {
  outgoing[from].push_back(edges.size());
  edges.push_back({to, capacity});
  outgoing[to].push_back(edges.size());
  edges.push_back({from, 0});
}

/// Breadth-first distances from the source over edges with capacity left.
bool FlowNetwork::computeLevels(unsigned source, unsigned sink) {
  level.assign(outgoing.size(), -1);
  level[source] = 0;
  llvm::SmallVector<unsigned> queue = {source};
  for (unsigned head = 0; head < queue.size(); ++head)
    for (unsigned index : outgoing[queue[head]]) {
      const Edge &edge = edges[index];
      if (edge.capacity == 0 || level[edge.to] >= 0)
        continue;
      level[edge.to] = level[queue[head]] + 1;
      queue.push_back(edge.to);
    }
  return level[sink] >= 0;
}

/// Pushes flow along one shortest path, found by a walk that backs out of dead
/// ends; 0 when the level graph has none left. Without recursion: a path is as
/// long as the function.
int64_t FlowNetwork::augment(unsigned source, unsigned sink) {
  llvm::SmallVector<unsigned> path;
  unsigned node = source;
  while (node != sink) {
    unsigned &position = next[node];
    if (position < outgoing[node].size()) {
      unsigned index = outgoing[node][position];
      const Edge &edge = edges[index];
      if (edge.capacity > 0 && level[edge.to] == level[node] + 1) {
        path.push_back(index);
        node = edge.to;
      } else {
        ++position;
      }
      continue;
    }
    if (path.empty())
      return 0;
    node = edges[path.pop_back_val() ^ 1].to;
    ++next[node];
  }
  int64_t flow = kUnlimited;
  for (unsigned index : path)
    flow = std::min(flow, edges[index].capacity);
  for (unsigned index : path) {
    edges[index].capacity -= flow;
    edges[index ^ 1].capacity += flow;
  }
  return flow;
}

llvm::BitVector FlowNetwork::cutNearSink(unsigned source, unsigned sink) {
  while (computeLevels(source, sink)) {
    next.assign(outgoing.size(), 0);
    while (augment(source, sink) > 0) {
    }
  }
  // What can still reach the sink lies on its side.
  llvm::BitVector side(outgoing.size());
  side.set(sink);
  llvm::SmallVector<unsigned> queue = {sink};
  for (unsigned head = 0; head < queue.size(); ++head)
    for (unsigned index : outgoing[queue[head]]) {
      unsigned from = edges[index].to;
      if (side.test(from) || edges[index ^ 1].capacity == 0)
        continue;
      side.set(from);
      queue.push_back(from);
    }
  return side;
}
