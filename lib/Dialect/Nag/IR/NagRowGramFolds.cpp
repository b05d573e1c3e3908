// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Canonicalization of nag.row_gram, nag.row_scalars and nag.row_combine.
#include "RowRoles.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace nag;

/// One scalar per row of `row`, in its compute type.
static RankedTensorType getLaneType(Value row) {
  auto type = cast<RankedTensorType>(row.getType());
  return RankedTensorType::get(type.getShape().drop_back(),
                               getComputeType(type.getElementType()));
}

//===----------------------------------------------------------------------===//
// Helpers of the patterns
//===----------------------------------------------------------------------===//

/// Lanes that `fn` computes from `lanes`, scalar by scalar.
static SmallVector<Value>
buildScalars(PatternRewriter &rewriter, Location loc, ArrayRef<Value> lanes,
             unsigned results,
             function_ref<SmallVector<Scalar>(ArrayRef<Scalar>)> fn) {
  Type type = lanes.front().getType();
  Type element = getElementTypeOrSelf(type);
  auto op = RowScalarsOp::create(rewriter, loc,
                                 SmallVector<Type>(results, type), lanes);
  Block &body = op.getBody().emplaceBlock();
  OpBuilder::InsertionGuard guard(rewriter);
  ImplicitLocOpBuilder builder = ImplicitLocOpBuilder::atBlockEnd(loc, &body);
  SmallVector<Scalar> arguments;
  for (size_t index = 0; index < lanes.size(); ++index)
    arguments.push_back({builder, body.addArgument(element, loc)});
  SmallVector<Scalar> scalars = fn(arguments);
  YieldOp::create(builder, SmallVector<Value>(scalars.begin(), scalars.end()));
  return op.getScalars();
}

/// The combination behind `row` that its readers may read through.
static RowCombineOp getTransparentCombine(Value row) {
  auto combine = row.getDefiningOp<RowCombineOp>();
  if (!combine || combine.getCancels())
    return {};
  // It must go: read through by some and computed for others, it costs more.
  bool dies = llvm::all_of(combine->getUsers(), [&](Operation *user) {
    return user->getBlock() == combine->getBlock() &&
           isa<RowGramOp, RowCombineOp>(user);
  });
  return dies ? combine : RowCombineOp();
}

namespace {

/// The terms of a linear combination while it is rewritten: the coefficient of
/// each row is a sum of products of lanes.
struct Terms {
  using Product = SmallVector<Value, 2>;
  llvm::MapVector<Value, SmallVector<Product>> rows;
  SmallVector<Product> constant;
};

} // namespace

static Scalar sumProducts(ArrayRef<Terms::Product> products,
                          const DenseMap<Value, Scalar> &scalars) {
  std::optional<Scalar> sum;
  for (const Terms::Product &product : products) {
    Scalar term = scalars.lookup(product.front());
    for (Value factor : ArrayRef(product).drop_front())
      term = term * scalars.lookup(factor);
    sum = sum ? *sum + term : term;
  }
  return *sum;
}

/// One lane per list of products: the sum of them.
static SmallVector<Value>
buildSums(PatternRewriter &rewriter, Location loc,
          ArrayRef<SmallVector<Terms::Product>> lists) {
  SetVector<Value> lanes;
  for (ArrayRef<Terms::Product> products : lists)
    for (const Terms::Product &product : products)
      lanes.insert(product.begin(), product.end());
  return buildScalars(
      rewriter, loc, lanes.getArrayRef(), lists.size(),
      [&](ArrayRef<Scalar> arguments) {
        DenseMap<Value, Scalar> scalars;
        for (auto [lane, argument] : llvm::zip(lanes, arguments))
          scalars[lane] = argument;
        return llvm::map_to_vector(lists, [&](ArrayRef<Terms::Product> list) {
          return sumProducts(list, scalars);
        });
      });
}

