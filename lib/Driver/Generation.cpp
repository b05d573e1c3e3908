// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Driver/Generation.h"

#include "nag/Dialect/Nag/Transforms/GenerationPasses.h"
#include "nag/Driver/Diagnostics.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassManager.h"

using namespace llvm;
using namespace nag;
using namespace nag::driver;

std::optional<int64_t> nag::driver::getSequenceLength(Model &model) {
  auto logits = model.getModule().lookupSymbol<mlir::func::FuncOp>("logits");
  for (unsigned i = 0, e = logits ? logits.getNumArguments() : 0; i != e; ++i) {
    auto name = logits.getArgAttrOfType<mlir::StringAttr>(i, kNameAttrName);
    auto type = dyn_cast<mlir::RankedTensorType>(logits.getArgumentTypes()[i]);
    if (name && name == "tokens" && type && type.getRank() == 2)
      return type.getDimSize(1);
  }
  return std::nullopt;
}

Error nag::driver::addGeneration(Model &model,
                                 const GenerationOptions &options) {
  mlir::ModuleOp module = model.getModule();
  NagBuildGenerationOptions sizes;
  sizes.batch = options.batch;
  sizes.prompt = options.prompt;
  sizes.capacity = options.capacity;
  sizes.budget = options.budget;
  DiagnosticCollector diagnostics(*module.getContext());
  mlir::PassManager manager(module.getContext());
  manager.addPass(createNagBuildGeneration(sizes));
  if (succeeded(manager.run(module)))
    return Error::success();
  return diagnostics.takeError(model.getName() +
                               ": cannot generate with a cache");
}

Expected<std::unique_ptr<Model>>
nag::driver::copyForGeneration(const Model &model,
                               const GenerationOptions &options) {
  auto copy = Model::parse(model.print(), model.getName());
  if (!copy)
    return copy.takeError();
  if (Error error = addGeneration(**copy, options))
    return error;
  return copy;
}
