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

/// The block's place; where some wait for others, in the order in which blocks
/// start.
static LaunchPlace findLaunchPlace(ThreadCode &code, ArrayRef<Product> products,
                                   const Schedule &schedule, int64_t tiles) {
  bool waits = llvm::any_of(
      products, [](const Product &product) { return product.awaited; });
  if (waits) {
    Value ticket = takeTicket(code, tiles * schedule.splitK);
    return {code.rem(ticket, tiles), code.div(ticket, tiles), tiles, {}};
  }
  Value part = schedule.splitK > 1 ? code.blockIndexY() : code.constant(0);
  return {code.blockIndex(), part, tiles, {}};
}

/// Builds the products one after the other, each for blocks of its own.
static void buildProducts(DeviceFunction &device, ArrayRef<Product> products,
                          const Schedule &schedule, ArrayRef<size_t> numBuffers,
                          int64_t blocks) {
  ThreadCode code(device.builder);
  LaunchPlace place = findLaunchPlace(code, products, schedule, blocks);
  Value block = place.tile;
  ArrayRef<Value> arguments = device.arguments;
  if (schedule.splitK > 1)
    place.parts = arguments.back();
  for (auto [product, count] : llvm::zip_equal(products, numBuffers)) {
    const Product &own = product;
    ProductTurn turn;
    if (const Product *awaited = findAwaited(products, own))
      turn.awaitedBlocks = countTiles(*awaited, schedule);
    turn.isAwaited = llvm::any_of(products, [&](const Product &other) {
      return findAwaited(products, other) == &own;
    });
    ArrayRef<Value> ownArguments = arguments.take_front(count);
    arguments = arguments.drop_front(count);
    int64_t tiles = countTiles(product, schedule);
    auto build = [&] {
      buildProduct(code, own, schedule, place, block, ownArguments, turn);
    };
    if (products.size() == 1)
      build();
    else
      code.ifTrue(code.less(block, tiles), build);
    // Blocks of earlier products wrap around, far beyond the tiles that follow.
    block = code.add(block, -tiles);
  }
}

void gemm::emit(KernelLowering &kernel, ArrayRef<Product> products,
                const Schedule &schedule) {
  SmallVector<Value> buffers;
  SmallVector<size_t> numBuffers;
  int64_t blocks = 0, sharedBytes = 0;
  for (const Product &product : products) {
    SmallVector<Value> own = getProductBuffers(kernel, product);
    numBuffers.push_back(own.size());
    buffers.append(own);
    blocks += countTiles(product, schedule);
    sharedBytes = std::max(sharedBytes, getSharedBytes(product, schedule));
  }
  if (schedule.splitK > 1)
    buffers.push_back(kernel.allocateScratch(MemRefType::get(
        {blocks, schedule.splitK, schedule.tileM, schedule.tileN},
        kernel.getHostBuilder().getF32Type())));
  DeviceFunction device =
      kernel.createLaunch("", buffers, {blocks, schedule.splitK, 1},
                          {schedule.getThreads(), 1, 1}, sharedBytes);
  // Sums and a reduction of their rows would be spilled.
  bool spansRows = llvm::any_of(products, [](const Product &product) {
    return product.epilogue.getSpan() != 0;
  });
  if (spansRows)
    shareRegisters(device.function, /*blocks=*/1);
  buildProducts(device, products, schedule, numBuffers, blocks);
}
