// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Activity.h"

using namespace mlir;
using namespace nag;
using llvm::BitVector;

using ValueSet = llvm::DenseSet<Value>;

static BitVector membership(ValueRange values, const ValueSet &set) {
  BitVector bits(values.size());
  for (auto [index, value] : llvm::enumerate(values))
    bits[index] = set.contains(value);
  return bits;
}

static void insertMarked(ValueSet &set, ValueRange values,
                         const BitVector &marks) {
  for (unsigned index : marks.set_bits())
    if (isDifferentiableType(values[index].getType()))
      set.insert(values[index]);
}

/// Copies the marks of the carry from one list to the other; true when that
/// added any.
static bool propagateCarry(const BitVector &from, BitVector &to,
                           unsigned numCarry) {
  unsigned before = to.count();
  for (unsigned index = 0; index < numCarry; ++index)
    to[index] = to[index] || from[index];
  return to.count() != before;
}

//===----------------------------------------------------------------------===//
// Forwards: what depends on the arguments
//===----------------------------------------------------------------------===//

static ValueSet computeVaried(func::FuncOp function, const BitVector &arguments,
                              SymbolTable &symbols);

static BitVector variedResults(func::FuncOp function,
                               const BitVector &arguments,
                               SymbolTable &symbols) {
  Operation *terminator = function.getBody().front().getTerminator();
  return membership(terminator->getOperands(),
                    computeVaried(function, arguments, symbols));
}

static BitVector variedResults(const CallSite &call, BitVector operands,
                               SymbolTable &symbols) {
  BitVector results;
  do
    results = variedResults(call.callee, operands, symbols);
  while (propagateCarry(results, operands, call.shape.numCarry));
  return results;
}

static ValueSet computeVaried(func::FuncOp function, const BitVector &arguments,
                              SymbolTable &symbols) {
  ValueSet varied;
  insertMarked(varied, function.getArguments(), arguments);
  for (Operation &op : function.getBody().front().without_terminator()) {
    if (llvm::none_of(getReadValues(&op),
                      [&](Value value) { return varied.contains(value); }))
      continue;
    BitVector results(op.getNumResults(), true);
    if (std::optional<CallSite> call = getCallSite(&op, symbols))
      results =
          variedResults(*call, membership(op.getOperands(), varied), symbols);
    insertMarked(varied, op.getResults(), results);
  }
  return varied;
}

//===----------------------------------------------------------------------===//
// Backwards: what the results depend on
//===----------------------------------------------------------------------===//

static ValueSet computeUseful(func::FuncOp function, const BitVector &results,
                              SymbolTable &symbols);

static BitVector usefulOperands(const CallSite &call, BitVector results,
                                SymbolTable &symbols) {
  func::FuncOp callee = call.callee;
  BitVector operands;
  do
    operands = membership(callee.getArguments(),
                          computeUseful(callee, results, symbols));
  while (propagateCarry(operands, results, call.shape.numCarry));
  return operands;
}

static ValueSet computeUseful(func::FuncOp function, const BitVector &results,
                              SymbolTable &symbols) {
  ValueSet useful;
  Block &body = function.getBody().front();
  insertMarked(useful, body.getTerminator()->getOperands(), results);
  for (Operation &op : llvm::reverse(body.without_terminator())) {
    BitVector opResults = membership(op.getResults(), useful);
    if (opResults.none())
      continue;
    SmallVector<Value> read = getReadValues(&op);
    BitVector operands(read.size(), true);
    if (std::optional<CallSite> call = getCallSite(&op, symbols))
      operands = usefulOperands(*call, opResults, symbols);
    insertMarked(useful, read, operands);
  }
  return useful;
}

//===----------------------------------------------------------------------===//
// Both
//===----------------------------------------------------------------------===//

Activity::Activity(func::FuncOp function, const BitVector &arguments,
                   const BitVector &results, SymbolTable &table)
    : varied(computeVaried(function, arguments, table)),
      useful(computeUseful(function, results, table)), symbols(table) {}

CallActivity Activity::getCallActivity(const CallSite &call) const {
  BitVector operands = membership(call.op->getOperands(), varied);
  BitVector results = membership(call.op->getResults(), useful);
  BitVector variedOut = variedResults(call, operands, symbols);
  BitVector usefulIn = usefulOperands(call, results, symbols);
  propagateCarry(variedOut, operands, call.shape.numCarry);
  propagateCarry(usefulIn, results, call.shape.numCarry);
  operands &= usefulIn;
  results &= variedOut;
  return {std::move(operands), std::move(results)};
}
