// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The compiler's pipelines: one options struct and one build function each,
// called by nag-opt, nagc and the Python package alike.
#ifndef NAG_PIPELINES_PIPELINES_H
#define NAG_PIPELINES_PIPELINES_H

#include "nag/Dialect/Nag/Transforms/Passes.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"

namespace nag {

/// The values of an option of type RecomputeMode.
inline llvm::cl::ValuesClass getRecomputeModes() {
  return llvm::cl::values(
      clEnumValN(RecomputeMode::None, "none", "no computation"),
      clEnumValN(RecomputeMode::Cheap, "cheap",
                 "neither contractions nor reductions"),
      clEnumValN(RecomputeMode::All, "all", "anything but repeats"));
}

/// `nag-training-pipeline`: from a model to its training step.
struct TrainingPipelineOptions
    : mlir::PassPipelineOptions<TrainingPipelineOptions> {
  Option<std::string> function{
      *this, "function",
      llvm::cl::desc("function to differentiate: @loss gets @gradients and an "
                     "optimizer, any other @f a @f.gradients that takes "
                     "cotangents"),
      llvm::cl::init("loss")};
  Option<bool> fuseHead{
      *this, "fuse-head",
      llvm::cl::desc("join the head's product and the loss, so that the logits "
                     "need not be kept"),
      llvm::cl::init(true)};
  Option<RecomputeMode> recompute{
      *this, "recompute",
      llvm::cl::desc("what the backward pass computes again instead of saving"),
      llvm::cl::init(RecomputeMode::Cheap), getRecomputeModes()};
  Option<bool> bf16{
      *this, "bf16",
      llvm::cl::desc("contractions of f32 tensors read and write bf16"),
      llvm::cl::init(false)};
};

/// What a program that is not differentiated has in common with one that is:
/// blocks expanded, ops decomposed, contractions in their precision.
void buildForwardPipeline(mlir::OpPassManager &manager,
                          const TrainingPipelineOptions &options);

/// Adds the derivative of a function, and the optimizer when that is @loss.
void buildTrainingPipeline(mlir::OpPassManager &manager,
                           const TrainingPipelineOptions &options);

/// How a program, differentiated or not, is cut into kernels and its memory
/// planned, for every target.
struct ProgramPipelineOptions
    : mlir::PassPipelineOptions<ProgramPipelineOptions> {
  Option<bool> report{
      *this, "report",
      llvm::cl::desc("print what the memory plan of each function costs"),
      llvm::cl::init(false)};
  Option<bool> fuse{
      *this, "fuse",
      llvm::cl::desc("join products, run row-wise ops in their kernels and the "
                     "optimizer's ops in one kernel per group"),
      llvm::cl::init(true)};
  Option<bool> rowGram{
      *this, "row-gram",
      llvm::cl::desc("write rotate and the norms as sums and combinations of "
                     "rows before kernels are formed"),
      llvm::cl::init(false)};
  Option<bool> remarks{*this, "remarks",
                       llvm::cl::desc("say what was fused, what not, and why"),
                       llvm::cl::init(false)};
  Option<bool> launches{
      *this, "launches",
      llvm::cl::desc("print how many kernels each function launches"),
      llvm::cl::init(false)};
  Option<int64_t> tileColumns{
      *this, "tile-columns",
      llvm::cl::desc("columns of a product that ops behind it may need "
                     "together; 1 for elementwise ops only"),
      llvm::cl::init(128)};
  Option<int64_t> laneColumns{
      *this, "lane-columns",
      llvm::cl::desc("columns of a product that lanes hold together, or powers "
                     "of two from half as many on; 0 for any"),
      llvm::cl::init(0)};
  Option<bool> gatherRows{
      *this, "gather-rows",
      llvm::cl::desc("let products read the rows of nag.take where they are"),
      llvm::cl::init(false)};
  Option<int64_t> skew{
      *this, "skew",
      llvm::cl::desc("bytes that stay free behind each buffer of a page or "
                     "more, so that not all share the sets of a cache"),
      llvm::cl::init(256)};
  Option<bool> prologues{
      *this, "prologues",
      llvm::cl::desc("let products compute elements of operands as they load "
                     "them, where that is cheaper"),
      llvm::cl::init(false)};
  Option<int64_t> sharedBytes{
      *this, "shared-bytes",
      llvm::cl::desc("bytes of the rows that a kernel may read where ops that "
                     "make rows of them do so for every use"),
      llvm::cl::init(0)};
  Option<bool> keepProducts{
      *this, "keep-products",
      llvm::cl::desc("run a product before the ops that follow it in its "
                     "kernel, its result in memory"),
      llvm::cl::init(true)};
  Option<int64_t> headBytes{
      *this, "head-bytes",
      llvm::cl::desc("bytes of logits that the loss may have in memory"),
      llvm::cl::init(32 << 20)};
  Option<int64_t> headChunks{
      *this, "head-chunks",
      llvm::cl::desc("largest number of chunks that logits are cut into, "
                     "though more bytes of them be in memory"),
      llvm::cl::init(32)};
  Option<int64_t> vectorBits{
      *this, "vector-bits",
      llvm::cl::desc("bits of the vectors that row-wise loops work on"),
      llvm::cl::init(512)};
};

/// The first half: kernels formed and outlined, memory planned. Here the
/// program's entry points can still be described.
void buildPlanPipeline(mlir::OpPassManager &manager,
                       const ProgramPipelineOptions &options);
/// The second half: kernels and host program to the LLVM dialect.
void buildCPUCodegenPipeline(mlir::OpPassManager &manager,
                             const ProgramPipelineOptions &options);
void buildCPUPipeline(mlir::OpPassManager &manager,
                      const ProgramPipelineOptions &options);

/// Registers all pipelines by name.
void registerPipelines();

} // namespace nag

#endif // NAG_PIPELINES_PIPELINES_H
