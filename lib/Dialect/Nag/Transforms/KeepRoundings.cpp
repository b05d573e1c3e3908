// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -nag-keep-roundings: parameters keep a bf16 copy from step to step.
#include "Roundings.h"
#include "nag/Dialect/Nag/Transforms/HostSignature.h"
#include "nag/Dialect/Nag/Transforms/Precision.h"

#include "llvm/ADT/MapVector.h"

namespace nag {
#define GEN_PASS_DEF_NAGKEEPROUNDINGS
#include "nag/Dialect/Nag/Transforms/Precision.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

static constexpr StringLiteral kApply = "apply", kTrainStep = "train_step",
                               kRound = "round";

namespace {
/// Parameters of which functions read a rounding, by name, and their types.
using Copies = llvm::MapVector<StringRef, std::pair<ParamAttr, Type>>;

struct KeepRoundings : nag::impl::NagKeepRoundingsBase<KeepRoundings> {
  void runOnOperation() override;

private:
  void readCopies(func::FuncOp function);
  LogicalResult writeCopies(func::FuncOp apply);
  void buildRound();
  DictionaryAttr nameCopy(StringRef parameter);

  Copies copies;
};
} // namespace

DictionaryAttr KeepRoundings::nameCopy(StringRef parameter) {
  Builder builder(&getContext());
  return builder.getDictionaryAttr(builder.getNamedAttr(
      kNameAttrName, builder.getStringAttr(kRoundedPrefix + parameter)));
}

static bool roundsParameters(func::FuncOp function) {
  return llvm::any_of(function.getArguments(), [&](BlockArgument argument) {
    return function.getArgAttr(argument.getArgNumber(), kParamAttrName) &&
           llvm::any_of(argument.getUsers(), isRounding);
  });
}

/// Lets a function take the copy of each parameter that it rounds.
void KeepRoundings::readCopies(func::FuncOp function) {
  for (unsigned index = 0, count = function.getNumArguments(); index < count;
       ++index) {
    auto param = function.getArgAttrOfType<ParamAttr>(index, kParamAttrName);
    BlockArgument master = function.getArgument(index);
    if (!param || llvm::none_of(master.getUsers(), isRounding))
      continue;
    copies[param.getName()] = {param, master.getType()};
    unsigned last = function.getNumArguments();
    if (failed(function.insertArgument(last, getRoundedType(master.getType()),
                                       nameCopy(param.getName()),
                                       master.getLoc())))
      return signalPassFailure();
    replaceRoundings(master, function.getArgument(last));
  }
}

/// Lets the optimizer write the copies of what it updates, each in place.
LogicalResult KeepRoundings::writeCopies(func::FuncOp apply) {
  Operation *end = apply.front().getTerminator();
  OpBuilder builder(end);
  llvm::StringMap<Value> updated;
  for (auto [index, value] : llvm::enumerate(end->getOperands()))
    updated[getResultBufferName(apply, index)] = value;
  for (auto &[name, copy] : copies) {
    Value value = updated.lookup(name);
    if (!value || value.getType() != copy.second) {
      InFlightDiagnostic error = apply.emitError();
      error << "expected a result '" << name << "' of type " << copy.second
            << ", of which functions read a bf16 copy, but got ";
      if (value)
        error << value.getType();
      else
        error << "none";
      return error;
    }
    Type type = getRoundedType(copy.second);
    Value rounded =
        arith::TruncFOp::create(builder, end->getLoc(), type, value);
    DictionaryAttr named = nameCopy(name);
    unsigned result = apply.getNumResults();
    if (failed(apply.insertArgument(apply.getNumArguments(), type, named,
                                    end->getLoc())) ||
        failed(apply.insertResult(result, type, named)))
      return failure();
    end->insertOperands(end->getNumOperands(), rounded);
  }
  return success();
}

/// Makes all copies from the parameters, for a start.
void KeepRoundings::buildRound() {
  ImplicitLocOpBuilder builder(getOperation().getLoc(), &getContext());
  builder.setInsertionPointToEnd(getOperation().getBody());
  SmallVector<Type> arguments, results;
  for (auto &[name, copy] : copies) {
    arguments.push_back(copy.second);
    results.push_back(getRoundedType(copy.second));
  }
  auto function = func::FuncOp::create(
      builder, kRound, builder.getFunctionType(arguments, results));
  builder.setInsertionPointToStart(function.addEntryBlock());
  SmallVector<Value> rounded;
  for (auto [index, entry] : llvm::enumerate(copies)) {
    function.setArgAttr(index, kParamAttrName, entry.second.first);
    function.setResultAttrs(index, nameCopy(entry.first));
    rounded.push_back(arith::TruncFOp::create(builder, results[index],
                                              function.getArgument(index)));
  }
  func::ReturnOp::create(builder, rounded);
}

void KeepRoundings::runOnOperation() {
  auto apply = getOperation().lookupSymbol<func::FuncOp>(kApply);
  SmallVector<func::FuncOp> readers;
  for (auto function : getOperation().getOps<func::FuncOp>())
    if (function.isPublic() && !function.isExternal() && function != apply &&
        roundsParameters(function))
      readers.push_back(function);
  if (readers.empty())
    return;
  if (Operation *taken = getOperation().lookupSymbol(kRound)) {
    taken->emitError() << "expected no symbol @" << kRound
                       << ", which this pass adds, but got one";
    return signalPassFailure();
  }
  if (auto step = getOperation().lookupSymbol(kTrainStep))
    step->erase();
  for (func::FuncOp function : readers)
    if (SymbolTable::symbolKnownUseEmpty(function, getOperation()))
      readCopies(function);
  if (copies.empty())
    return;
  if (apply && failed(writeCopies(apply)))
    return signalPassFailure();
  buildRound();
}
