// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The two builders of Gram forms.
#include "nag/Dialect/Nag/IR/RowGram.h"
#include "RowRoles.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nag;

using Elements = RowBuilder::Elements;

GramRow GramBuilder::addSource(Value row) {
  Node node;
  node.source = row;
  nodes.push_back(std::move(node));
  return {static_cast<unsigned>(nodes.size() - 1)};
}

GramRow GramBuilder::combine(ArrayRef<Term> terms, std::optional<Scalar> offset,
                             bool cancels) {
  Node node;
  node.terms.assign(terms.begin(), terms.end());
  node.offset = offset;
  node.cancels = cancels;
  nodes.push_back(std::move(node));
  return {static_cast<unsigned>(nodes.size() - 1)};
}

/// The form's operands: `values` in the order of the op's operands, a stream as
/// two, rows and scalars told apart by the op's roles.
template <typename RowFn, typename LaneFn>
static SmallVector<GramValue> getFormOperands(Operation *op, ValueRange values,
                                              RowFn toRow, LaneFn toLane) {
  auto rowwise = cast<RowwiseOpInterface>(op);
  SmallVector<GramValue> operands;
  auto at = values.begin();
  for (unsigned index = 0; index < op->getNumOperands(); ++index) {
    RowRole role = rowwise.getOperandRole(index);
    bool isRow = role == RowRole::Row || role == RowRole::Stream;
    operands.push_back(isRow ? GramValue(toRow(*at)) : GramValue(toLane(*at)));
    ++at;
    if (role == RowRole::Stream)
      operands.push_back(toLane(*at++));
  }
  return operands;
}

//===----------------------------------------------------------------------===//
// Row programs
//===----------------------------------------------------------------------===//

namespace {

class RowProgramBuilder : public GramBuilder {
public:
  RowProgramBuilder(ImplicitLocOpBuilder &builder, Type type)
      : GramBuilder(Numerics::TwoPass), rows(builder, type) {}

  SmallVector<Scalar> gram(ArrayRef<Pair> pairs) override {
    SmallVector<GramRow> needed;
    for (const Pair &pair : pairs) {
      needed.push_back(pair.left);
      if (pair.right)
        needed.push_back(*pair.right);
    }
    return rows.sums(select(needed), [&](Elements elements) {
      return llvm::map_to_vector(pairs, [&](const Pair &pair) {
        Scalar left = evaluate(pair.left, elements);
        return pair.right ? left * evaluate(*pair.right, elements) : left;
      });
    });
  }
  Scalar constant(double number) override { return rows.constant(number); }

  GramRow addRow(Value row) { return addSource(row); }
  Scalar addLane(Value lane) { return rows.scalar(lane); }

  /// All rows among the results in one pass.
  SmallVector<Value> finish(ArrayRef<GramValue> results) {
    SmallVector<GramRow> wanted;
    for (const GramValue &result : results)
      if (result.isRow())
        wanted.push_back(result);
    SmallVector<Value> computed;
    if (!wanted.empty())
      computed = rows.maps(select(wanted), [&](Elements elements) {
        return llvm::map_to_vector(
            wanted, [&](GramRow row) { return evaluate(row, elements); });
      });
    const Value *next = computed.begin();
    return llvm::map_to_vector(results, [&](const GramValue &result) -> Value {
      return result.isRow() ? *next++ : Scalar(result).get();
    });
  }

private:
  /// Makes the rows from outside that `needed` are made of those that
  /// `elements` come from in evaluate().
  SmallVector<RowInput> select(ArrayRef<GramRow> needed) {
    sources.clear();
    for (GramRow row : needed)
      collectSources(row);
    return llvm::map_to_vector(
        sources, [&](unsigned id) { return RowInput(nodes[id].source); });
  }
  void collectSources(GramRow row) {
    if (nodes[row.id].source)
      sources.insert(row.id);
    for (const Term &term : nodes[row.id].terms)
      collectSources(term.row);
  }

  Scalar evaluate(GramRow row, Elements elements) const {
    const Node &node = nodes[row.id];
    if (node.source)
      return elements[llvm::find(sources, row.id) - sources.begin()];
    std::optional<Scalar> sum;
    for (const Term &term : node.terms) {
      Scalar part = evaluate(term.row, elements) * term.coefficient;
      sum = sum ? *sum + part : part;
    }
    return node.offset ? *sum + *node.offset : *sum;
  }

