// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The launch of a GEMM: its buffers, and which blocks compute which product.
#include "BlockOrder.h"
#include "Gemm.h"
#include "KernelCode.h"
#include "Selection.h"

using namespace mlir;
using namespace nag;
using namespace nag::gemm;

int64_t gemm::getSharedBytes(const Problem &problem, const Schedule &schedule) {
  int64_t bytes = schedule.tileM * problem.a.getElementBytes() +
                  schedule.tileN * problem.b.getElementBytes();
  int64_t tiles = schedule.stages * schedule.tileK * bytes;
  return problem.unit == Unit::FMA ? tiles
                                   : std::max(tiles, getStageBytes(schedule));
}

int64_t gemm::getSharedBytes(const Product &product, const Schedule &schedule) {
  int64_t bytes = 0;
  for (const Problem &term : product.terms)
    bytes = std::max(bytes, getSharedBytes(term, schedule));
  return bytes;
}

int64_t gemm::countTiles(const Product &product, const Schedule &schedule) {
  return llvm::divideCeilSigned(product.getFirst().m, schedule.tileM) *
         llvm::divideCeilSigned(product.getFirst().n, schedule.tileN);
}

Value gemm::loadCount(ThreadCode &code, const Problem &problem, Value buffer) {
  auto type = cast<RankedTensorType>(problem.offsets.getType());
  Value last = code.offset(code.pointer(buffer, Space::Global),
                           (type.getDimSize(0) - 1) * 4);
  return code.load(code.getBuilder().getI32Type(), last, 4);
}

/// The buffers of a product: of what counts its rows, the operands of its terms
/// with their indices, and where its sums go.
static SmallVector<Value> getProductBuffers(KernelLowering &kernel,
                                            const Product &product) {
  SmallVector<Value> buffers;
  if (Value offsets = product.getFirst().offsets)
    buffers.push_back(kernel.getBuffer(offsets));
  for (const Problem &term : product.terms)
    for (const Operand &operand : {term.a, term.b}) {
      buffers.push_back(kernel.getBuffer(operand.tensor));
      if (operand.indices)
        buffers.push_back(kernel.getBuffer(operand.indices));
      for (Value input : getPrologueInputs(operand))
        buffers.push_back(kernel.getBuffer(input));
    }
  buffers.append(getBuffers(kernel, product.epilogue));
  if (product.route)
    buffers.append(getRouteBuffers(kernel, product.route));
  return buffers;
}

/// The product that puts what `product` waits for, or null.
static const Product *findAwaited(ArrayRef<Product> products,
                                  const Product &product) {
  if (!product.awaited)
    return nullptr;
  return llvm::find_if(products, [&](const Product &other) {
    return other.epilogue.computes(product.awaited);
  });
}

bool gemm::hasOrder(ArrayRef<Product> products) {
  return llvm::any_of(products,
                      [](const Product &product) { return product.awaited; });
}

/// What the product waits for among those of its launch, and whether others
/// wait for it.
static ProductTurn findTurn(ArrayRef<Product> products, const Product &own,
                            const Schedule &schedule) {
  ProductTurn turn;
  if (const Product *awaited = findAwaited(products, own))
    turn.awaitedBlocks = countTiles(*awaited, schedule);
  turn.isAwaited = llvm::any_of(products, [&](const Product &other) {
    return findAwaited(products, other) == &own;
  });
  return turn;
}

namespace {
/// The device function of a launch: each product has blocks of its own.
class LaunchCode {
public:
  LaunchCode(DeviceFunction &device, ArrayRef<Product> launchProducts,
             const Schedule &launchSchedule, ArrayRef<size_t> bufferCounts,
             int64_t tiles)
      : code(device.builder), products(launchProducts),
        schedule(launchSchedule), numBuffers(bufferCounts),
        arguments(device.arguments) {
    place.tiles = tiles;
    // Where sums are split.
    place.parts = arguments.back();
  }

  void build(int64_t blocks) {
    build(0, hasOrder(products) ? takeTicket(code, blocks) : code.blockIndex());
  }

private:
  /// From product `index` on, whose blocks are counted from 0.
  void build(size_t index, Value block) {
    const Product &product = products[index];
    Schedule own = getOwnSchedule(product, products, schedule);
    int64_t tiles = countTiles(product, schedule);
    int64_t blocks = tiles * own.splitK;
    if (index + 1 == products.size())
      return buildOwn(index, block, own, tiles);
    code.ifElse(
        code.less(block, blocks), [&] { buildOwn(index, block, own, tiles); },
        [&] {
          place.firstTile += tiles;
          place.firstPart += own.splitK > 1 ? blocks : 0;
          arguments = arguments.drop_front(numBuffers[index]);
          build(index + 1, code.add(block, -blocks));
        });
  }

  /// Blocks of a part of all tiles follow one another.
  void buildOwn(size_t index, Value block, const Schedule &own, int64_t tiles) {
    bool isSplit = own.splitK > 1;
    place.block = block;
    place.ownTiles = tiles;
    place.tile = isSplit ? code.rem(block, tiles) : block;
    place.part = isSplit ? code.div(block, tiles) : code.constant(0);
    buildProduct(code, products[index], own, place,
                 arguments.take_front(numBuffers[index]),
                 findTurn(products, products[index], schedule));
  }

  ThreadCode code;
  ArrayRef<Product> products;
  const Schedule &schedule;
  ArrayRef<size_t> numBuffers;
  ArrayRef<Value> arguments;
  LaunchPlace place;
};
} // namespace

void gemm::emit(KernelLowering &kernel, ArrayRef<Product> products,
                const Schedule &schedule) {
  SmallVector<Value> buffers;
  SmallVector<size_t> numBuffers;
  int64_t tiles = 0, blocks = 0, parts = 0;
  for (const Product &product : products) {
    SmallVector<Value> own = getProductBuffers(kernel, product);
    numBuffers.push_back(own.size());
    buffers.append(own);
    int64_t ownTiles = countTiles(product, schedule);
    int64_t ownParts = getOwnSchedule(product, products, schedule).splitK;
    tiles += ownTiles;
    blocks += ownTiles * ownParts;
    parts += ownParts > 1 ? ownTiles * ownParts : 0;
  }
  if (parts > 0)
    buffers.push_back(kernel.allocateScratch(
        MemRefType::get({parts, schedule.tileM, schedule.tileN},
                        kernel.getHostBuilder().getF32Type())));
  BlockNeeds needs = getNeeds(products, schedule);
  DeviceFunction device = kernel.createLaunch(
      "", buffers, {blocks, 1, 1}, {needs.threads, 1, 1}, needs.sharedBytes);
  // Sums and a reduction of their rows would be spilled.
  bool spansRows = llvm::any_of(products, [](const Product &product) {
    return product.epilogue.getSpan() != 0;
  });
  if (spansRows)
    shareRegisters(device.function, /*blocks=*/1);
  else if (hasOrder(products))
    shareRegisters(device.function,
                   std::max<int64_t>(1, countResidentBlocks(
                                            *kernel.getTarget().chip, needs)));
  LaunchCode(device, products, schedule, numBuffers, tiles).build(blocks);
}
