// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ops are cloned with operands of other shapes; result types are inferred anew.
#include "GenerationClone.h"
#include "ExpandBlocks.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "llvm/ADT/Sequence.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/ADT/SmallVectorExtras.h"

using namespace mlir;
using namespace nag;

namespace {

/// Keys and values, of one layer or of all.
struct LayerKeys {
  Value keys, values;
  /// Where layers share rows, which tokens they are: the indices of nag.route,
  /// or null for all tokens in order.
  Value tokens;
};

/// What says where a layer's positions are in rows that layers share.
struct RowTable {
  Value rows, counts;
};

/// One function of the new program while its body is written.
class FunctionClone {
public:
  FunctionClone(GenerationPhase chosen, const GenerationShape &sizes,
                ModuleOp program)
      : phase(chosen), shape(sizes), module(program),
        builder(program.getContext()) {}

  /// Writes @prefill or @decode.
  LogicalResult buildEntry(func::FuncOp logits);
  /// Writes a layer function for operands of these types: carry, stacks'
  /// slices, and shared values. Decoding adds the layer's caches behind the
  /// slices and the positions behind the shared values, or the table of the
  /// layer's rows and the caches.
  FailureOr<func::FuncOp> buildLayer(func::FuncOp layer, RepeatOp repeat,
                                     TypeRange types);

private:
  bool isDecode() const { return phase == GenerationPhase::Decode; }
  StringRef phaseName() const { return isDecode() ? "decode" : "prefill"; }
  RankedTensorType indexType(ArrayRef<int64_t> dims) {
    return RankedTensorType::get(dims, builder.getI32Type());
  }
  RankedTensorType cacheType() {
    int64_t rows = shape.sharesRows() ? shape.sharedRows : shape.cacheRows;
    return RankedTensorType::get({shape.batch, rows, shape.keyWidth},
                                 shape.keyType);
  }
  int64_t countTokens() const {
    return tokenShape().first * tokenShape().second;
  }
  RankedTensorType stack(RankedTensorType slice, int64_t count) {
    SmallVector<int64_t> dims{count};
    llvm::append_range(dims, slice.getShape());
    return RankedTensorType::get(dims, slice.getElementType());
  }
  /// Tokens side by side: [batch, prompt] or [1, batch].
  std::pair<int64_t, int64_t> tokenShape() const {
    return isDecode() ? std::pair<int64_t, int64_t>(1, shape.batch)
                      : std::pair(shape.batch, shape.prompt);
  }
  func::FuncOp createFunction(StringRef name, Location loc);
  Value addArgument(func::FuncOp function, Type type, StringRef name,
                    Location loc);

  LogicalResult cloneNeeded(Block &block, ValueRange wanted);
  LogicalResult cloneOp(Operation &op);
  LogicalResult cloneInferred(Operation &op);
  LogicalResult cloneBlock(BlockOp op);
  LogicalResult cloneRepeat(RepeatOp op);
  LogicalResult cloneTable(RotaryTableOp op);
  LogicalResult cloneAttention(AttentionOp op);
  Value gatherRows(Value table);
  LayerKeys listTokens(AttentionOp op, Value key, Value value);
  Value indexConstant(Location loc, ArrayRef<int64_t> dims,
                      ArrayRef<int32_t> numbers);
  Value listAllTokens(Location loc, int64_t layers);
  void mapLayerArguments(func::FuncOp layer, RepeatOp repeat, Block &body);
  void addCacheArguments(Location loc);
  LogicalResult addEntryArguments(func::FuncOp logits, func::FuncOp function);
  void finishEntry(func::FuncOp logits, func::FuncOp function);
  Value joinLayers(ArrayRef<Value> parts);

  GenerationPhase phase;
  const GenerationShape &shape;
  ModuleOp module;
  OpBuilder builder;
  IRMapping mapping;
  func::FuncOp entry;

  Value positions;
  LayerKeys caches;
  RowTable rowTable;
  /// The rotary table of all positions: an argument of @decode, computed by
  /// @prefill.
  Value cos, sin;
  bool hasTable = false;
  /// What layers return beside the carry.
  SmallVector<LayerKeys> computed;
};

} // namespace

//===- Functions ----------------------------------------------------------===//

