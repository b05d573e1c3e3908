// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The parts of the GEMM emitter. A kernel multiplies tiles: threads copy tiles
// of both operands to shared memory some stages ahead, as they lie in global
// memory, multiply them, and write the sums through the output.
#ifndef NAG_LIB_CONVERSION_NAGTOGPU_GEMM_H
#define NAG_LIB_CONVERSION_NAGTOGPU_GEMM_H

#include "GemmEpilogue.h"
#include "ThreadCode.h"
#include "nag/Conversion/NagToGPU.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"

#include <cmath>
#include <map>
#include <memory>

namespace nag::gemm {

/// What multiplies: FFMA, or tensor cores on bf16 or on tf32 operands.
enum class Unit { FMA, BF16, TF32 };

/// An operand of a product over k. In memory it is [rows, k] where k is
/// contiguous, else [k, rows]. With `indices`, row (or k) i is the one of the
/// tensor that element i names (nag.take). With a prologue, its elements are
/// what that makes of the tensor's.
struct Operand {
  mlir::Value tensor;
  bool kContiguous;
  mlir::Value indices = nullptr;
  std::shared_ptr<const Epilogue> prologue = nullptr;

  mlir::Type getElementType() const {
    return mlir::cast<mlir::RankedTensorType>(tensor.getType())
        .getElementType();
  }
  int64_t getElementBytes() const {
    return getElementType().getIntOrFloatBitWidth() / 8;
  }
};

/// result[m, n] = the sum over k of a[m, k] b[n, k], added up in f32.
struct Problem {
  int64_t m, n, k;
  Operand a, b;
  mlir::Value result;
  Unit unit;
  /// The offsets whose last says how many of the m rows count, or, with
  /// `countsK`, how many of the k terms; null: all of them.
  mlir::Value offsets = nullptr;
  bool countsK = false;
  /// The share of them that schedules are chosen for.
  double expectedShare = 1;

  bool countsRows() const { return offsets && !countsK; }
  int64_t getExpectedRows() const {
    return countsRows() ? int64_t(std::ceil(double(m) * expectedShare)) : m;
  }
  int64_t getExpectedTerms() const {
    return countsK ? int64_t(std::ceil(double(k) * expectedShare)) : k;
  }

  /// True when tiles of both have the same unit and lie in a result alike.
  bool hasTilesOf(const Problem &other) const {
    return unit == other.unit && m == other.m && n == other.n;
  }
};

struct Product;

/// How a kernel is cut into blocks, warps and stages. Tiles are powers of two.
struct Schedule {
  int64_t tileM, tileN, tileK;
  int64_t warpsM, warpsN;
  int64_t stages;
  int64_t splitK;

