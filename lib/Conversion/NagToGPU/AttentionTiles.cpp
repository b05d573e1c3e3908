// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "AttentionTiles.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace nag;
using namespace nag::attention;

TileSizes attention::chooseTileSizes(const Sizes &sizes,
                                     const TileNeeds &needs) {
  return fitsTensorCores(sizes) ? chooseTensorCoreSizes(sizes, needs)
                                : chooseFMASizes(sizes, needs);
}

std::unique_ptr<TileSchedule> attention::createSchedule(const Sizes &sizes,
                                                        const TileNeeds &needs,
                                                        const TileSizes &tile) {
  return fitsTensorCores(sizes) ? createTensorCoreSchedule(sizes, needs, tile)
                                : createFMASchedule(sizes, needs, tile);
}

std::string attention::findFault(const Sizes &sizes, const TileNeeds &needs,
                                 const TileSizes &tile) {
  return fitsTensorCores(sizes) ? findTensorCoreFault(sizes, needs, tile)
                                : findFMAFault(sizes, needs, tile);
}

Value AttentionTiles::takeShared(int64_t bytes) {
  Value start = offset(dynamicShared(), sharedBytes);
  sharedBytes += bytes;
  return start;
}

/// Whether all pairs of existing queries and keys are visible, and all queries
/// exist.
Value AttentionTiles::isWhollyVisible(Value firstQuery, int64_t queries,
                                      Value firstKey, int64_t keys) {
  // The first query sees the last key; signed, as the difference is negative
  // where it does not.
  Value nearest = sub(firstQuery, add(firstKey, keys - 1));
  Value visible = getBuilder().createOrFold<arith::CmpIOp>(
      arith::CmpIPredicate::sge, nearest, constant(0));
  visible = both(visible, less(firstQuery, sizes.length - queries + 1));
  if (sizes.getSpan() == sizes.length)
    return visible;
  return both(visible, less(add(nearest, queries + keys - 2), sizes.getSpan()));
}

Part AttentionTiles::mask(const Part &part, Rows rows, Value firstRow,
                          Value firstColumn, double invisible) {
  ImplicitLocOpBuilder &ops = getBuilder();
  bool rowsAreQueries = rows == Rows::Queries;
  Value whole =
      rowsAreQueries
          ? isWhollyVisible(firstRow, getRows(), firstColumn, getColumns())
          : isWhollyVisible(firstColumn, getColumns(), firstRow, getRows());
  if (sizes.length < std::max(getRows(), getColumns()))
    whole = arith::ConstantOp::create(ops, ops.getBoolAttr(false));
  Values original;
  for (const Values &row : part)
    original.append(row);
  SmallVector<Type> types(original.size(), ops.getF32Type());
  auto branch = scf::IfOp::create(ops, types, whole, /*withElse=*/true);
  OpBuilder::InsertionGuard guard(ops);
  ops.setInsertionPointToStart(branch.thenBlock());
  scf::YieldOp::create(ops, original);
  ops.setInsertionPointToStart(branch.elseBlock());
  Value replacement = number(invisible);
  Values masked;
  for (auto [i, row] : llvm::enumerate(part))
    for (auto [j, value] : llvm::enumerate(row)) {
      Value rowPosition = add(firstRow, getRow(i));
      Value columnPosition = add(firstColumn, getColumn(j));
      Value query = rowsAreQueries ? rowPosition : columnPosition;
      Value key = rowsAreQueries ? columnPosition : rowPosition;
      Value visible = sees(query, key);
      // Queries behind the end have no row of sums to spoil where they are
      // rows; as columns they would be summed.
      if (!rowsAreQueries)
        visible = both(visible, less(query, sizes.length));
      masked.push_back(select(visible, value, replacement));
    }
  scf::YieldOp::create(ops, masked);
  Part result;
  int64_t columns = part.front().size();
  ValueRange results = branch.getResults();
  for (size_t i = 0; i < part.size(); ++i)
    result.emplace_back(results.slice(i * columns, columns));
  return result;
}
