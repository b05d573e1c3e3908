// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -nag-lower-to-row-gram: ops with a Gram form become sums, scalars and
// combinations of rows.
#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "nag/Dialect/Nag/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

namespace nag {
#define GEN_PASS_DEF_NAGLOWERTOROWGRAM
#include "nag/Dialect/Nag/Transforms/Passes.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

/// True where rows are rows of something: nag.row_gram takes no single one.
static bool hasRows(Operation *op) {
  auto isMany = [](Type type) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    return !tensor || tensor.getRank() > 1;
  };
  return isMany(op->getResult(0).getType());
}

namespace {
struct LowerToRowGramPass
    : nag::impl::NagLowerToRowGramBase<LowerToRowGramPass> {
  using NagLowerToRowGramBase::NagLowerToRowGramBase;

  void runOnOperation() override {
    auto numerics =
        sums ? GramBuilder::Numerics::Sums : GramBuilder::Numerics::TwoPass;
    SmallVector<RowGramOpInterface> ops;
    getOperation()->walk([&](RowGramOpInterface op) {
      if (op.hasGramForm() && hasRows(op))
        ops.push_back(op);
    });
    for (RowGramOpInterface op : ops) {
      ImplicitLocOpBuilder builder(op.getLoc(), op);
      op->replaceAllUsesWith(buildGramOps(op, builder, numerics));
      op->erase();
    }
  }
};
} // namespace