  int64_t getThreads() const { return 32 * warpsM * warpsN; }
  int64_t getWarpTileM() const { return tileM / warpsM; }
  int64_t getWarpTileN() const { return tileN / warpsN; }
};

/// How many tiles along k one block multiplies, where all terms count.
int64_t countSteps(const Problem &problem, const Schedule &schedule);
/// How many terms a part of a sum has at least, for its pipeline to fill.
int64_t getLeastTerms(const Schedule &schedule);

/// Describes a contraction of supported types; fails with an error at the op
/// for others. `op` is a nag.linear or nag.weight_grad.
mlir::FailureOr<Problem> describe(mlir::Operation *op, const GPUTarget &target);
/// An operand, with the ops of the kernel that make it of what is in memory.
mlir::FailureOr<Operand> describeOperand(mlir::Value tensor, bool kContiguous);
/// The tensors that the operand's prologue reads beside it.
llvm::SmallVector<mlir::Value> getPrologueInputs(const Operand &operand);
/// True where the operand has a prologue that runs on the fragments of tensor
/// cores, in registers; else it runs on the tile in shared memory, once for all
/// warps.
bool changesFragments(const Operand &operand, Unit unit);
/// What the prologue makes of a register of a fragment.
mlir::Value changeFragment(ThreadCode &code, const Epilogue &prologue,
                           Unit unit, mlir::Value bits);

/// The schedule of one product of a launch: the longest sums have `splitK`
/// parts, shorter ones as few as make none longer than those.
Schedule getOwnSchedule(const Product &product,
                        llvm::ArrayRef<Product> products, Schedule schedule);
/// Schedules to choose from, for problems of one unit that share a launch.
llvm::SmallVector<Schedule> listSchedules(llvm::ArrayRef<Product> products);
/// True where products wait for one another: their blocks have the order in
/// which they start.
bool hasOrder(llvm::ArrayRef<Product> products);
/// What a block of the launch asks for; registers as the model has them.
BlockNeeds getNeeds(llvm::ArrayRef<Product> products, const Schedule &schedule);
/// What a launch of a schedule does.
LaunchWork describeWork(llvm::ArrayRef<Product> products,
                        const Schedule &schedule, const GPUTarget &target);
/// What is expected of a schedule that products cannot follow on a chip; empty
/// where they can.
std::string findFault(llvm::ArrayRef<Product> products,
                      const Schedule &schedule, const GPUTarget &target);
Schedule fromAttr(ScheduleAttr attr);
ScheduleAttr toAttr(const Schedule &schedule, mlir::MLIRContext *context);

/// A tile in shared memory: lines of bytes as they lie in global memory, with
/// the 16-byte chunks of line l permuted: chunk c lies at
/// `c ^ (((l >> shift) & mask) << scale)`, so that the lines that a warp
/// reads at once do not meet in one bank. A place is the sum of a part that
/// depends on the thread and a constant; they share no bits.
struct SharedTile {
  int64_t lines, lineBytes;
  unsigned shift = 0, mask = 0, scale = 0;

  int64_t getBytes() const { return lines * lineBytes; }
  /// The offset of the thread's part of a place.
  mlir::Value getThreadOffset(ThreadCode &code, mlir::Value line,
                              mlir::Value byte) const;
  /// The pointer to a place, from the thread's part as a pointer's `offset`
  /// from the tile's start `base`.
  mlir::Value getPointer(ThreadCode &code, mlir::Value base,
                         mlir::Value threadOffset, int64_t line,
                         int64_t byte) const;

private:
  int64_t permutation(int64_t line) const {
    return (line >> shift & mask) << scale << 4;
  }
};

/// The tile of an operand for a unit: `rows` x `depth` elements.
SharedTile getSharedTile(const Operand &operand, int64_t rows, int64_t depth,
                         Unit unit);

/// The threads of a block and what they know of their place.
struct BlockPlace {
  mlir::Value thread, lane, warpM, warpN;
  /// The first row and column of the block's tile, and its first k.
  mlir::Value row, column, k;
  /// How many rows count, where that is known at run time only; else null.
  mlir::Value rowLimit;
};

/// Where the operand of a copy lies, and what of it counts.
struct CopySource {
  /// The pointers to the tensor's start, and to its indices or null.
  mlir::Value start, indices;
  /// What the prologue reads: scalars, and the pointers to one for each row
  /// with their types.
  llvm::SmallVector<mlir::Value> scalars;
  llvm::SmallVector<std::pair<mlir::Value, mlir::Type>> lanes;
  /// Adds one of getPrologueInputs, which lies in `buffer`.
  void addInput(ThreadCode &code, mlir::Value buffer, mlir::Value tensor);
  /// The operand's rows; where they are known at run time only, how many there
  /// are, and of its k: i32, else null.
  int64_t extent;
  mlir::Value rowLimit, depthLimit;
};

/// Copies tiles of one operand from global to shared memory, asynchronously
/// where rows are aligned to 4 bytes.
class TileCopy {
public:
  /// `firstRow` is the tile's first.
  TileCopy(ThreadCode &code, const Operand &operand, const SharedTile &tile,
           const CopySource &source, mlir::Value firstRow,
           const Problem &problem, const Schedule &schedule,
           const BlockPlace &place, mlir::Value sharedStart);

