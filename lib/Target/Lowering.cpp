// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Target/Lowering.h"

#include "mlir/Pass/PassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Target/TargetMachine.h"

using namespace llvm;
using namespace nag;

Error nag::runPipeline(mlir::ModuleOp program,
                       function_ref<void(mlir::OpPassManager &)> build) {
  mlir::PassManager manager(program.getContext());
  build(manager);
  if (failed(manager.run(program)))
    return createStringError("the module cannot be compiled");
  return Error::success();
}

bool nag::needsTraining(mlir::ModuleOp program,
                        const TrainingPipelineOptions &training) {
  if (training.function != "loss")
    return true;
  return program.lookupSymbol("loss") && !program.lookupSymbol("gradients");
}

void nag::optimise(Module &module, TargetMachine &machine, bool joinScalars) {
  PipelineTuningOptions tuning;
  tuning.LoopVectorization = true;
  tuning.SLPVectorization = joinScalars;
  PassBuilder passes(&machine, tuning);
  LoopAnalysisManager loops;
  FunctionAnalysisManager functions;
  CGSCCAnalysisManager components;
  ModuleAnalysisManager modules;
  passes.registerModuleAnalyses(modules);
  passes.registerCGSCCAnalyses(components);
  passes.registerFunctionAnalyses(functions);
  passes.registerLoopAnalyses(loops);
  passes.crossRegisterProxies(loops, functions, components, modules);
  passes.buildPerModuleDefaultPipeline(OptimizationLevel::O3)
      .run(module, modules);
}