func::FuncOp FunctionClone::createFunction(StringRef name, Location loc) {
  builder.setInsertionPointToEnd(module.getBody());
  auto function =
      func::FuncOp::create(builder, loc, name, builder.getFunctionType({}, {}));
  builder.setInsertionPointToStart(function.addEntryBlock());
  return function;
}

Value FunctionClone::addArgument(func::FuncOp function, Type type,
                                 StringRef name, Location loc) {
  NamedAttribute attribute(kNameAttrName, builder.getStringAttr(name));
  (void)function.insertArgument(function.getNumArguments(), type,
                                builder.getDictionaryAttr(attribute), loc);
  return function.getArguments().back();
}

/// The ops of a block that compute `wanted`.
static llvm::SmallPtrSet<Operation *, 32> findNeeded(Block &block,
                                                     ValueRange wanted) {
  llvm::SmallPtrSet<Operation *, 32> needed;
  auto require = [&](Value value) {
    if (Operation *op = value.getDefiningOp())
      needed.insert(op);
  };
  llvm::for_each(wanted, require);
  for (Operation &op : llvm::reverse(block))
    if (needed.contains(&op))
      op.walk([&](Operation *nested) {
        llvm::for_each(nested->getOperands(), require);
      });
  return needed;
}

LogicalResult FunctionClone::cloneNeeded(Block &block, ValueRange wanted) {
  auto needed = findNeeded(block, wanted);
  for (Operation &op : block)
    if (needed.contains(&op) && failed(cloneOp(op)))
      return failure();
  return success();
}

/// Decoding finds two arguments more behind the slices, and at the end the
/// positions or, where layers share rows, the caches.
void FunctionClone::mapLayerArguments(func::FuncOp layer, RepeatOp repeat,
                                      Block &body) {
  size_t firstShared = repeat.getCarry().size() + repeat.getStacked().size();
  for (BlockArgument argument : layer.getArguments()) {
    size_t number = argument.getArgNumber();
    if (isDecode() && number >= firstShared)
      number += 2;
    mapping.map(argument, body.getArgument(number));
  }
  if (!isDecode())
    return;
  Value first = body.getArgument(firstShared);
  Value second = body.getArgument(firstShared + 1);
  if (!shape.sharesRows()) {
    caches = {first, second, Value()};
    positions = body.getArguments().back();
    return;
  }
  rowTable = {first, second};
  auto last = body.getArguments().take_back(2);
  caches = {last[0], last[1], Value()};
}

FailureOr<func::FuncOp> FunctionClone::buildLayer(func::FuncOp layer,
                                                  RepeatOp repeat,
                                                  TypeRange types) {
  std::string name = (layer.getName() + "." + phaseName()).str();
  func::FuncOp function = createFunction(name, layer.getLoc());
  function.setPrivate();
  Block &body = function.front();
  for (Type type : types)
    body.addArgument(type, layer.getLoc());
  mapLayerArguments(layer, repeat, body);
  Operation *terminator = layer.front().getTerminator();
  auto carry =
      terminator->getOperands().take_front(repeat.getCarryResults().size());
  if (failed(cloneNeeded(layer.front(), carry)))
    return failure();
  SmallVector<Value> results;
  for (Value value : carry)
    results.push_back(mapping.lookup(value));
  if (computed.empty())
    return layer.emitOpError("expected its carry to depend on nag.attention");
  results.append({computed[0].keys, computed[0].values});
  if (computed[0].tokens)
    results.push_back(computed[0].tokens);
  func::ReturnOp::create(builder, terminator->getLoc(), results);
  function.setType(builder.getFunctionType(body.getArgumentTypes(),
                                           ValueRange(results).getTypes()));
  return function;
}

LogicalResult FunctionClone::addEntryArguments(func::FuncOp logits,
                                               func::FuncOp function) {
  auto [rows, columns] = tokenShape();
  for (BlockArgument argument : logits.getArguments()) {
    Type type = argument.getType();
    auto name = logits.getArgAttrOfType<StringAttr>(argument.getArgNumber(),
                                                    kNameAttrName);
    if (name && name == "tokens")
      type = indexType({rows, columns});
    (void)function.insertArgument(
        function.getNumArguments(), type,
        logits.getArgAttrDict(argument.getArgNumber()), argument.getLoc());
    mapping.map(argument, function.getArguments().back());
  }
  return success();
}