  /// Where this thread starts to read the first tile, and the bytes from one
  /// tile to the next along k.
  mlir::Value getFirst() const { return first; }
  int64_t getStepBytes() const { return stepBytes; }
  /// Copies the tile whose first k is `k` to the slot at `slot` bytes.
  void issue(mlir::Value from, mlir::Value k, mlir::Value slot);
  /// Lets the prologue, if there is one, change in place what this thread has
  /// copied, which must have arrived.
  void change(mlir::Value k, mlir::Value slot);

private:
  void forEachUnit(
      llvm::function_ref<void(int64_t unit, int64_t line, int64_t byte)> body);
  void changeUnit(mlir::Value pointer, mlir::ValueRange lanes);
  llvm::SmallVector<mlir::Value> loadLanes(mlir::Value row);
  void copy(mlir::Value from, mlir::Value to, mlir::Value inside);
  mlir::Value isInside(mlir::Value k, int64_t line, int64_t element);
  mlir::Value isInsideDepth(mlir::Value k, int64_t line, int64_t element);
  mlir::Value getNamedLine(mlir::Value number);
  mlir::Value getSource(mlir::Value from, mlir::Value k, int64_t unit);

  ThreadCode &code;
  const SharedTile tile;
  const CopySource source;
  bool kContiguous;
  int64_t extent, depth;
  bool rowEdge, kEdge;
  mlir::Type elementType;
  int64_t elementBytes, width, units, threads, lineStride, stepBytes;
  mlir::Value firstRow, line, element, active, first, shared, threadOffset;
  /// Of rows that indices name, where those of the thread's units start, in
  /// bytes.
  llvm::SmallVector<mlir::Value> namedRows;
  std::shared_ptr<const Epilogue> prologue;
  /// What the prologue reads of the rows of the thread's units, where these are
  /// the same for all k.
  llvm::SmallVector<llvm::SmallVector<mlir::Value>> rowLanes;
};

/// One result of a launch: the sum of one product or of several, of the same
/// unit and shape, and what follows it.
struct Product {
  llvm::SmallVector<Problem, 1> terms;
  Epilogue epilogue;
  /// The selection by scores that the epilogue makes, or null.
  RouteOp route = nullptr;
  /// What the epilogue reads that another product of the launch, which comes
  /// before, puts; or null.
  mlir::Value awaited = nullptr;

  explicit Product(const Problem &term) : terms({term}), epilogue(term) {}
  const Problem &getFirst() const { return terms.front(); }
};

/// How many tiles a product's result has.
int64_t countTiles(const Product &product, const Schedule &schedule);

/// Where a kernel puts its sums.
class Output {
public:
  /// Without an epilogue, the sums go to the one output.
  Output(ThreadCode &code, const Problem &problem, const Schedule &schedule,
         mlir::ValueRange outputBuffers);
  /// The sources' buffers stand in the order of their kinds.
  void setEpilogue(const Epilogue &program, mlir::ValueRange sourceBuffers,
                   mlir::ValueRange indexBuffers);
  /// Only so many rows are stored; null for all.
  void setRowLimit(mlir::Value limit) { rowLimit = limit; }

  /// The most consecutive columns that one store takes to memory.
  int64_t getWidth() const;
  /// Sets the thread's place; `store` counts from it.
  void moveTo(mlir::Value row, mlir::Value column);
  /// Stores f32 sums to consecutive columns.
  void store(int64_t row, int64_t column, mlir::ValueRange sums);
  /// Loads ahead what `store` of so many columns there will read, where all of
  /// the tile is inside.
  void preload(int64_t row, int64_t column, int64_t count);

  /// How many columns have to be stored at once, by storeSpan; 0 for any.
  int64_t getSpan() const { return epilogue ? epilogue->getSpan() : 0; }
  /// How many such parts a tile of so many columns has to store.
  int64_t countSpans(int64_t tileColumns) const;
  /// Stores a part of getSpan() columns of a row, of which this thread holds
  /// `columns`, counted from the thread's place, and `lanes` lanes all, as
  /// RowSpan says. All lanes of the warp must come here.
  void storeSpan(int64_t row, llvm::ArrayRef<int64_t> columns,
                 mlir::ValueRange sums, int64_t lanes);

private:
  /// A buffer of the shape of the result, or of its rows or columns, and the
  /// thread's place in it.
  struct Place {
    mlir::Value start, thread;
    mlir::Type elementType;
    int64_t bytes;
    /// Where there is one for each part of a row, how many a row has.
    int64_t parts = 0;
    /// The pointer to the rows' indices, where these name the rows.
    mlir::Value indices = nullptr;
  };

