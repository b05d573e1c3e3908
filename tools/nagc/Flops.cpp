// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nagc flops: what a training step of a model costs.
#include "Commands.h"

#include "nag/Dialect/Nag/Transforms/RoutingPasses.h"
#include "nag/Model/Cost.h"
#include "nag/Pipelines/Pipelines.h"

#include "mlir/Pass/PassManager.h"
#include "llvm/Support/FormatVariadic.h"

using namespace llvm;
using namespace nag;

static cl::SubCommand
    flopsCommand("flops", "Count parameters, FLOPs and saved bytes of a "
                          "training step, exactly, from the IR");

static cl::opt<std::string> input(cl::Positional, cl::sub(flopsCommand),
                                  cl::Required, cl::desc("<model.mlir>"));
static cl::opt<bool> asJson("json", cl::sub(flopsCommand),
                            cl::desc("Print a JSON object"));
static cl::opt<RecomputeMode> recompute(
    "recompute", cl::sub(flopsCommand), cl::init(RecomputeMode::Cheap),
    cl::desc("What the backward pass computes again instead of saving:"),
    getRecomputeModes());

static Error differentiate(mlir::ModuleOp module) {
  tool::DiagnosticCollector diagnostics(*module.getContext());
  TrainingPipelineOptions options;
  options.recompute = recompute.getValue();
  mlir::PassManager manager(module.getContext());
  // Counted op by op.
  options.fuseHead = false;
  buildTrainingPipeline(manager, options);
  manager.addPass(createNagReuseRows());
  if (succeeded(manager.run(module)))
    return Error::success();
  return diagnostics.takeError(input + ": cannot be differentiated");
}

static Expected<int> run() {
  mlir::DialectRegistry registry;
  tool::registerDialects(registry);
  mlir::MLIRContext context(registry);
  Expected<mlir::OwningOpRef<mlir::ModuleOp>> module =
      tool::readModule(input, context);
  if (!module)
    return module.takeError();
  if (Error error = differentiate(**module))
    return error;
  Expected<model::StepCost> cost = model::measureStep(**module);
  if (!cost)
    return createStringError(input + ": " + toString(cost.takeError()));
  if (asJson)
    outs() << formatv("{0:2}", json::Value(model::toJSON(*cost))) << '\n';
  else
    model::print(*cost, outs());
  return tool::kDone;
}

tool::Command nag::tool::getFlopsCommand() { return {flopsCommand, run}; }