void FunctionClone::addCacheArguments(Location loc) {
  int64_t layers = shape.countLayers();
  RankedTensorType type =
      shape.sharesRows() ? cacheType() : stack(cacheType(), layers);
  caches.keys = addArgument(entry, type, "cache:keys", loc);
  caches.values = addArgument(entry, type, "cache:values", loc);
  if (shape.sharesRows()) {
    rowTable.rows =
        addArgument(entry, indexType({layers, shape.batch, shape.cacheRows}),
                    "cache:rows", loc);
    rowTable.counts = addArgument(entry, indexType({layers, 1, shape.batch}),
                                  "cache:counts", loc);
  }
  positions = addArgument(entry, indexType({1, shape.batch}), "positions", loc);
}

LogicalResult FunctionClone::buildEntry(func::FuncOp logits) {
  entry = createFunction(phaseName(), logits.getLoc());
  if (failed(addEntryArguments(logits, entry)))
    return failure();
  if (isDecode())
    addCacheArguments(logits.getLoc());
  Operation *terminator = logits.front().getTerminator();
  if (failed(cloneNeeded(logits.front(), terminator->getOperands())))
    return failure();
  finishEntry(logits, entry);
  return success();
}

/// One stack of all layers.
Value FunctionClone::joinLayers(ArrayRef<Value> parts) {
  if (parts.size() == 1)
    return parts.front();
  return tensor::ConcatOp::create(builder, parts.front().getLoc(), /*dim=*/0,
                                  parts);
}

void FunctionClone::finishEntry(func::FuncOp logits, func::FuncOp function) {
  SmallVector<Value> results;
  SmallVector<std::string> names;
  Operation *terminator = logits.front().getTerminator();
  for (auto [index, value] : llvm::enumerate(terminator->getOperands())) {
    results.push_back(mapping.lookup(value));
    auto name = logits.getResultAttrOfType<StringAttr>(index, kNameAttrName);
    names.push_back(name ? name.str() : "result" + std::to_string(index));
  }
  SmallVector<Value> keys, values, tokens;
  for (const LayerKeys &part : computed) {
    keys.push_back(part.keys);
    values.push_back(part.values);
    tokens.push_back(part.tokens);
  }
  std::string prefix = isDecode() ? "new:" : "prompt:";
  results.append({joinLayers(keys), joinLayers(values)});
  names.append({prefix + "keys", prefix + "values"});
  if (shape.sharesRows()) {
    results.push_back(joinLayers(tokens));
    names.push_back(prefix + "tokens");
  }
  if (!isDecode() && shape.sharesRows()) {
    results.push_back(indexConstant(logits.getLoc(), {shape.countLayers()},
                                    llvm::to_vector_of<int32_t>(shape.reach)));
    names.push_back("reach");
  }
  if (!isDecode() && hasTable) {
    results.append({cos, sin});
    names.append({"rotary:cos", "rotary:sin"});
  }
  func::ReturnOp::create(builder, terminator->getLoc(), results);
  function.setType(builder.getFunctionType(function.front().getArgumentTypes(),
                                           ValueRange(results).getTypes()));
  for (auto [index, name] : llvm::enumerate(names))
    function.setResultAttr(index, kNameAttrName, builder.getStringAttr(name));
}

//===- Ops ----------------------------------------------------------------===//

LogicalResult FunctionClone::cloneOp(Operation &op) {
  if (auto block = dyn_cast<BlockOp>(op))
    return cloneBlock(block);
  if (auto repeat = dyn_cast<RepeatOp>(op))
    return cloneRepeat(repeat);
  if (auto table = dyn_cast<RotaryTableOp>(op))
    return cloneTable(table);
  if (auto attention = dyn_cast<AttentionOp>(op))
    return cloneAttention(attention);
  if (isa<MakeStreamOp>(op)) {
    Value direction = mapping.lookup(op.getOperand(0));
    Value logNorm = mapping.lookup(op.getOperand(1));
    mapping.map(op.getResult(0),
                MakeStreamOp::create(builder, op.getLoc(), direction, logNorm)
                    .getResult());
    return success();
  }
  if (isa<DirectionOp, LogNormOp>(op)) {
    Operation *clone = builder.clone(op, mapping);
    auto stream = cast<StreamType>(clone->getOperand(0).getType());
    clone->getResult(0).setType(isa<DirectionOp>(op)
                                    ? Type(stream.getDirectionType())
                                    : Type(stream.getLogNormType()));
    return success();
  }
  return cloneInferred(op);
}