  Place getPlace(mlir::Value buffer);
  mlir::Value isInside(int64_t row, int64_t column, bool anyRow = false);
  mlir::Value extend(mlir::Value value);
  mlir::Value loadPacked(const Place &place, int64_t offset, int64_t count);
  llvm::SmallVector<mlir::Value> loadElements(const Place &place,
                                              int64_t offset, int64_t count);
  llvm::SmallVector<mlir::Value> split(mlir::Value vector);
  void storeElements(const Place &place, int64_t offset,
                     mlir::ValueRange values);
  void storeAll(int64_t row, int64_t column, mlir::ValueRange sums);
  Place findRow(const Place &place, int64_t row);
  mlir::Value getPart(const Place &place);
  mlir::Value getRow(int64_t row);
  llvm::SmallVector<mlir::Value> loadLanes(mlir::Value row);
  int64_t getRun(llvm::ArrayRef<int64_t> offsets) const;
  EpilogueRow::Elements loadRowElements(const Place &place, int64_t row,
                                        llvm::ArrayRef<int64_t> offsets);
  RowSpan getRowSpan(llvm::ArrayRef<int64_t> offsets, int64_t lanes);
  llvm::ArrayRef<EpilogueRow::Elements> loadVectors(int64_t firstOffset,
                                                    const RowSpan &span);
  llvm::ArrayRef<Place> getSources(EpilogueSource kind) const {
    return sources[unsigned(kind)];
  }
  void storeRowElements(const Place &place, int64_t row,
                        llvm::ArrayRef<int64_t> columns,
                        mlir::ValueRange values);

  ThreadCode &code;
  int64_t rows, columns;
  bool rowEdge, columnEdge;
  llvm::SmallVector<Place> outputs;
  std::array<llvm::SmallVector<Place>, kNumEpilogueSources> sources;
  llvm::SmallVector<mlir::Value> scalars;
  /// By how far elements are from the thread's place, those of each input that
  /// have been loaded ahead.
  std::map<int64_t, llvm::SmallVector<mlir::Value>> preloaded;
  /// By the first column of a part, the thread's elements of the vectors.
  std::map<int64_t, llvm::SmallVector<EpilogueRow::Elements>> vectorElements;
  const Epilogue *epilogue = nullptr;
  mlir::Value threadRow, threadColumn, rowLimit;
};

/// So many of a thread's sums from the first on, which are made when they are
/// asked for.
using SumReader = llvm::function_ref<llvm::SmallVector<mlir::Value>(
    int64_t first, int64_t count)>;

/// Multiplies tiles in shared memory.
class Multiplier {
public:
  virtual ~Multiplier() = default;
  /// The accumulators of a thread, zero.
  virtual llvm::SmallVector<mlir::Value> getZeros() = 0;
  /// Adds the product of the tiles in the slot at `slot` bytes.
  virtual llvm::SmallVector<mlir::Value>
  multiply(mlir::Value slot, mlir::ValueRange accumulators) = 0;

  /// True for those that can load a tile's first factors ahead, while they
  /// multiply the tile before.
  virtual bool loadsAhead() const { return false; }
  virtual llvm::SmallVector<mlir::Value> loadFirst(mlir::Value /*slot*/) {
    return {};
  }
  /// Adds the product of the tiles in the slot, whose first factors are
  /// `loaded`. When all of the others are loaded as well, `turn`, unless null,
  /// gives the slot of the next tiles; `loaded` are the first of these then.
  virtual llvm::SmallVector<mlir::Value>
  multiplyLoaded(mlir::Value /*slot*/, mlir::ValueRange /*accumulators*/,
                 llvm::SmallVectorImpl<mlir::Value> & /*loaded*/,
                 llvm::function_ref<mlir::Value()> /*turn*/) {
    llvm_unreachable("no factors are loaded ahead");
  }

