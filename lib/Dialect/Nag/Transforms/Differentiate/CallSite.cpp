// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "CallSite.h"

#include "mlir/Transforms/RegionUtils.h"

using namespace mlir;
using namespace nag;

std::optional<CallSite> nag::getCallSite(Operation *op, SymbolTable &symbols) {
  if (auto repeat = dyn_cast<RepeatOp>(op)) {
    CallShape shape = {static_cast<unsigned>(repeat.getCarry().size()),
                       static_cast<unsigned>(repeat.getStacked().size()),
                       static_cast<unsigned>(repeat.getShared().size())};
    return CallSite{op, symbols.lookup<func::FuncOp>(repeat.getCallee()),
                    shape};
  }
  if (auto call = dyn_cast<func::CallOp>(op))
    return CallSite{op, symbols.lookup<func::FuncOp>(call.getCallee()),
                    CallShape{0, call.getNumOperands(), 0}};
  return std::nullopt;
}

namespace {

/// Depth-first walk over the functions that a function reaches.
class CallGraphVerifier {
public:
  explicit CallGraphVerifier(SymbolTable &table) : symbols(table) {}

  LogicalResult visit(func::FuncOp function) {
    if (done.contains(function))
      return success();
    if (!function.getBody().hasOneBlock())
      return function.emitError()
             << "expected one block in the body of '@" << function.getName()
             << "' to differentiate it, but got "
             << function.getBody().getBlocks().size();
    active.insert(function);
    for (Operation &op : function.getBody().front())
      if (auto call = getCallSite(&op, symbols); call && failed(enter(*call)))
        return failure();
    active.erase(function);
    done.insert(function);
    return success();
  }

private:
  LogicalResult enter(CallSite call) {
    if (!call.callee)
      return call.op->emitOpError() << "expected a callee in this module";
    if (active.contains(call.callee))
      return call.op->emitOpError() << "calls '@" << call.callee.getName()
                                    << "' recursively, which has no derivative";
    return visit(call.callee);
  }

  SymbolTable &symbols;
  llvm::SmallPtrSet<Operation *, 8> active, done;
};

} // namespace

LogicalResult nag::verifyCallGraph(func::FuncOp function,
                                   SymbolTable &symbols) {
  return CallGraphVerifier(symbols).visit(function);
}

bool nag::isDifferentiableType(Type type) {
  return isa<StreamType>(type) || isa<FloatType>(getElementTypeOrSelf(type));
}

SmallVector<Type> nag::getCotangentTypes(Type type) {
  if (auto stream = dyn_cast<StreamType>(type))
    return {stream.getDirectionType(), stream.getLogNormType()};
  return {type};
}

SmallVector<Value> nag::getReadValues(Operation *op) {
  SmallVector<Value> values(op->getOperands());
  llvm::SetVector<Value> captured;
  getUsedValuesDefinedAbove(op->getRegions(), captured);
  llvm::append_range(values, captured);
  return values;
}
