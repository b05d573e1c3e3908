// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// @prefill, @decode and their layers: arguments, results, and which ops they
// need.
#include "FunctionClone.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/SmallPtrSet.h"

using namespace mlir;
using namespace nag;

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

LogicalResult nag::buildGenerationFunction(func::FuncOp logits,
                                           GenerationPhase phase,
                                           const GenerationShape &shape) {
  return FunctionClone(phase, shape, logits->getParentOfType<ModuleOp>())
      .buildEntry(logits);
}