static void replaceByTerms(PatternRewriter &rewriter, RowCombineOp op,
                           const Terms &terms) {
  SmallVector<Value> rows;
  SmallVector<SmallVector<Terms::Product>> lists;
  for (auto &[row, products] : terms.rows) {
    rows.push_back(row);
    lists.push_back(products);
  }
  if (!terms.constant.empty())
    lists.push_back(terms.constant);
  SmallVector<Value> lanes = buildSums(rewriter, op.getLoc(), lists);
  Value constant = terms.constant.empty() ? Value() : lanes.pop_back_val();
  rewriter.replaceOpWithNewOp<RowCombineOp>(op, op.getResult().getType(), rows,
                                            lanes, constant, op.getCancels());
}

//===----------------------------------------------------------------------===//
// nag.row_combine
//===----------------------------------------------------------------------===//

namespace {

/// A combination of combinations is one, and a row that stands in it twice
/// stands in it once.
struct CollapseCombines : OpRewritePattern<RowCombineOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(RowCombineOp op,
                                PatternRewriter &rewriter) const override {
    Terms terms;
    bool changed = false;
    if (Value constant = op.getConstant())
      terms.constant.push_back({constant});
    for (auto [row, lane] : llvm::zip(op.getRows(), op.getCoefficients())) {
      RowCombineOp inner = getTransparentCombine(row);
      changed |= inner || terms.rows.contains(row);
      if (!inner) {
        terms.rows[row].push_back({lane});
        continue;
      }
      for (auto [part, factor] :
           llvm::zip(inner.getRows(), inner.getCoefficients()))
        terms.rows[part].push_back({lane, factor});
      if (Value constant = inner.getConstant())
        terms.constant.push_back({lane, constant});
    }
    if (!changed)
      return failure();
    replaceByTerms(rewriter, op, terms);
    return success();
  }
};

} // namespace

void RowCombineOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                               MLIRContext *context) {
  patterns.add<CollapseCombines>(context);
}

//===----------------------------------------------------------------------===//
// nag.row_gram
//===----------------------------------------------------------------------===//

namespace {

/// The sums of a nag.row_gram with every pair, and every row, once.
class GramSums {
public:
  /// The number of the sum of `left` and `right`, which may be null for ones.
  unsigned add(Value left, Value right) {
    int64_t a = indexOf(left);
    int64_t b = right ? indexOf(right) : kNone;
    if (b != kNone && b < a)
      std::swap(a, b);
    for (auto [number, pair] : llvm::enumerate(pairs))
      if (pair.first == a && pair.second == b)
        return number;
    pairs.emplace_back(a, b);
    return pairs.size() - 1;
  }

  RowGramOp create(PatternRewriter &rewriter, Location loc) const {
    SmallVector<int64_t> left, right;
    for (auto [a, b] : pairs) {
      left.push_back(a);
      right.push_back(b);
    }
    SmallVector<Type> types(pairs.size(), getLaneType(rows.front()));
    return RowGramOp::create(rewriter, loc, types, rows.getArrayRef(), left,
                             right);
  }

  size_t countPairs() const { return pairs.size(); }
  size_t countRows() const { return rows.size(); }

private:
  static constexpr int64_t kNone = RowGramOp::kOnes;
  int64_t indexOf(Value row) {
    rows.insert(row);
    return llvm::find(rows, row) - rows.begin();
  }