LogicalResult FunctionClone::cloneInferred(Operation &op) {
  Operation *clone = builder.clone(op, mapping);
  if (llvm::equal(clone->getOperandTypes(), op.getOperandTypes()))
    return success();
  auto inferring = dyn_cast<InferTypeOpInterface>(clone);
  SmallVector<Type> types;
  if (!inferring || clone->getNumRegions() ||
      failed(inferring.inferReturnTypes(
          clone->getContext(), clone->getLoc(), clone->getOperands(),
          clone->getAttrDictionary(), clone->getPropertiesStorage(),
          clone->getRegions(), types)))
    return op.emitOpError("has no counterpart in @")
           << phaseName()
           << ": expected a result type that follows from the operands";
  for (auto [result, type] : llvm::zip_equal(clone->getResults(), types))
    result.setType(type);
  return success();
}

/// The block as the ops it stands for (-nag-expand-blocks), so that keys and
/// values can leave its body.
LogicalResult FunctionClone::cloneBlock(BlockOp op) {
  BlockOperands operands(op);
  for (Value *operand :
       {&operands.stream, &operands.weight, &operands.bias, &operands.logits,
        &operands.beta, &operands.alpha, &operands.scale, &operands.dial})
    if (*operand)
      *operand = mapping.lookup(*operand);
  Block &body = op.getBody().front();
  auto buildBody = [&](ValueRange arguments) -> FailureOr<Value> {
    mapping.map(body.getArguments(), arguments);
    for (Operation &nested : body.without_terminator())
      if (failed(cloneOp(nested)))
        return failure();
    return mapping.lookup(body.getTerminator()->getOperand(0));
  };
  auto expanded = expandBlock(builder, op.getLoc(), operands, buildBody);
  if (failed(expanded))
    return failure();
  mapping.map(op.getResult(), expanded->stream);
  mapping.map(op.getGates(), expanded->gates);
  if (expanded->offsets)
    mapping.map(op.getOffsets().front(), expanded->offsets);
  return success();
}

LogicalResult FunctionClone::cloneTable(RotaryTableOp op) {
  if (hasTable)
    return op.emitOpError("expected one rotary table in @logits");
  hasTable = true;
  auto type = cast<RankedTensorType>(op.getCos().getType());
  int64_t half = type.getDimSize(1);
  auto create = [&](int64_t rows) {
    auto rowsType = RankedTensorType::get({rows, half}, type.getElementType());
    return RotaryTableOp::create(builder, op.getLoc(), rowsType, rowsType,
                                 op.getBaseAttr(), op.getFirstAttr());
  };
  if (!isDecode()) {
    auto whole = create(shape.capacity), used = create(shape.prompt);
    cos = whole.getCos();
    sin = whole.getSin();
    mapping.map(op.getCos(), used.getCos());
    mapping.map(op.getSin(), used.getSin());
    return success();
  }
  auto whole =
      RankedTensorType::get({shape.capacity, half}, type.getElementType());
  cos = addArgument(entry, whole, "rotary:cos", op.getLoc());
  sin = addArgument(entry, whole, "rotary:sin", op.getLoc());
  mapping.map(op.getCos(), gatherRows(cos));
  mapping.map(op.getSin(), gatherRows(sin));
  return success();
}

/// The table's rows of the sequences' positions, [batch, half].
Value FunctionClone::gatherRows(Value table) {
  Location loc = table.getLoc();
  Value rows = EmbeddingOp::create(builder, loc, positions, table);
  return tensor::CollapseShapeOp::create(
      builder, loc, rows, ArrayRef<ReassociationIndices>{{0, 1}, {2}});
}

Value FunctionClone::indexConstant(Location loc, ArrayRef<int64_t> dims,
                                   ArrayRef<int32_t> numbers) {
  return arith::ConstantOp::create(
      builder, loc, DenseElementsAttr::get(indexType(dims), numbers));
}

/// Every token of these layers, in order.
Value FunctionClone::listAllTokens(Location loc, int64_t layers) {
  SmallVector<int32_t> numbers;
  for (int64_t layer = 0; layer < layers; ++layer)
    llvm::append_range(numbers, llvm::seq<int32_t>(0, countTokens()));
  return indexConstant(loc, {layers, countTokens()}, numbers);
}

