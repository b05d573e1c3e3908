// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Pipelines/CPUKernels.h"
#include "nag/Conversion/Passes.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace nag;

/// nag on tensors to linalg on buffers.
static void addBufferization(OpPassManager &manager) {
  manager.addPass(createConvertNagToLinalg());
  manager.addPass(createCSEPass());
  OpPassManager &functions = manager.nest<func::FuncOp>();
  functions.addPass(createCanonicalizerPass());
  // What all rows share, such as a softmax over a parameter, moves out.
  functions.addPass(createLoopInvariantCodeMotionPass());
  functions.addPass(bufferization::createEmptyTensorEliminationPass());
  bufferization::OneShotBufferizePassOptions bufferize;
  bufferize.bufferizeFunctionBoundaries = true;
  bufferize.functionBoundaryTypeConversion =
      bufferization::LayoutMapOption::IdentityLayoutMap;
  manager.addPass(bufferization::createOneShotBufferizePass(bufferize));
  manager.addPass(createCSEPass());
  manager.addPass(createCanonicalizerPass());
  manager.addNestedPass<func::FuncOp>(createDropKernelResults());
}

/// Tiles of attention whose products keep half of the vector registers busy
/// (32 of 512 bits, 16 of fewer): enough sums to hide the latency of one.
static ConvertNagToVectorOptions getTiles(int64_t vectorBits) {
  constexpr int64_t kElementBits = 32;
  ConvertNagToVectorOptions tiles;
  tiles.lanes = std::clamp<int64_t>(2 * vectorBits / kElementBits, 8, 64);
  tiles.rows = vectorBits >= 512 ? 8 : 4;
  return tiles;
}

/// linalg on buffers to loops over vectors, in parallel over rows.
static void addLoops(OpPassManager &manager, const CPUKernelsOptions &options) {
  manager.addPass(createConvertNagToVector(getTiles(options.vectorBits)));
  manager.addPass(createConvertNagRuntimeCalls());
  manager.addPass(createConvertLinalgMatmulToNagGemm());
  ConvertForallToOpenMPOptions threads;
  threads.minWork = options.minWork;
  manager.addPass(createConvertForallToOpenMP(threads));
  ConvertLinalgToVectorLoopsOptions vectors;
  vectors.vectorBits = options.vectorBits;
  manager.addPass(createConvertLinalgToVectorLoops(vectors));
  OpPassManager &functions = manager.nest<func::FuncOp>();
  functions.addPass(createConvertLinalgToLoopsPass());
  manager.addPass(createConvertMathToPolynomials());
}

/// Loops, vectors and buffers to the LLVM dialect.
static void addLLVM(OpPassManager &manager) {
  manager.addPass(memref::createExpandStridedMetadataPass());
  manager.addPass(createLowerAffinePass());
  manager.addPass(createConvertSCFToOpenMPPass());
  manager.addPass(createSCFToControlFlowPass());
  manager.addPass(createConvertMathToLLVMPass());
  manager.addPass(createConvertMathToLibmPass());
  ConvertVectorToLLVMPassOptions vectors;
  vectors.reassociateFPReductions = true;
  manager.addPass(createConvertVectorToLLVMPass(vectors));
  manager.addPass(createFinalizeMemRefToLLVMConversionPass());
  ConvertFuncToLLVMPassOptions functions;
  functions.useBarePtrCallConv = true;
  manager.addPass(createConvertFuncToLLVMPass(functions));
  manager.addPass(createArithToLLVMConversionPass());
  manager.addPass(createConvertControlFlowToLLVMPass());
  manager.addPass(createConvertIndexToLLVMPass());
  manager.addPass(createConvertOpenMPToLLVMPass());
  manager.addPass(createReconcileUnrealizedCastsPass());
  manager.addPass(createCSEPass());
}

void nag::buildCPUKernelsPipeline(OpPassManager &manager,
                                  const CPUKernelsOptions &options) {
  addBufferization(manager);
  addLoops(manager, options);
  addLLVM(manager);
}

void nag::registerCPUKernelsPipeline() {
  PassPipelineRegistration<CPUKernelsOptions>(
      "nag-cpu-kernels", "lower kernel functions to the LLVM dialect",
      buildCPUKernelsPipeline);
}
