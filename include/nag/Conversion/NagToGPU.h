// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Lowering of kernel functions to the gpu dialect: what the emitters of the
// kernel families share. A kernel function becomes a host function of the same
// name that takes buffers and launches device functions.
#ifndef NAG_CONVERSION_NAGTOGPU_H
#define NAG_CONVERSION_NAGTOGPU_H

#include "nag/Conversion/LaunchModel.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

#include <array>

namespace nag {

/// The gpu.module that holds a program's device functions.
inline constexpr llvm::StringLiteral kDeviceModuleName = "device";
/// On a device function: the name of the kernel function it is a launch of.
inline constexpr llvm::StringLiteral kSourceAttrName = "nag.source";
/// On a device function: LaunchModel::getKey() of the ops that it computes, and
/// on the first of theirs, LaunchModel::estimate().cycles.
inline constexpr llvm::StringLiteral kLaunchKeyAttrName = "nag.launch_key";
inline constexpr llvm::StringLiteral kModelCyclesAttrName = "nag.model_cycles";
/// On the kernels' module: the bytes of scratch memory that a launch sequence
/// needs at most.
inline constexpr llvm::StringLiteral kScratchBytesAttrName =
    "nag.scratch_bytes";

/// How contractions of f32 tensors multiply: as f32, or on tensor cores with
/// operands rounded to tf32.
enum class F32Contraction { F32, TF32 };

/// What kernels may use of a chip.
struct GPUTarget {
  const GPUChip *chip;
  F32Contraction f32Contraction = F32Contraction::F32;

  /// Shared memory that the rows of row-wise ops may take beside reductions, in
  /// bytes of a block.
  int64_t getSharedRowBytes() const { return chip->maxSharedBytes - 4 * 1024; }

  /// The target of a chip's name, f32 contractions in tf32 where asked for;
  /// fails, with an error that lists the chips, for other names.
  static mlir::FailureOr<GPUTarget>
  get(llvm::StringRef chip, bool tf32,
      llvm::function_ref<mlir::InFlightDiagnostic()> emitError);
};

/// The size of a grid or block, x first.
using Dim3 = std::array<int64_t, 3>;

/// A device function in the making: `builder` stands at the end of its body,
/// before the return.
struct DeviceFunction {
  mlir::gpu::GPUFuncOp function;
  mlir::ImplicitLocOpBuilder builder;
  /// What stands for the values the launch passes, in their order.
  llvm::SmallVector<mlir::Value> arguments;

  /// A buffer in shared memory, aligned for the widest access (16 bytes).
  mlir::Value addShared(mlir::Type element, int64_t length);
};

/// One kernel function on its way: its ops on tensors (the source) and the host
/// function on buffers (memrefs with row-major layout) that launches its device
/// functions.
class KernelLowering {
public:
  KernelLowering(mlir::func::FuncOp sourceFunction,
                 mlir::func::FuncOp hostFunction,
                 mlir::gpu::GPUModuleOp deviceModule,
                 const GPUTarget &gpuTarget);

  mlir::func::FuncOp getSource() const { return source; }
  const GPUTarget &getTarget() const { return target; }

  /// The buffer of a tensor of the source: an argument, a reshape of another
  /// buffer, or the place of an op's result. A result's place is the
  /// destination that bufferization.materialize_in_destination names for it,
  /// else scratch memory, allocated at the first call.
  mlir::Value getBuffer(mlir::Value tensor);
  /// The buffer in another static shape of as many elements.
  mlir::Value getBuffer(mlir::Value tensor, llvm::ArrayRef<int64_t> shape);
  /// Device memory that lives until the kernel's end; not initialised.
  mlir::Value allocateScratch(mlir::MemRefType type);

  /// The schedule of the launches that come next, until the next call: that of
  /// getSchedule(model). Device functions show it, with the launches' key.
  mlir::FailureOr<ScheduleAttr> follow(const LaunchModel &model);
  /// The launches that come next have no schedule.
  void followNone() { followed.clear(); }

  /// Adds a launch of a new device function, after those there are. It is named
  /// for the kernel and `suffix`, which may be empty. `operands` are buffers or
  /// scalars of the host function.
  DeviceFunction createLaunch(llvm::StringRef suffix, mlir::ValueRange operands,
                              Dim3 grid, Dim3 block,
                              int64_t dynamicSharedBytes = 0);

  /// Builds host ops before the next launch.
  mlir::ImplicitLocOpBuilder &getHostBuilder() { return hostBuilder; }
  void setLoc(mlir::Location loc) { hostBuilder.setLoc(loc); }

private:
  mlir::Value computeBuffer(mlir::Value tensor);
  void showFollowed(mlir::gpu::GPUFuncOp function);