  virtual void store(SumReader sums, Output &output) = 0;
};

/// `sharedA` and `sharedB` are where the tiles of slot 0 start.
std::unique_ptr<Multiplier>
createFMAMultiplier(ThreadCode &code, const Problem &problem,
                    const Schedule &schedule, const BlockPlace &place,
                    mlir::Value sharedA, mlir::Value sharedB);

std::unique_ptr<Multiplier>
createTensorCoreMultiplier(ThreadCode &code, const Problem &problem,
                           const Schedule &schedule, const BlockPlace &place,
                           mlir::Value sharedA, mlir::Value sharedB);

/// The bytes of shared memory through which tensor cores' sums leave.
int64_t getStageBytes(const Schedule &schedule);
/// The bytes of shared memory that a block needs.
int64_t getSharedBytes(const Problem &problem, const Schedule &schedule);
int64_t getSharedBytes(const Product &product, const Schedule &schedule);

/// A product's blocks in their launch: the number of this one, its tile, and
/// which part of its sum; how many tiles the product has, and how many tiles
/// and parts stand before its own; how many tiles the launch has, and where all
/// parts go.
struct LaunchPlace {
  mlir::Value block, tile, part;
  int64_t ownTiles = 0, firstTile = 0, firstPart = 0, tiles = 0;
  mlir::Value parts;
};

/// Where products of a launch wait for one another: how many blocks of another
/// count themselves before the sums are stored, and whether others wait for
/// this one's.
struct ProductTurn {
  int64_t awaitedBlocks = 0;
  bool isAwaited = false;
};

/// Builds what the blocks of one product do; `buffers` are those of emit, in
/// their order.
void buildProduct(ThreadCode &code, const Product &product,
                  const Schedule &schedule, const LaunchPlace &place,
                  llvm::ArrayRef<mlir::Value> buffers, const ProductTurn &turn);

/// Stores a block's part of the sums of its tile; adds up those of all
/// `numParts`, in their order, for `count` of the thread's sums from `first`
/// on: the block's own are `accumulators`.
void storePart(ThreadCode &code, const Schedule &schedule,
               const LaunchPlace &launch, mlir::Value thread,
               mlir::ValueRange accumulators);
llvm::SmallVector<mlir::Value>
addUpParts(ThreadCode &code, const Schedule &schedule,
           const LaunchPlace &launch, mlir::Value thread, mlir::Value numParts,
           mlir::ValueRange accumulators, int64_t first, int64_t count);

/// Launches one kernel for all products, each with blocks of its own. The last
/// block of a tile adds up the parts of a split k, in their order.
void emit(KernelLowering &kernel, llvm::ArrayRef<Product> products,
          const Schedule &schedule);

/// Builds what selects tokens once all blocks of the product are done, at the
/// end of each. `arguments` stand for the buffers of the route.
void buildRouteTail(ThreadCode &code, const Product &product,
                    const Schedule &schedule, const BlockPlace &place,
                    llvm::ArrayRef<mlir::Value> arguments);

/// How many rows or terms of a problem count: the last of its offsets, which
/// are in `buffer`.
mlir::Value loadCount(ThreadCode &code, const Problem &problem,
                      mlir::Value buffer);

/// The buffers of an epilogue as arguments of a launch, and an output that
/// reads them from the arguments of a device function.
llvm::SmallVector<mlir::Value> getBuffers(KernelLowering &kernel,
                                          const Epilogue &epilogue);
Output createOutput(ThreadCode &code, const Problem &problem,
                    const Schedule &schedule, const Epilogue &epilogue,
                    llvm::ArrayRef<mlir::Value> arguments);

} // namespace nag::gemm

#endif // NAG_LIB_CONVERSION_NAGTOGPU_GEMM_H
