// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The ops of one block grouped into kernels: which groups depend on which, and
// which may run as one. It knows what is legal; what pays is the caller's
// affair.
#ifndef NAG_LIB_TRANSFORMS_KERNELGRAPH_H
#define NAG_LIB_TRANSFORMS_KERNELGRAPH_H

#include "nag/Dialect/Nag/Transforms/Prologues.h"

#include "mlir/IR/Block.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

namespace nag {

/// A group of ops that run as one kernel, or one op of the host program.
struct KernelGroup {
  /// In program order.
  llvm::SmallVector<mlir::Operation *> ops;
  bool isHost = false;
  /// Rows that the row-wise ops and products run over; 0 for every other
  /// kernel, kMixedRows where independent ops run over different rows.
  int64_t rows = 0;
  static constexpr int64_t kMixedRows = -1;
  /// The offsets that count the rows where that is known at run time only
  /// (nag.route); null: all of them count.
  mlir::Value offsets;
  /// Where independent ops of several counts are together: the offsets of each,
  /// perhaps null. Then `offsets` is null.
  llvm::DenseMap<mlir::Operation *, mlir::Value> counts;
  /// Those of `ops` that are RowProductOpInterface.
  llvm::SmallVector<mlir::Operation *> products;
  /// How the row-wise ops and products use the tensors that they read and
  /// write. A stream counts as its direction and its log-norm.
  llvm::MapVector<mlir::Value, RowRole> reads, writes;
};

/// The nag.take whose rows a product reads as its operand, or null.
TakeOp findTake(mlir::Value operand);
/// True for what the group's products do as they load their operands: a
/// nag.take whose rows they gather, and ops on single elements.
bool isLoaded(const KernelGroup &group, mlir::Operation *op);

class RoutedRows;

class KernelGraph {
public:
  /// Puts every op of `block` but the terminator into a group of its own. Each
  /// nag.make_stream has one user and joins it; nag.direction and nag.log_norm
  /// join the op that makes their stream. With `gatherRows`, a nag.take joins
  /// the op that alone reads it, and an index may name rows that a kernel
  /// both reads and overwrites. The ops of `prologues` join the product that
  /// they are mapped to.
  KernelGraph(mlir::Block &block, bool gatherRows, PrologueMap prologues);

  /// Group ids that are still in use, in program order.
  llvm::SmallVector<unsigned> getGroups() const;
  const KernelGroup &getGroup(unsigned id) const { return groups[id]; }
  /// The group of `op`, where it is one of the block's.
  std::optional<unsigned> findGroup(mlir::Operation *op) const;
  /// True for an op that a product runs as it loads an operand.
  bool isPrologue(mlir::Operation *op) const { return prologues.contains(op); }
  /// Groups that write or read what group `id` reads, or read what it writes.
  llvm::SmallVector<unsigned> getNeighbours(unsigned id) const;
  /// True when some op outside the groups `ids` reads `value`.
  bool isReadOutside(mlir::Value value, llvm::ArrayRef<unsigned> ids) const;

  /// Groups that make what group `id` reads.
  llvm::SetVector<unsigned> getProducers(unsigned id) const;

  /// True when as many rows of both count, and their ops have one count each.
  bool haveOneCount(unsigned a, unsigned b) const;
  /// Why the two cannot run as one kernel; empty when they can: the same rows,
  /// as many of which count,
  /// no value between them that all rows must finish first (but a product's sum
  /// that is read element by element), and no other group between them.
  llvm::StringRef getObstacle(unsigned a, unsigned b) const;
  /// The same for two that have nothing to do with one another.
  llvm::StringRef getObstacleOfIndependent(unsigned a, unsigned b) const;
  /// The same for products with blocks of their own.
  llvm::StringRef getObstacleOfProducts(unsigned a, unsigned b) const;
  /// True when `from` needs what `on` makes, and another group makes of it what
  /// `from` needs too.
  bool dependsThroughOthers(unsigned from, unsigned on) const;
  /// Moves the ops of `b` into `a`.
  void merge(unsigned a, unsigned b);

  /// Groups in an order that respects their dependences, each as late as its
  /// last op allows.
  llvm::SmallVector<unsigned> getSchedule() const;

private:
  std::optional<unsigned> findGroup(mlir::Value value) const;
  void addOp(unsigned id, mlir::Operation *op, const RoutedRows &routed);
  template <typename InterfaceTy>
  void addAccesses(KernelGroup &group, InterfaceTy op);
  void addLoad(KernelGroup &group, mlir::Operation *reader, mlir::Value value,
               RowRole role);
  mlir::Operation *getAnchor(mlir::Operation *op) const;
  bool isElementwiseOfSums(unsigned writer, unsigned reader) const;
  bool readsBase(const KernelGroup &writer, const KernelGroup &reader) const;
  llvm::StringRef getObstacleOfOrder(unsigned a, unsigned b) const;

  bool gatherRows;
  PrologueMap prologues;
  llvm::SmallVector<KernelGroup> groups;
  llvm::DenseMap<mlir::Operation *, unsigned> groupOf;
};

} // namespace nag

#endif // NAG_LIB_TRANSFORMS_KERNELGRAPH_H