/// Keys and values as rows of tokens, [tokens, kv width].
LayerKeys FunctionClone::listTokens(AttentionOp op, Value key, Value value) {
  if (!shape.sharesRows())
    return {key, value, Value()};
  if (op.getKey().getType().getRank() == 2)
    return {key, value, mapping.lookup(op.getRoute()[0])};
  auto flatten = [&](Value rows) -> Value {
    return tensor::CollapseShapeOp::create(
        builder, op.getLoc(), rows,
        ArrayRef<ReassociationIndices>{{0, 1}, {2}});
  };
  return {flatten(key), flatten(value), Value()};
}

LogicalResult FunctionClone::cloneAttention(AttentionOp op) {
  Value key = mapping.lookup(op.getKey());
  Value value = mapping.lookup(op.getValue());
  if (!computed.empty())
    return op.emitOpError("expected one nag.attention per layer");
  if (entry)
    return op.emitOpError("expected nag.attention in layer functions only");
  computed.push_back(listTokens(op, key, value));
  if (!isDecode())
    return cloneInferred(*op);
  SmallVector<Value> route = llvm::map_to_vector(
      op.getRoute(), [&](Value part) { return mapping.lookup(part); });
  // Of shared rows, those behind the window are not in the table.
  bool shares = shape.sharesRows();
  auto cached = CachedAttentionOp::create(
      builder, op.getLoc(), mapping.lookup(op.getQuery()), key, value,
      caches.keys, caches.values, shares ? rowTable.counts : positions, route,
      rowTable.rows, op.getHeadsAttr(), op.getKvHeadsAttr(),
      shares ? IntegerAttr() : op.getWindowAttr());
  mapping.map(op.getResult(), cached.getResult());
  return success();
}

LogicalResult FunctionClone::cloneRepeat(RepeatOp op) {
  auto mapped = [&](ValueRange values) {
    return llvm::map_to_vector(values,
                               [&](Value v) { return mapping.lookup(v); });
  };
  SmallVector<Value> carry = mapped(op.getCarry());
  SmallVector<Value> stacked = mapped(op.getStacked());
  SmallVector<Value> shared = mapped(op.getShared());
  if (isDecode() && shape.sharesRows()) {
    stacked.append({rowTable.rows, rowTable.counts});
    shared.append({caches.keys, caches.values});
  } else if (isDecode()) {
    stacked.append({caches.keys, caches.values});
    shared.push_back(positions);
  }
  SmallVector<Type> types = llvm::to_vector(ValueRange(carry).getTypes());
  for (Value value : stacked) {
    auto type = cast<RankedTensorType>(value.getType());
    types.push_back(RankedTensorType::get(type.getShape().drop_front(),
                                          type.getElementType()));
  }
  llvm::append_range(types, ValueRange(shared).getTypes());
  auto layer = module.lookupSymbol<func::FuncOp>(op.getCallee());
  std::string name = (layer.getName() + "." + phaseName()).str();
  auto callee = module.lookupSymbol<func::FuncOp>(name);
  if (!callee) {
    auto built =
        FunctionClone(phase, shape, module).buildLayer(layer, op, types);
    if (failed(built))
      return failure();
    callee = *built;
  }
  if (TypeRange(callee.getArgumentTypes()) != TypeRange(types))
    return op.emitOpError("expected operands of the same types wherever @")
           << layer.getName() << " is repeated";
  SmallVector<Type> stacks;
  for (Type slice : callee.getResultTypes().drop_front(carry.size()))
    stacks.push_back(stack(cast<RankedTensorType>(slice), op.getCount()));
  auto repeat = RepeatOp::create(
      builder, op.getLoc(), ValueRange(carry).getTypes(), stacks, name,
      op.getCount(), carry, stacked, shared, op.getFirst(), /*reverse=*/false);
  for (auto [from, to] :
       llvm::zip_equal(op.getCarryResults(), repeat.getCarryResults()))
    mapping.map(from, to);
  auto results = repeat.getStackedResults();
  computed.push_back({results[0], results[1], Value()});
  if (results.size() == 3)
    computed.back().tokens = results[2];
  else if (shape.sharesRows())
    computed.back().tokens = listAllTokens(op.getLoc(), op.getCount());
  return success();
}

LogicalResult nag::buildGenerationFunction(func::FuncOp logits,
                                           GenerationPhase phase,
                                           const GenerationShape &shape) {
  return FunctionClone(phase, shape, logits->getParentOfType<ModuleOp>())
      .buildEntry(logits);
}
