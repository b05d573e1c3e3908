// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nag.cached_attention: a block per head of a sequence's new token, or of a
// routed one, whose sequence its index is. Its warps
// share the positions out, each with a running softmax over its own, and join
// their sums in order: bytes read grow with the positions that the token sees.
#include "AttentionCode.h"

using namespace mlir;
using namespace nag;
using namespace nag::attention;

static constexpr int64_t kWarpSize = 32;

namespace {
/// `sizes.batch` sequences, whose caches have `sizes.length` rows.
class CachedAttentionKernel : public AttentionCode {
public:
  CachedAttentionKernel(ImplicitLocOpBuilder &owner, const Sizes &opSizes,
                        const CacheSizes &cacheSizes, int64_t blockWarps,
                        ArrayRef<Value> launchArguments);

  void build();

private:
  /// Places of operands among the launch's arguments.
  enum {
    kQuery,
    kKey,
    kValue,
    kKeyCache,
    kValueCache,
    kPositions,
    kResult,
    kIndices,
    kOffsets
  };

  void buildQuery();

  /// The vectors of a head that a lane has: one per `kWarpSize * width`
  /// elements.
  int64_t countVectors() const {
    return llvm::divideCeil(sizes.headDim, kWarpSize * width);
  }
  /// A head of token `token` in a buffer [1, B, heads*hd] or [M, heads*hd].
  Value tokenHead(int64_t argument, Value token, int64_t heads, Value which);
  /// The lane's elements of a head; 0 behind its end.
  Values loadHead(Value start);
  /// Adds the position `distance` before the token's.
  Values addPosition(Value distance, ValueRange elements, ValueRange state);
  /// The row of the caches that holds the position.
  Value findRow(Value distance);
  void storeState(ValueRange state);
  void joinWarps();
  /// The place of a warp's value: 0 the highest score, 1 the sum, then values.
  Value shared(Value warpIndex, Value at);

  ArrayRef<Value> arguments;
  const CacheSizes cache;
  const int64_t warps, width;
  /// The row of the query, which is the sequence's number unless it is routed.
  Value query;
  /// The row of the token's own key and value.
  Value ownRow;
  Value lane, warp, sequence, queryHead, kvHead, position;
};
} // namespace

/// Elements of a vector of at most 16 bytes that is aligned in every head.
static int64_t getWidth(int64_t headDim) {
  return headDim % 4 == 0 ? 4 : headDim % 2 == 0 ? 2 : 1;
}

CachedAttentionKernel::CachedAttentionKernel(ImplicitLocOpBuilder &owner,
                                             const Sizes &opSizes,
                                             const CacheSizes &cacheSizes,
                                             int64_t blockWarps,
                                             ArrayRef<Value> launchArguments)
    : AttentionCode(owner, opSizes), arguments(launchArguments),
      cache(cacheSizes), warps(blockWarps), width(getWidth(sizes.headDim)) {
  Value thread = threadIndex(), block = blockIndex();
  lane = rem(thread, kWarpSize);
  warp = div(thread, kWarpSize);
  queryHead = rem(block, sizes.heads);
  query = div(block, sizes.heads);
  kvHead = div(queryHead, sizes.getGroup());
}

Value CachedAttentionKernel::tokenHead(int64_t argument, Value token,
                                       int64_t heads, Value which) {
  Value index = add(mul(token, heads), which);
  return offset(pointer(arguments[argument], Space::Global),
                mul(extend(index), sizes.headDim * sizes.getElementBytes()));
}

Values CachedAttentionKernel::loadHead(Value start) {
  Values elements;
  Value first = mul(lane, width);
  for (int64_t vector = 0; vector < countVectors(); ++vector) {
    Value element = add(first, vector * kWarpSize * width);
    bool isWhole = (vector + 1) * kWarpSize * width <= sizes.headDim;
    Value from =
        isWhole ? element : smaller(element, constant(sizes.headDim - width));
    Values loaded =
        loadFloats(sizes.element,
                   offset(start, mul(from, sizes.getElementBytes())), width);
    for (Value value : loaded)
      elements.push_back(
          isWhole ? value
                  : select(less(element, sizes.headDim), value, number(0)));
  }
  return elements;
}

void CachedAttentionKernel::build() {
  sequence = query;
  if (!sizes.isRouted())
    return buildQuery();
  Type i32 = getBuilder().getI32Type();
  Value count = loadAt(i32, arguments[kOffsets], constant(1));
  ifTrue(less(query, count), [&] {
    sequence = loadAt(i32, arguments[kIndices], query);
    buildQuery();
  });
}

