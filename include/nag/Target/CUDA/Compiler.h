// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From a module of nag ops to PTX and the host program that launches it.
#ifndef NAG_TARGET_CUDA_COMPILER_H
#define NAG_TARGET_CUDA_COMPILER_H

#include "nag/Pipelines/GPUKernels.h"
#include "nag/Pipelines/Pipelines.h"
#include "nag/Target/CUDA/Assembler.h"
#include "nag/Target/CUDA/PTX.h"
#include "nag/Target/Manifest.h"

#include "mlir/IR/OwningOpRef.h"

namespace nag::cuda {

struct LoweredProgram;

/// Sees what becomes of a program's kernels.
class ProgramObserver {
public:
  virtual ~ProgramObserver() = default;
  /// The module of kernel functions, each with its schedule, before it is
  /// lowered.
  virtual void seeKernels(mlir::ModuleOp) {}
  /// The device functions as they are loaded. A failure ends the compilation.
  virtual llvm::Error seeDevice(const LoweredProgram &, llvm::StringRef) {
    return llvm::Error::success();
  }
  /// Stands for the launch of entry `kernel` of LoweredProgram::kernels.
  virtual void launch(size_t, llvm::function_ref<void()> launchKernel) {
    launchKernel();
  }
  /// So many bytes of device memory are copied to another place of it.
  virtual void copy(int64_t) {}
};

struct CompileOptions {
  /// With fewer chunks of the head than a CPU's, which stay in its cache: each
  /// launches four kernels, and reads and writes the weight's gradient.
  CompileOptions() {
    plan.headBytes = 96 << 20;
    plan.headChunks = 6;
  }

  TrainingPipelineOptions training;
  ProgramPipelineOptions plan;
  GPUKernelsOptions kernels;
  /// Null, or outlives the program.
  ProgramObserver *observer = nullptr;
  /// False: a @loss is compiled as it stands, without gradients and optimizer.
  bool differentiate = true;
  /// Weights that are rounded to bf16 keep a copy (-nag-keep-roundings).
  bool keepRoundings = false;
  /// Where createProgram keeps PTX for the next time (KernelCache.h); empty:
  /// nowhere.
  std::string kernelCache;
};

/// A device function and how it is launched.
struct KernelInfo {
  std::string name;
  /// The kernel function that it is a launch of, and its #nag.schedule as text
  /// where it has one.
  std::string source, schedule;
  /// The key by which a schedule file knows its launch (LaunchModel::getKey),
  /// where it has a schedule, and on the first of such launches what the model
  /// takes for the time of all of them, in cycles; else 0.
  std::string key;
  int64_t modelCycles = 0;
  std::array<int64_t, 3> grid, block;
  /// Dynamic shared memory, in bytes; static shared memory is in the PTX.
  int64_t sharedBytes = 0;
  /// Number of arguments, all pointers to device memory or scalars.
  int64_t arguments = 0;
};

/// A program for a GPU before its machine code: `host` holds the host functions
/// in the LLVM dialect, `device` the gpu.module of device functions.
struct LoweredProgram {
  std::string chip;
  Manifest manifest;
  std::vector<KernelInfo> kernels;
  int64_t scratchBytes = 0;
  mlir::OwningOpRef<mlir::ModuleOp> device;

  mlir::gpu::GPUModuleOp getDeviceModule() const;
};

/// Lowers `program` in place to its host functions in the LLVM dialect and
/// takes the device functions out: differentiates first where it has a @loss.
/// Diagnostics go to the context's handler; the error only says that there
/// were some.
llvm::Expected<LoweredProgram> lower(mlir::ModuleOp program,
                                     const CompileOptions &options);

/// {"functions", "parameters", "config"} as for other targets, and "target",
/// "chip", "scratch_bytes", "kernels": [{"name", "grid", "block",
/// "shared_bytes", "arguments", "schedule", "key"}]; with `resources` also
/// "registers", "spill_bytes" and "static_shared_bytes" of each.
llvm::json::Value
toJSON(const LoweredProgram &program,
       const llvm::StringMap<KernelResources> *resources = nullptr);

/// Compiles `program`, which is lowered in place, and loads it into a device:
/// "vm" (the PTX machine) or the number of a GPU. It can be called as long as
/// it lives, one call at a time: calls share a workspace. Fails where the
/// folder of the kernel cache cannot be made.
llvm::Expected<std::unique_ptr<runtime::Program>>
createProgram(mlir::ModuleOp program, const CompileOptions &options,
              llvm::StringRef device);

} // namespace nag::cuda

#endif // NAG_TARGET_CUDA_COMPILER_H