  SetVector<Value> rows;
  SmallVector<std::pair<int64_t, int64_t>> pairs;
};

Value getRight(RowGramOp op, unsigned index) {
  int64_t right = op.getRight()[index];
  return right == RowGramOp::kOnes ? Value() : op.getRows()[right];
}

/// Drops sums that nobody reads and what is there twice.
struct DropDeadSums : OpRewritePattern<RowGramOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(RowGramOp op,
                                PatternRewriter &rewriter) const override {
    if (op->use_empty())
      return failure();
    GramSums sums;
    SmallVector<std::optional<unsigned>> numbers;
    for (auto [index, result] : llvm::enumerate(op.getSums())) {
      numbers.emplace_back();
      if (!result.use_empty())
        numbers.back() =
            sums.add(op.getRows()[op.getLeft()[index]], getRight(op, index));
    }
    if (sums.countPairs() == op.getSums().size() &&
        sums.countRows() == op.getRows().size())
      return failure();
    RowGramOp smaller = sums.create(rewriter, op.getLoc());
    for (auto [result, number] : llvm::zip(op.getSums(), numbers))
      if (number)
        rewriter.replaceAllUsesWith(result, smaller.getSums()[*number]);
    rewriter.eraseOp(op);
    return success();
  }
};

/// Takes the sums of a later nag.row_gram over some of the same rows along.
struct ShareGrams : OpRewritePattern<RowGramOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(RowGramOp op,
                                PatternRewriter &rewriter) const override {
    RowGramOp earlier = findEarlier(op);
    if (!earlier)
      return failure();
    GramSums sums;
    SmallVector<std::pair<Value, unsigned>> replaced;
    for (RowGramOp gram : {earlier, op})
      for (auto [index, result] : llvm::enumerate(gram.getSums()))
        replaced.emplace_back(result,
                              sums.add(gram.getRows()[gram.getLeft()[index]],
                                       getRight(gram, index)));
    rewriter.setInsertionPoint(earlier);
    RowGramOp shared = sums.create(
        rewriter, rewriter.getFusedLoc({earlier.getLoc(), op.getLoc()}));
    for (auto [result, number] : replaced)
      rewriter.replaceAllUsesWith(result, shared.getSums()[number]);
    rewriter.eraseOp(op);
    rewriter.eraseOp(earlier);
    return success();
  }

private:
  /// One that reads all rows of `op`, so that no row is read for longer.
  static RowGramOp findEarlier(RowGramOp op) {
    for (Value row : op.getRows())
      for (Operation *user : row.getUsers()) {
        auto gram = dyn_cast<RowGramOp>(user);
        if (!gram || gram == op || gram->getBlock() != op->getBlock() ||
            !gram->isBeforeInBlock(op))
          continue;
        if (llvm::all_of(op.getRows(), [&](Value read) {
              return llvm::is_contained(gram.getRows(), read);
            }))
          return gram;
      }
    return {};
  }
};

/// The sums of a combination follow from those of its rows.
struct ReadThroughCombine : OpRewritePattern<RowGramOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(RowGramOp op,
                                PatternRewriter &rewriter) const override {
    if (llvm::none_of(op.getRows(), getTransparentCombine))
      return failure();
    GramSums sums;
    // Per sum: the numbers of the new sums and what they are multiplied with.
    SmallVector<SmallVector<Expanded>> lists;
    for (unsigned index = 0; index < op.getSums().size(); ++index)
      lists.push_back(
          expand(sums, op.getRows()[op.getLeft()[index]], getRight(op, index)));
    RowGramOp gram = sums.create(rewriter, op.getLoc());
    replaceSums(rewriter, op, gram, lists);
    return success();
  }

