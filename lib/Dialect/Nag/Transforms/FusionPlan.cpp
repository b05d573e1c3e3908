// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "FusionPlan.h"
#include "FusionRules.h"
#include "KernelBuilder.h"
#include "KernelCost.h"
#include "nag/Dialect/Nag/Transforms/HostOps.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace nag;

namespace {

class FusionPlan {
public:
  FusionPlan(KernelGraph &kernelGraph, const FusionOptions &fusionOptions)
      : graph(kernelGraph), options(fusionOptions),
        rules(kernelGraph, fusionOptions) {}

  void run() {
    joinConversions();
    if (options.joinProducts)
      joinProductsOfOneOperand();
    if (options.joinProducts || options.epilogues)
      joinAll([&](unsigned a, unsigned b) {
        return rules.hasProducts(a) != rules.hasProducts(b) ||
               rules.bothSummed(a, b);
      });
    joinAll([&](unsigned a, unsigned b) {
      // Products that only share a weight stay apart: their results would all
      // be in memory at a time.
      if (rules.hasProducts(a) && rules.hasProducts(b))
        return rules.bothSummed(a, b);
      return options.epilogues ||
             (!rules.hasProducts(a) && !rules.hasProducts(b));
    });
    if (options.joinSums)
      joinSums();
    if (options.multiTensor)
      joinIndependent();
    if (options.gatherRows) {
      joinRoutes();
      joinPuts();
    }
    if (options.joinSums)
      joinGradients();
    if (options.remarks)
      explainApart();
  }

private:
  using Filter = function_ref<bool(unsigned, unsigned)>;

  void joinConversions();
  void joinConversion(unsigned id, Operation *neighbour);
  void joinProductsOfOneOperand();
  void joinAll(Filter filter);
  bool joinBest(unsigned id, Filter filter);
  void joinSums();
  void joinGradients();
  void joinIndependent();
  void joinRoutes();
  void joinPuts();
  std::string getSignature(unsigned id) const;

  void merge(unsigned into, unsigned other);
  void explainApart();

  KernelGraph &graph;
  const FusionOptions &options;
  const FusionRules rules;
};

/// True when one reads what the other writes.
bool isLinked(const KernelGroup &left, const KernelGroup &right) {
  auto reads = [](const KernelGroup &reader, const KernelGroup &writer) {
    return llvm::any_of(reader.reads, [&](auto &read) {
      return writer.writes.count(read.first);
    });
  };
  return reads(left, right) || reads(right, left);
}

} // namespace

void FusionPlan::merge(unsigned into, unsigned other) {
  if (options.remarks) {
    Savings savings = getSavings(graph, into, other);
    graph.getGroup(into).ops.front()->emitRemark()
        << "joined '" << getKernelName(graph.getGroup(into)) << "' and '"
        << getKernelName(graph.getGroup(other)) << "': saves " << savings.bytes
        << " bytes and " << savings.launches << " launch";
  }
  graph.merge(into, other);
}

void FusionPlan::joinConversion(unsigned id, Operation *neighbour) {
  std::optional<unsigned> other =
      neighbour ? graph.findGroup(neighbour) : std::nullopt;
  if (other && *other != id && !rules.hasProducts(*other) &&
      graph.getGroup(*other).rows > 0 && rules.getObstacle(id, *other).empty())
    merge(*other, id);
}

/// Conversions between bf16 and f32 cost nothing where rows are computed: a
/// widening belongs to its reader, a rounding to what makes the rows.
void FusionPlan::joinConversions() {
  for (unsigned id : graph.getGroups()) {
    if (graph.getGroup(id).ops.empty())
      continue;
    Operation *op = graph.getGroup(id).ops.front();
    if (isa<arith::ExtFOp>(op) && op->hasOneUse())
      joinConversion(id, *op->user_begin());
    else if (isa<arith::TruncFOp>(op))
      joinConversion(id, op->getOperand(0).getDefiningOp());
  }
}

/// Products that read the same rows, each with a weight of its own.
void FusionPlan::joinProductsOfOneOperand() {
  for (unsigned id : graph.getGroups()) {
    if (graph.getGroup(id).ops.empty() || !rules.hasProducts(id))
      continue;
    Operation *product = graph.getGroup(id).products.front();
    for (unsigned other : graph.getNeighbours(id))
      if (rules.hasProducts(other) &&
          getSharedRows(graph, graph.getGroup(other).products.front()) ==
              getSharedRows(graph, product) &&
          rules.getObstacle(id, other).empty())
        merge(id, other);
  }
}

/// Merges `id` with the neighbour that saves most. Returns true if it did.
bool FusionPlan::joinBest(unsigned id, Filter filter) {
  std::optional<unsigned> best;
  int64_t bestBytes = 0;
  for (unsigned other : graph.getNeighbours(id)) {
    // One row each: joined, either would wait for all that the other reads.
    if (!filter(id, other) ||
        (graph.getGroup(id).rows == 1 &&
         !isLinked(graph.getGroup(id), graph.getGroup(other))))
      continue;
    Savings savings = getSavings(graph, id, other);
    // Without traffic saved they have nothing to do with one another.
    if (savings.bytes <= 0 ||
        savings.getTotal(options.launchBytes) <= bestBytes ||
        !rules.getObstacle(id, other).empty())
      continue;
    best = other;
    bestBytes = savings.getTotal(options.launchBytes);
  }
  if (best)
    merge(id, *best);
  return best.has_value();
}