  RowBuilder rows;
  SetVector<unsigned> sources;
};

} // namespace

SmallVector<Value> nag::buildGramRow(Operation *op,
                                     ImplicitLocOpBuilder &builder,
                                     ValueRange operands, Type type) {
  RowProgramBuilder gram(builder, type);
  SmallVector<GramValue> values = getFormOperands(
      op, operands, [&](Value row) { return gram.addRow(row); },
      [&](Value lane) { return gram.addLane(lane); });
  return gram.finish(cast<RowGramOpInterface>(op).buildGramForm(gram, values));
}

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

namespace {

/// Scalars are written into a scratch block, where arguments stand for lanes.
/// What a lane or a coefficient needs of them is copied into a nag.row_scalars.
class GramOpsBuilder : public GramBuilder {
public:
  GramOpsBuilder(ImplicitLocOpBuilder &opBuilder, Numerics numericsOfForm,
                 ArrayRef<int64_t> shape, Type element)
      : GramBuilder(numericsOfForm), builder(opBuilder),
        scalars(opBuilder.getLoc(), opBuilder.getContext()), rowShape(shape),
        type(getComputeType(element)) {
    scalars.setInsertionPointToEnd(&scratch);
  }

  SmallVector<Scalar> gram(ArrayRef<Pair> pairs) override;
  Scalar constant(double number) override {
    auto attr = builder.getFloatAttr(type, number);
    return {scalars, arith::ConstantOp::create(scalars, attr).getResult()};
  }

  GramRow addRow(Value row) { return addSource(row); }
  Scalar addLane(Value lane) {
    Value argument = scratch.addArgument(type, lane.getLoc());
    lanes[argument] = lane;
    return {scalars, argument};
  }

  SmallVector<Value> toLanes(ArrayRef<Scalar> values);
  /// The tensor of a row with elements of type `element`.
  Value toTensor(GramRow row, Type element);

private:
  Type laneType() const {
    return RankedTensorType::get(rowShape.drop_back(), type);
  }
  RowScalarsOp buildScalars(ArrayRef<Value> values);

  Block scratch;
  ImplicitLocOpBuilder &builder;
  ImplicitLocOpBuilder scalars;
  ArrayRef<int64_t> rowShape;
  Type type;
  /// The lane that an argument of the scratch block stands for.
  DenseMap<Value, Value> lanes;
  DenseMap<std::pair<unsigned, Type>, Value> tensors;
};

} // namespace

SmallVector<Scalar> GramOpsBuilder::gram(ArrayRef<Pair> pairs) {
  SetVector<Value> rows;
  auto indexOf = [&](GramRow row) -> int64_t {
    Value tensor =
        nodes[row.id].source ? nodes[row.id].source : toTensor(row, type);
    rows.insert(tensor);
    return llvm::find(rows, tensor) - rows.begin();
  };
  SmallVector<int64_t> left, right;
  for (const Pair &pair : pairs) {
    left.push_back(indexOf(pair.left));
    right.push_back(pair.right ? indexOf(*pair.right) : RowGramOp::kOnes);
  }
  auto op =
      RowGramOp::create(builder, SmallVector<Type>(pairs.size(), laneType()),
                        rows.getArrayRef(), left, right);
  return llvm::map_to_vector(op.getSums(),
                             [&](Value sum) { return addLane(sum); });
}

/// The part of the scratch block behind `values`, as an op of its own.
RowScalarsOp GramOpsBuilder::buildScalars(ArrayRef<Value> values) {
  DenseSet<Value> needed(values.begin(), values.end());
  SmallVector<Operation *> slice;
  for (Operation &op : llvm::reverse(scratch))
    if (needed.contains(op.getResult(0))) {
      slice.push_back(&op);
      needed.insert(op.operand_begin(), op.operand_end());
    }
  SmallVector<Value> arguments, operands;
  for (BlockArgument argument : scratch.getArguments())
    if (needed.contains(argument)) {
      arguments.push_back(argument);
      operands.push_back(lanes.lookup(argument));
    }
  auto op = RowScalarsOp::create(
      builder, SmallVector<Type>(values.size(), laneType()), operands);
  Block &body = op.getBody().emplaceBlock();
  IRMapping mapping;
  for (Value argument : arguments)
    mapping.map(argument, body.addArgument(type, builder.getLoc()));
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToEnd(&body);
  for (Operation *scalar : llvm::reverse(slice))
    builder.clone(*scalar, mapping);
  YieldOp::create(builder, llvm::map_to_vector(values, [&](Value value) {
                    return mapping.lookup(value);
                  }));
  return op;
}

