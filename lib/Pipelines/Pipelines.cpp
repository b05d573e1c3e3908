// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Pipelines/Pipelines.h"
#include "nag/Conversion/Passes.h"
#include "nag/Dialect/Nag/Transforms/Passes.h"
#include "nag/Dialect/Nag/Transforms/Precision.h"
#include "nag/Dialect/Nag/Transforms/RoutingPasses.h"
#include "nag/Pipelines/CPUKernels.h"
#include "nag/Pipelines/CPUPrecision.h"
#include "nag/Pipelines/GPUKernels.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace nag;

static void addCleanup(OpPassManager &manager) {
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
}

void nag::buildForwardPipeline(OpPassManager &manager,
                               const TrainingPipelineOptions &options) {
  manager.addPass(createNagExpandBlocks());
  manager.addPass(createNagDecompose());
  addCleanup(manager);
  if (options.bf16)
    manager.addPass(createNagContractInBF16());
}

void nag::buildTrainingPipeline(OpPassManager &manager,
                                const TrainingPipelineOptions &options) {
  buildForwardPipeline(manager, options);
  if (options.fuseHead)
    manager.addPass(createNagFuseHead());
  bool isLoss = options.function == "loss";
  NagDifferentiateOptions differentiate;
  differentiate.function = options.function;
  differentiate.recompute = options.recompute;
  differentiate.seeded = !isLoss;
  manager.addPass(createNagDifferentiate(differentiate));
  if (options.fuseHead)
    manager.addPass(createNagFuseHead());
  if (options.bf16)
    manager.addPass(createNagContractInBF16());
  if (isLoss)
    manager.addPass(createNagBuildOptimizer());
  addCleanup(manager);
}

void nag::buildPlanPipeline(OpPassManager &manager,
                            const ProgramPipelineOptions &options) {
  manager.addPass(createNagExpandBlocks());
  manager.addPass(createNagDecompose());
  manager.addPass(createNagReuseRows());
  if (options.fuse)
    manager.addPass(createNagFuseHead());
  NagLowerHeadOptions head;
  head.bytes = options.headBytes;
  head.maxChunks = options.headChunks;
  head.remarks = options.remarks;
  manager.addPass(createNagLowerHead(head));
  manager.addPass(createNagSplitStreams());
  addCleanup(manager);
  if (options.rowGram) {
    manager.addPass(createNagLowerToRowGram());
    addCleanup(manager);
  }
  NagFuseOptions fuse;
  fuse.joinProducts = fuse.epilogues = fuse.multiTensor = options.fuse;
  fuse.keepProducts = options.fuse && options.keepProducts;
  fuse.gatherRows = options.fuse && options.gatherRows;
  fuse.prologues = options.fuse && options.prologues;
  fuse.sharedBytes = options.sharedBytes;
  fuse.tileColumns = options.tileColumns;
  fuse.laneColumns = options.laneColumns;
  fuse.remarks = options.remarks;
  manager.addNestedPass<func::FuncOp>(createNagFuse(fuse));
  NagOutlineKernelsOptions outline;
  outline.report = options.launches;
  manager.addPass(createNagOutlineKernels(outline));
  NagPlanBuffersOptions plan;
  plan.report = options.report;
  plan.skew = options.skew;
  plan.carryRows = options.fuse;
  manager.addPass(createNagPlanBuffers(plan));
}

void nag::buildCPUPrecisionPipeline(OpPassManager &manager) {
  manager.addPass(createNagExpandBlocks());
  manager.addPass(createNagDecompose());
  manager.addNestedPass<func::FuncOp>(createNagWidenSums());
}

void nag::buildCPUCodegenPipeline(OpPassManager &manager,
                                  const ProgramPipelineOptions &options) {
  CPUKernelsOptions kernels;
  kernels.vectorBits = options.vectorBits;
  buildCPUKernelsPipeline(manager.nest<ModuleOp>(), kernels);
  manager.addPass(createConvertNagHostToLLVM());
}

void nag::buildCPUPipeline(OpPassManager &manager,
                           const ProgramPipelineOptions &options) {
  buildCPUPrecisionPipeline(manager);
  buildPlanPipeline(manager, options);
  buildCPUCodegenPipeline(manager, options);
}

void nag::registerPipelines() {
  registerCPUKernelsPipeline();
  registerGPUKernelsPipeline();
  PassPipelineRegistration<TrainingPipelineOptions>(
      "nag-training-pipeline", "expand, differentiate and add the optimizer",
      buildTrainingPipeline);
  PassPipelineRegistration<ProgramPipelineOptions>(
      "nag-cpu-pipeline", "lower to the LLVM dialect for the CPU",
      buildCPUPipeline);
}