  mlir::func::FuncOp source;
  mlir::gpu::GPUModuleOp device;
  const GPUTarget &target;
  mlir::ImplicitLocOpBuilder hostBuilder;
  mlir::IRMapping buffers;
  /// Attributes of the next device functions, and of the next one alone.
  llvm::SmallVector<mlir::NamedAttribute, 3> followed;
};

/// An emitter lowers the first op of `ops`, or a run of ops from it on, when it
/// knows how: it returns how many it has lowered, 0 when these are not of its
/// family. `ops` are the ops of a kernel that compute something, in order. It
/// fails, with an error at the op, where the family is right but the op's
/// types, sizes or the target are not.
using GPUEmitter = llvm::FailureOr<unsigned> (*)(
    KernelLowering &kernel, llvm::ArrayRef<mlir::Operation *> ops);

/// What an emitter would do with the first ops of a kernel: how many it takes,
/// 0 where these are not of its family, and what is known of their launches;
/// null where there is none, or nothing about them to choose.
struct LaunchPlan {
  unsigned numOps = 0;
  std::unique_ptr<LaunchModel> model;
};

/// Lowers what the plan takes by `emit`, which is told the schedule that the
/// launches follow; returns what a GPUEmitter does. The plan must have a model
/// where it takes ops.
llvm::FailureOr<unsigned>
emitPlanned(KernelLowering &kernel, llvm::FailureOr<LaunchPlan> plan,
            llvm::function_ref<void(ScheduleAttr)> emit);

/// The families' plans, in the same way as GPUEmitter. Nothing is emitted.
using GPUPlanner = llvm::FailureOr<LaunchPlan> (*)(
    const GPUTarget &target, llvm::ArrayRef<mlir::Operation *> ops);

/// The schedule that stands on an op, else that on its function if it is of the
/// op's family; null where there is none. Fails, with an error at the op, on an
/// attribute of another kind or family.
llvm::FailureOr<ScheduleAttr> getGivenSchedule(mlir::Operation *op,
                                               ScheduleFamily family);
/// Row-wise ops (RowwiseOpInterface), joined as far as they share rows.
llvm::FailureOr<unsigned> emitRows(KernelLowering &kernel,
                                   llvm::ArrayRef<mlir::Operation *> ops);
/// nag.linear and nag.weight_grad.
llvm::FailureOr<unsigned> emitGemm(KernelLowering &kernel,
                                   llvm::ArrayRef<mlir::Operation *> ops);
/// nag.attention, nag.attention_vjp and nag.cached_attention.
llvm::FailureOr<unsigned> emitAttention(KernelLowering &kernel,
                                        llvm::ArrayRef<mlir::Operation *> ops);
/// nag.embedding_vjp.
llvm::FailureOr<unsigned>
emitEmbeddingVJP(KernelLowering &kernel, llvm::ArrayRef<mlir::Operation *> ops);

/// nag.route, nag.quantile.
llvm::FailureOr<unsigned> emitSelection(KernelLowering &kernel,
                                        llvm::ArrayRef<mlir::Operation *> ops);

llvm::FailureOr<LaunchPlan> planRows(const GPUTarget &target,
                                     llvm::ArrayRef<mlir::Operation *> ops);
llvm::FailureOr<LaunchPlan> planGemm(const GPUTarget &target,
                                     llvm::ArrayRef<mlir::Operation *> ops);
llvm::FailureOr<LaunchPlan>
planAttention(const GPUTarget &target, llvm::ArrayRef<mlir::Operation *> ops);
llvm::FailureOr<LaunchPlan>
planEmbeddingVJP(const GPUTarget &target,
                 llvm::ArrayRef<mlir::Operation *> ops);
/// One warp per sequence: nothing to choose.
llvm::FailureOr<LaunchPlan>
planSelection(const GPUTarget &target, llvm::ArrayRef<mlir::Operation *> ops);

/// A family: what it emits, and how it would cut it.
struct KernelFamily {
  GPUEmitter emit;
  GPUPlanner plan;
};
/// The plan of the family that takes the first of `ops`; of no ops where none
/// does.
llvm::FailureOr<LaunchPlan> planFirst(const GPUTarget &target,
                                      llvm::ArrayRef<mlir::Operation *> ops);
/// The families, in the order in which they are asked: a contraction takes
/// row-wise ops around it along where it can.
llvm::ArrayRef<KernelFamily> getKernelFamilies();
/// The ops of a kernel function that compute something, in order.
llvm::SmallVector<mlir::Operation *>
collectComputation(mlir::func::FuncOp kernel);

/// The offsets whose last says how many rows of `op` in a kernel count
/// (nag.row_count); null where all of them do.
mlir::Value findRowCount(mlir::Operation *op);
/// The share of those rows that is expected to count; 1 where all of them do or
/// nobody says.
double getExpectedShare(mlir::Operation *op);

/// The device functions of a gpu.module in the order in which launches number
/// them.
llvm::SmallVector<mlir::gpu::GPUFuncOp>
getDeviceKernels(mlir::gpu::GPUModuleOp device);

} // namespace nag

#endif // NAG_CONVERSION_NAGTOGPU_H