void CachedAttentionKernel::buildQuery() {
  ownRow = sizes.routesKeys ? query : sequence;
  position = loadAt(getBuilder().getI32Type(), arguments[kPositions], sequence);
  Value scale = number(sizes.getLog2Scale());
  Values elements = loadHead(tokenHead(kQuery, query, sizes.heads, queryHead));
  for (Value &element : elements)
    element = mulf(element, scale);
  // A ring that is full still holds a row for each position before the token's.
  int64_t reach =
      std::min(sizes.window.value_or(cache.capacity), cache.capacity);
  Value seen = smaller(position, constant(reach));
  Values state(2 + elements.size(), number(0));
  state.front() = number(kInvisible);
  state = loop(warp, add(seen, 1), warps, state,
               [&](Value distance, ValueRange current) {
                 return addPosition(distance, elements, current);
               });
  storeState(state);
  barrier();
  joinWarps();
}

Value CachedAttentionKernel::findRow(Value distance) {
  Value place = rem(sub(position, distance), cache.capacity);
  if (!cache.isShared)
    return place;
  return loadAt(getBuilder().getI32Type(), arguments.back(),
                add(mul(sequence, cache.capacity), place));
}

Values CachedAttentionKernel::addPosition(Value distance, ValueRange elements,
                                          ValueRange state) {
  Value isOwn = less(distance, 1);
  Value place = findRow(distance);
  auto find = [&](int64_t own, int64_t stored) {
    Head cached = head(arguments[stored], sizes.kvHeads, sequence, kvHead);
    return select(isOwn, tokenHead(own, ownRow, sizes.kvHeads, kvHead),
                  row(cached, place));
  };
  Value score = number(0);
  for (auto [a, b] : llvm::zip_equal(elements, loadHead(find(kKey, kKeyCache))))
    score = fma(a, b, score);
  score =
      reduce(score, kWarpSize, [&](Value a, Value b) { return addf(a, b); });
  Value highest = maximum(state[0], score);
  Value decay = exp2(subf(state[0], highest));
  Value probability = exp2(subf(score, highest));
  Values next{highest, fma(state[1], decay, probability)};
  for (auto [sum, value] : llvm::zip_equal(state.drop_front(2),
                                           loadHead(find(kValue, kValueCache))))
    next.push_back(fma(probability, value, mulf(sum, decay)));
  return next;
}

Value CachedAttentionKernel::shared(Value warpIndex, Value at) {
  Value index = add(mul(warpIndex, 2 + sizes.headDim), at);
  return offset(dynamicShared(), mul(index, sizeof(float)));
}

void CachedAttentionKernel::storeState(ValueRange state) {
  ifTrue(less(lane, 1), [&] {
    store(state[0], shared(warp, constant(0)), sizeof(float));
    store(state[1], shared(warp, constant(1)), sizeof(float));
  });
  for (auto [index, sum] : llvm::enumerate(state.drop_front(2))) {
    int64_t vector = index / width;
    Value element = add(mul(lane, width),
                        vector * kWarpSize * width + int64_t(index) % width);
    ifTrue(less(element, sizes.headDim), [&, value = sum] {
      store(value, shared(warp, add(element, 2)), sizeof(float));
    });
  }
}

/// A thread per element adds the warps' sums.
void CachedAttentionKernel::joinWarps() {
  Type f32 = getBuilder().getF32Type();
  auto loadShared = [&](int64_t index, Value at) {
    return load(f32, shared(constant(index), at), sizeof(float));
  };
  Values factors;
  for (int64_t i = 0; i < warps; ++i)
    factors.push_back(loadShared(i, constant(0)));
  Value highest = factors.front();
  for (Value score : ArrayRef(factors).drop_front())
    highest = maximum(highest, score);
  Value total = number(0);
  for (auto [i, factor] : llvm::enumerate(factors)) {
    factor = exp2(subf(factor, highest));
    total = fma(loadShared(i, constant(1)), factor, total);
  }
  Value scale = reciprocal(total);
  Value result = tokenHead(kResult, query, sizes.heads, queryHead);
  Value thread = add(mul(warp, kWarpSize), lane);
  loop(thread, constant(sizes.headDim), warps * kWarpSize, [&](Value element) {
    Value sum = number(0);
    for (int64_t i = 0; i < warps; ++i)
      sum = fma(loadShared(i, add(element, 2)), factors[i], sum);
    storeFloats(sizes.element, mulf(sum, scale),
                offset(result, mul(element, sizes.getElementBytes())));
  });
}

/// Per warp the highest score, the sum of probabilities and the sums of values,
/// in f32.
int64_t attention::getCachedSharedBytes(const Sizes &sizes, int64_t warps) {
  return warps * (2 + sizes.headDim) * sizeof(float);
}

void attention::emitCached(KernelLowering &kernel, const Sizes &sizes,
                           const CacheSizes &cache, ValueRange buffers,
                           int64_t warps) {
  int64_t queries = sizes.isRouted() ? sizes.routedRows : sizes.batch;
  DeviceFunction device = kernel.createLaunch(
      "", buffers, {queries * sizes.heads, 1, 1}, {warps * kWarpSize, 1, 1},
      getCachedSharedBytes(sizes, warps));
  CachedAttentionKernel(device.builder, sizes, cache, warps, device.arguments)
      .build();
}