/// A group without rows, such as a count of targets, looks for its place last:
/// what reads its sum could no longer join with what it joins.
void FusionPlan::joinAll(Filter filter) {
  auto hasRows = [&](unsigned id) {
    auto isRow = [](auto &access) { return access.second == RowRole::Row; };
    const KernelGroup &group = graph.getGroup(id);
    return llvm::any_of(group.reads, isRow) ||
           llvm::any_of(group.writes, isRow);
  };
  for (bool all : {false, true})
    for (unsigned id : graph.getGroups())
      while (!graph.getGroup(id).ops.empty() && (all || hasRows(id)) &&
             joinBest(id, filter))
        ;
}

/// The row-wise ops of a group with their attributes, each once.
std::string FusionPlan::getSignature(unsigned id) const {
  llvm::SmallSetVector<std::pair<OperationName, Attribute>, 4> kinds;
  for (Operation *op : graph.getGroup(id).ops)
    if (isa<RowwiseOpInterface>(op))
      kinds.insert({op->getName(), op->getAttrDictionary()});
  std::string text;
  llvm::raw_string_ostream stream(text);
  for (auto &[name, attributes] : kinds)
    stream << name << attributes << ' ';
  return text;
}

/// Products that sum over rows, of whatever tensors: those wait in memory for
/// the last of them, one layer's at a time.
void FusionPlan::joinSums() {
  SmallVector<unsigned> ids = graph.getGroups();
  for (unsigned id : ids)
    for (unsigned other : ids)
      if (other > id && rules.sumsOverRows(id) && rules.sumsOverRows(other) &&
          graph.getObstacleOfIndependent(id, other).empty())
        merge(id, other);
}

/// What a product's gradient is read for: the gradients of weights, and of the
/// rows that were multiplied by them.
void FusionPlan::joinGradients() {
  for (unsigned id : graph.getGroups()) {
    if (!rules.sumsOverRows(id))
      continue;
    for (unsigned other : graph.getNeighbours(id))
      if (rules.hasProducts(other) && !rules.sumsOverRows(other) &&
          rules.multiplyOneTensor(id, other) &&
          graph.getObstacleOfProducts(id, other).empty()) {
        merge(other, id);
        break;
      }
  }
}

void FusionPlan::joinIndependent() {
  SmallVector<unsigned> ids = graph.getGroups();
  llvm::StringMap<SmallVector<unsigned>> kinds;
  for (unsigned id : ids)
    if (!rules.hasProducts(id) && !graph.getGroup(id).isHost)
      kinds[getSignature(id)].push_back(id);
  auto isFree = [&](unsigned a, unsigned b) {
    return !graph.getGroup(a).ops.empty() && !graph.getGroup(b).ops.empty() &&
           rules.getIndependentObstacle(a, b).empty();
  };
  // The same ops over whatever rows, in program order.
  for (unsigned id : ids) {
    if (graph.getGroup(id).ops.empty() || rules.hasProducts(id) ||
        graph.getGroup(id).isHost)
      continue;
    std::string signature = getSignature(id);
    for (unsigned other : kinds.lookup(signature))
      if (other > id && isFree(id, other))
        merge(id, other);
  }
  // Other ops over the same rows, or of the same kinds but with other
  // attributes or neighbours, or tables made of nothing with what else comes
  // first.
  for (unsigned id : ids)
    for (unsigned other : ids)
      if (other > id && isFree(id, other) &&
          ((graph.getGroup(id).rows > 1 &&
            graph.getGroup(id).rows == graph.getGroup(other).rows &&
            graph.haveOneCount(id, other)) ||
           rules.haveOpInCommon(id, other) || rules.isTableAtStart(id, other) ||
           rules.isTableAtStart(other, id)))
        merge(id, other);
  if (!options.gatherRows)
    return;
  // Beside ops over several numbers of rows, those over any.
  for (unsigned id : ids)
    for (unsigned other : ids)
      if (other > id && isFree(id, other) &&
          (graph.getGroup(id).rows == KernelGroup::kMixedRows ||
           graph.getGroup(other).rows == KernelGroup::kMixedRows))
        merge(id, other);
}

/// Selection runs in the kernel of the product that makes its scores.
void FusionPlan::joinRoutes() {
  for (unsigned id : graph.getGroups()) {
    auto route = dyn_cast<RouteOp>(graph.getGroup(id).ops.back());
    if (!route)
      continue;
    for (unsigned producer : graph.getProducers(id))
      if (rules.hasProducts(producer) &&
          graph.getGroup(producer).writes.count(route.getScores()) &&
          !graph.dependsThroughOthers(id, producer)) {
        merge(producer, id);
        break;
      }
  }
}

/// Products that are added to what others put: their blocks wait for those of
/// the same launch, but only before they store.
void FusionPlan::joinPuts() {
  for (unsigned writer : graph.getGroups())
    for (unsigned reader : graph.getNeighbours(writer))
      if (rules.addsToPut(reader, writer)) {
        merge(writer, reader);
        break;
      }
}

/// Says of each kernel why it reads what another writes from memory.
void FusionPlan::explainApart() {
  for (unsigned id : graph.getGroups()) {
    if (graph.getGroup(id).isHost)
      continue;
    for (unsigned other : graph.getNeighbours(id)) {
      if (other < id || graph.getGroup(other).isHost)
        continue;
      int64_t bytes = getSavings(graph, id, other).bytes;
      StringRef obstacle = rules.getObstacle(id, other);
      if (bytes > 0 && !obstacle.empty())
        graph.getGroup(id).ops.front()->emitRemark()
            << "kept '" << getKernelName(graph.getGroup(id)) << "' and '"
            << getKernelName(graph.getGroup(other)) << "' apart: " << obstacle
            << " (" << bytes << " bytes)";
    }
  }
}

void nag::fuseKernels(KernelGraph &graph, const FusionOptions &options) {
  FusionPlan(graph, options).run();
}
