// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From a module of nag ops to machine code for this computer's processor.
#ifndef NAG_TARGET_CPU_COMPILER_H
#define NAG_TARGET_CPU_COMPILER_H

#include "nag/Pipelines/Pipelines.h"
#include "nag/Target/Manifest.h"

#include "llvm/ADT/SmallVector.h"

#include <memory>

namespace llvm {
class LLVMContext;
class Module;
} // namespace llvm

namespace nag::cpu {

struct CompileOptions {
  TrainingPipelineOptions training;
  ProgramPipelineOptions pipeline;
  /// False: a @loss is compiled as it stands, without gradients and optimizer.
  bool differentiate = true;
  /// Threads of the program's calls; 0: OpenMP's default.
  int threads = 0;
};

/// Registers what translating to LLVM IR needs; call it on the registry of the
/// module's context.
void registerTranslations(mlir::DialectRegistry &registry);

/// Lowers `program` in place to the LLVM dialect: differentiates first where it
/// has a @loss. Diagnostics go to the context's handler; the error only says
/// that there were some.
llvm::Expected<Manifest> lowerToLLVMDialect(mlir::ModuleOp program,
                                            const CompileOptions &options);

/// LLVM IR of a lowered program, optimised for this computer's processor.
llvm::Expected<std::unique_ptr<llvm::Module>>
translateToLLVM(mlir::ModuleOp program, llvm::LLVMContext &context);

/// Machine code: the bytes of a relocatable object file.
llvm::Expected<llvm::SmallVector<char, 0>> emitObject(llvm::Module &module);

/// Compiles `program` in memory; it can be called as long as it lives. Lowers
/// `program` in place. One call at a time: calls share a workspace.
llvm::Expected<std::unique_ptr<runtime::Program>>
createProgram(mlir::ModuleOp program, const CompileOptions &options);

} // namespace nag::cpu

#endif // NAG_TARGET_CPU_COMPILER_H