private:
  /// `factors` times the sum with this number, or times the width: <1, 1>.
  struct Expanded {
    std::optional<unsigned> sum;
    Terms::Product factors;
  };
  /// A row, or null for ones, times a lane where there is one.
  using Part = std::pair<Value, Value>;

  static SmallVector<Part> split(Value row) {
    RowCombineOp combine = row ? getTransparentCombine(row) : RowCombineOp();
    if (!combine)
      return {{row, Value()}};
    SmallVector<Part> parts;
    for (auto [part, lane] :
         llvm::zip(combine.getRows(), combine.getCoefficients()))
      parts.emplace_back(part, lane);
    if (Value constant = combine.getConstant())
      parts.emplace_back(Value(), constant);
    return parts;
  }

  static SmallVector<Expanded> expand(GramSums &sums, Value left, Value right) {
    SmallVector<Expanded> products;
    for (auto [a, factorA] : split(left))
      for (auto [b, factorB] : split(right)) {
        Expanded product;
        if (a || b)
          product.sum = sums.add(a ? a : b, a ? b : Value());
        for (Value factor : {factorA, factorB})
          if (factor)
            product.factors.push_back(factor);
        products.push_back(product);
      }
    return products;
  }

  static void replaceSums(PatternRewriter &rewriter, RowGramOp op,
                          RowGramOp gram,
                          ArrayRef<SmallVector<Expanded>> lists) {
    SetVector<Value> lanes(gram.getSums().begin(), gram.getSums().end());
    for (ArrayRef<Expanded> products : lists)
      for (const Expanded &product : products)
        lanes.insert(product.factors.begin(), product.factors.end());
    auto width = static_cast<double>(getWidth(op.getRows().front()));
    auto build = [&](ArrayRef<Scalar> arguments) {
      auto scalarOf = [&](Value lane) {
        return arguments[llvm::find(lanes, lane) - lanes.begin()];
      };
      return llvm::map_to_vector(lists, [&](ArrayRef<Expanded> products) {
        std::optional<Scalar> total;
        for (const Expanded &product : products) {
          Scalar term = product.sum ? scalarOf(gram.getSums()[*product.sum])
                                    : arguments.front().constant(width);
          for (Value factor : product.factors)
            term = term * scalarOf(factor);
          total = total ? *total + term : term;
        }
        return *total;
      });
    };
    rewriter.replaceOp(op,
                       buildScalars(rewriter, op.getLoc(), lanes.getArrayRef(),
                                    lists.size(), build));
  }
};

} // namespace

void RowGramOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                            MLIRContext *context) {
  patterns.add<DropDeadSums, ShareGrams, ReadThroughCombine>(context);
}

//===----------------------------------------------------------------------===//
// nag.row_scalars
//===----------------------------------------------------------------------===//

namespace {

/// Drops results that nobody reads and operands that no result needs.
struct DropDeadScalars : OpRewritePattern<RowScalarsOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(RowScalarsOp op,
                                PatternRewriter &rewriter) const override {
    Block &body = op.getBody().front();
    auto isUnused = [](Value value) { return value.use_empty(); };
    if (op->use_empty() || (llvm::none_of(op.getScalars(), isUnused) &&
                            llvm::none_of(body.getArguments(), isUnused)))
      return failure();
    SmallVector<Value> kept, yielded, lanes;
    for (auto [result, value] :
         llvm::zip(op.getScalars(), body.getTerminator()->getOperands()))
      if (!result.use_empty()) {
        kept.push_back(result);
        yielded.push_back(value);
      }
    rewriter.modifyOpInPlace(body.getTerminator(), [&] {
      body.getTerminator()->setOperands(yielded);
    });
    for (Operation &scalar : llvm::make_early_inc_range(llvm::reverse(body)))
      if (isOpTriviallyDead(&scalar))
        rewriter.eraseOp(&scalar);
    llvm::BitVector unused(body.getNumArguments());
    for (auto [argument, lane] : llvm::zip(body.getArguments(), op.getLanes()))
      if (argument.use_empty())
        unused.set(argument.getArgNumber());
      else
        lanes.push_back(lane);
    body.eraseArguments(unused);
    auto smaller = RowScalarsOp::create(rewriter, op.getLoc(),
                                        TypeRange(ValueRange(kept)), lanes);
    rewriter.inlineRegionBefore(op.getBody(), smaller.getBody(),
                                smaller.getBody().end());
    for (auto [result, scalar] : llvm::zip(kept, smaller.getScalars()))
      rewriter.replaceAllUsesWith(result, scalar);
    rewriter.eraseOp(op);
    return success();
  }
};

} // namespace

void RowScalarsOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                               MLIRContext *context) {
  patterns.add<DropDeadScalars>(context);
}