SmallVector<Value> GramOpsBuilder::toLanes(ArrayRef<Scalar> values) {
  SmallVector<Value> computed;
  for (Scalar value : values)
    if (!lanes.contains(value))
      computed.push_back(value);
  SmallVector<Value> built;
  if (!computed.empty())
    llvm::append_range(built, buildScalars(computed).getScalars());
  const Value *next = built.begin();
  return llvm::map_to_vector(values, [&](Scalar value) -> Value {
    Value lane = lanes.lookup(value);
    return lane ? lane : *next++;
  });
}

Value GramOpsBuilder::toTensor(GramRow row, Type element) {
  const Node &node = nodes[row.id];
  if (node.source && getElementTypeOrSelf(node.source.getType()) == element)
    return node.source;
  if (Value tensor = tensors.lookup({row.id, element}))
    return tensor;
  SmallVector<Value> rows;
  SmallVector<Scalar> coefficients;
  for (const Term &term : node.terms) {
    Value source = nodes[term.row.id].source;
    rows.push_back(source ? source : toTensor(term.row, type));
    coefficients.push_back(term.coefficient);
  }
  if (node.source) {
    rows.push_back(node.source);
    coefficients.push_back(constant(1));
  }
  if (node.offset)
    coefficients.push_back(*node.offset);
  SmallVector<Value> values = toLanes(coefficients);
  Value offset = node.offset ? values.pop_back_val() : Value();
  Value result =
      RowCombineOp::create(builder, RankedTensorType::get(rowShape, element),
                           rows, values, offset, nodes[row.id].cancels);
  tensors[{row.id, element}] = result;
  return result;
}

/// Operands of `op` with every stream taken apart.
static SmallVector<Value> unpackOperands(Operation *op,
                                         ImplicitLocOpBuilder &builder) {
  SmallVector<Value> values;
  for (Value operand : op->getOperands()) {
    auto stream = dyn_cast<StreamType>(operand.getType());
    if (!stream) {
      values.push_back(operand);
      continue;
    }
    values.push_back(
        builder.createOrFold<DirectionOp>(stream.getDirectionType(), operand));
    values.push_back(
        builder.createOrFold<LogNormOp>(stream.getLogNormType(), operand));
  }
  return values;
}

SmallVector<Value> nag::buildGramOps(Operation *op,
                                     ImplicitLocOpBuilder &builder,
                                     GramBuilder::Numerics numerics) {
  SmallVector<Value> operands = unpackOperands(op, builder);
  auto first = cast<RankedTensorType>(operands.front().getType());
  GramOpsBuilder gram(builder, numerics, first.getShape(),
                      first.getElementType());
  SmallVector<GramValue> values = getFormOperands(
      op, operands, [&](Value row) { return gram.addRow(row); },
      [&](Value lane) { return gram.addLane(lane); });
  SmallVector<GramValue> form =
      cast<RowGramOpInterface>(op).buildGramForm(gram, values);
  SmallVector<Value> results;
  const GramValue *next = form.begin();
  for (Type type : op->getResultTypes()) {
    auto row = [&] {
      return gram.toTensor(*next++,
                           isa<StreamType>(type)
                               ? cast<StreamType>(type).getElementType()
                               : getElementTypeOrSelf(type));
    };
    auto lane = [&] { return gram.toLanes({Scalar(*next++)}).front(); };
    if (isa<StreamType>(type)) {
      Value direction = row();
      results.push_back(MakeStreamOp::create(builder, direction, lane()));
    } else {
      results.push_back(next->isRow() ? row() : lane());
    }
  }
  return results;
}
