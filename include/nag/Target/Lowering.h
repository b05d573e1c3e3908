// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What compiling for one target has in common with compiling for another.
#ifndef NAG_TARGET_LOWERING_H
#define NAG_TARGET_LOWERING_H

#include "nag/Pipelines/Pipelines.h"

#include "llvm/Support/Error.h"

namespace llvm {
class Module;
class TargetMachine;
} // namespace llvm

namespace nag {

/// Runs the passes that `build` adds. Diagnostics go to the context's handler;
/// the error only says that there were some.
llvm::Error runPipeline(mlir::ModuleOp program,
                        llvm::function_ref<void(mlir::OpPassManager &)> build);

/// Whether the training pipeline has something to do: a function other than
/// @loss to differentiate, or a @loss without @gradients.
bool needsTraining(mlir::ModuleOp program,
                   const TrainingPipelineOptions &training);

/// LLVM's passes at -O3 for a machine; with `joinScalars` they join equal
/// operations of straight code into vectors.
void optimise(llvm::Module &module, llvm::TargetMachine &machine,
              bool joinScalars);

} // namespace nag

#endif // NAG_TARGET_LOWERING_H
