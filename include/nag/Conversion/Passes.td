// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef NAG_CONVERSION_PASSES_TD
#define NAG_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertNagHostToLLVM : Pass<"convert-nag-host-to-llvm", "::mlir::ModuleOp"> {
  let summary = "lowers the planned host program to LLVM functions";
  let description = [{
    Each host function becomes `void nag_<name>(void **arguments, void *workspace)`: the buffers of its arguments, then of
    its results that stand in none of these, and `nag.workspace_bytes` bytes of memory aligned to 64. Launches call the kernels,
    which must be lowered to functions of bare pointers; a nag.repeat is a loop that passes slices of the stacks by pointer.
    The kernels' module is merged into the program.

    With `device-memory`, buffers are places in a GPU's memory, which the host cannot read: copies and the addresses of constants
    become calls of `nag_gpu_copy` and `nag_gpu_constant`.
  }];
  let options = [
    Option<"deviceMemory", "device-memory", "bool", "false", "buffers are memory of a GPU">
  ];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

def ConvertNagToLinalg : Pass<"convert-nag-to-linalg"> {
  let summary = "lowers nag ops to linalg on tensors, row-wise ops to one loop over their rows";
  let description = [{
    Rewrites the nag ops of every function within. In a kernel (attribute `nag.kernel`) consecutive row-wise ops over the same rows
    become one `scf.forall`, whose body is the work for one row: values between these ops stay values of a row.
    In other functions each op is lowered by itself. A result that `bufferization.materialize_in_destination` puts into a
    function argument is computed right there.

    A kernel with a sum over all rows loops over a fixed number of row chunks and adds up the chunks' sums in order,
    so its bits do not depend on the number of threads.

    Where an argument of the kernel is marked `nag.row_count`, it holds the offsets of routed rows (nag.route): loops over rows and
    products of matrices end at the last of them. Selection (nag.route, nag.quantile) becomes nag.runtime_call.

    Streams must be split (`-nag-split-streams`) and composite ops decomposed (`-nag-decompose`).
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
      "::mlir::bufferization::BufferizationDialect", "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
      "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect"];
}

def ConvertLinalgToVectorLoops : Pass<"convert-linalg-to-vector-loops"> {
  let summary = "lowers elementwise linalg ops and reductions on buffers to loops over vectors";
  let description = [{
    A linalg.generic on buffers of static shape becomes a loop nest whose innermost loop works on vectors; what a vector's width does not
    divide is done in vectors of half that width, and so on, so no element outside the buffers is touched. Reductions along the innermost
    dimension keep one partial result per lane. Copies, fills and other elementwise named ops are taken along. Ops
    that do not run along contiguous memory stay, for `-convert-linalg-to-loops`.
  }];
  let options = [
    Option<"vectorBits", "vector-bits", "int64_t", "512", "bits of one vector; light bodies use two at a time">
  ];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
      "::mlir::linalg::LinalgDialect", "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
      "::mlir::vector::VectorDialect"];
}

def ConvertForallToOpenMP : Pass<"convert-forall-to-openmp"> {
  let summary = "lowers scf.forall on buffers to OpenMP loops with scratch on the threads' stacks";
  let description = [{
    Each thread takes one contiguous part of the iterations (static schedule). Buffers that the body allocates are allocated once per
    thread, on its stack, before the loop. A loop with less than `min-work` to do runs sequentially: starting threads
    would cost more than it saves. Small buffers of the function itself move to the stack too; large ones are freed at its end.
  }];
  let options = [
    Option<"minWork", "min-work", "int64_t", "65536", "element operations from which threads pay">,
    Option<"maxStackBytes", "max-stack-bytes", "int64_t", "262144", "largest buffer to put on the stack">
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect",
      "::mlir::omp::OpenMPDialect", "::mlir::scf::SCFDialect"];
}

def ConvertMathToPolynomials : Pass<"convert-math-to-polynomials"> {
  let summary = "replaces f32 exp, log, log1p, tanh and erf by arithmetic";
  let description = [{
    On scalars and on vectors. Other types stay, for the C library.

    With `without-library`, for machines that have none, also f32 sin, cos, rsqrt and powf (computed by way of f64) and f64 exp, sin
    and cos. What is one instruction, such as a square root, becomes a call of LLVM's intrinsic.
  }];
  let options = [
    Option<"withoutLibrary", "without-library", "bool", "false", "expand what the C library would do">
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect", "::mlir::math::MathDialect",
      "::mlir::vector::VectorDialect"];
}

def DropKernelResults : Pass<"nag-drop-kernel-results", "::mlir::func::FuncOp"> {
  let summary = "kernels return nothing once their destinations are buffers";
  let description = [{
    Functions with the attribute `nag.kernel` return their last arguments, the destinations. Callers have these at hand. A result that
    bufferization put elsewhere is copied to its destination.
  }];
  let dependentDialects = ["::mlir::memref::MemRefDialect"];
}

def ConvertNagToVector : Pass<"convert-nag-to-vector", "::mlir::ModuleOp"> {
  let summary = "lowers attention on buffers to parallel loops over tiles and vector code";
  let description = [{
    Rewrites nag.stream_attention and nag.stream_attention_vjp on buffers. A tile of `lanes` queries lies across the lanes of a vector, so that
    the softmax needs no reduction across lanes; keys and values are read as scalars, straight from their rows. Keys that no query of a tile
    sees are never visited. Where queries do not fill all tiles, the first one has fewer: its queries see the fewest keys. Scores live in a
    stack buffer of `keys` x `lanes`; no T x T matrix exists.

    Each parallel iteration is a call of a function of its own, so that its scratch buffers live in that function's stack frame.
    The forward pass runs one parallel loop over pairs of query tiles of equal work, the backward pass one over key-value heads, whose
    sums it adds in the order of heads and queries: results do not depend on the number of threads.
  }];
  let options = [
    Option<"lanes", "lanes", "int64_t", "16", "queries per tile, a power of two, 8 or more">,
    Option<"rows", "rows", "int64_t", "4", "rows of a product kept in registers, a divisor of 'lanes'">,
    Option<"keys", "keys", "int64_t", "128", "keys per softmax step, a multiple of 'lanes' and larger">
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect", "::mlir::memref::MemRefDialect",
      "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect"];
}

def ConvertNagRuntimeCalls : Pass<"convert-nag-runtime-calls", "::mlir::ModuleOp"> {
  let summary = "turns nag.runtime_call on buffers into calls of C functions";
  let description = [{
    The callee is declared in the module around the call; it takes the sizes as i64 and the buffers as bare pointers.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect", "::mlir::LLVM::LLVMDialect",
      "::mlir::memref::MemRefDialect"];
}

def ConvertLinalgMatmulToNagGemm : Pass<"convert-linalg-matmul-to-nag-gemm", "::mlir::ModuleOp"> {
  let summary = "turns matrix products on buffers into calls of nag_gemm_f32 and nag_gemm_f64";
  let description = [{
    A linalg op that contracts two f32 (or f64) buffers into a third becomes a call where each operand is a matrix with contiguous rows
    or columns: any leading dimension, dynamic sizes, either operand transposed, several dimensions that collapse into one. A
    preceding linalg.fill with zero is dropped and the product overwrites (beta = 0); otherwise it adds (beta = 1). Other ops stay.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect", "::mlir::LLVM::LLVMDialect",
      "::mlir::memref::MemRefDialect"];
}

def ConvertNagToGPU : Pass<"convert-nag-to-gpu", "::mlir::ModuleOp"> {
  let summary = "lowers kernel functions to the gpu dialect";
  let description = [{
    Runs on the module of kernel functions (`-nag-outline-kernels`). Each becomes a host function on buffers that launches device
    functions of the gpu.module `@device`, which hold the kernel's ops as thread code for one chip. Memory that only the launches
    of one kernel share is a `gpu.alloc` of static size. Sums that cross blocks go through such memory in a fixed order:
    results do not depend on the order in which blocks run.

    ```mlir
    func.func @relu2_kernel(%x: memref<8x16xf32>, %out: memref<8x16xf32>) attributes {nag.kernel} {
      gpu.launch_func @device::@relu2_kernel blocks in (%c2, %c1, %c1) threads in (%c128, %c1, %c1)
          args(%x : memref<8x16xf32>, %out : memref<8x16xf32>)
      return
    }
    ```
  }];
  let options = [
    Option<"chip", "chip", "std::string", "\"sm_80\"", "sm_80 or sm_90a">,
    Option<"tf32", "tf32", "bool", "false", "contractions of f32 tensors round their operands to tf32, for tensor cores">
  ];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect", "::mlir::cf::ControlFlowDialect",
      "::mlir::gpu::GPUDialect", "::mlir::LLVM::LLVMDialect", "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect",
      "::mlir::nvgpu::NVGPUDialect", "::mlir::NVVM::NVVMDialect", "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect"];
}

def NagAssignSchedules : Pass<"nag-assign-schedules", "::mlir::ModuleOp"> {
  let summary = "chooses how kernels are cut into blocks and warps of a GPU";
  let description = [{
    Runs on the module of kernel functions and puts a `nag.schedule` on every op that leads a launch: a contraction, attention, the
    embedding's gradient, the first of row-wise ops that share a launch. One that is there, on the op or on the function, stays and is
    verified. Else each family lists schedules and says what their blocks do, and one model of the chip takes the one that it finds the
    fastest: bytes and operations per cycle, registers, shared memory, blocks that a multiprocessor holds, how evenly they fill the chip,
    waiting that nothing hides, bytes of memory with those of partial sums. `-convert-nag-to-gpu` follows what stands there, and asks the
    same model where nothing does. With `remarks`, the pass says what the model saw.

    `file` overrides schedules by the key of a launch, what its schedule depends on: the family, the ops with their integers and flags, and
    the types of what goes in and comes out, those that are alike counted. One file serves every program that has such launches, under
    whatever name; keys that are none of the program's are counted in a warning. With a member `chip`, it is for that chip only.

    ```json
    {"chip": "sm_80", "kernels": {
      "gemm linear: 64x64xbf16, 32x64xbf16 -> 64x32xbf16": {"family": "gemm", "tile": [32, 32, 32], "warps": [1, 1], "stages": 4}}}
    ```

    ```mlir
    %y = nag.linear %x, %w {nag.schedule = #nag.schedule<gemm, tile = [128, 256, 32], warps = [2, 4], stages = 3>} : ...
    ```
  }];
  let options = [
    Option<"chip", "chip", "std::string", "\"sm_80\"", "sm_80 or sm_90a">,
    Option<"tf32", "tf32", "bool", "false", "contractions of f32 tensors round their operands to tf32, for tensor cores">,
    Option<"file", "file", "std::string", "", "JSON file of schedules that override the choice">,
    Option<"remarks", "remarks", "bool", "false", "Say what was chosen and what the model takes for its time">
  ];
}

def ConvertNagLaunchesToLLVM : Pass<"convert-nag-launches-to-llvm", "::mlir::ModuleOp"> {
  let summary = "lowers the host side of GPU kernels to calls of the runtime";
  let description = [{
    Host functions of `-convert-nag-to-gpu` become LLVM functions of bare pointers to device memory. A launch becomes a call of

        void nag_gpu_launch(void *context, int64_t kernel, const int64_t *sizes, void **arguments)

    with the kernel's number among the device functions, `sizes` = grid x, y, z, block x, y, z, dynamic shared bytes, and one
    pointer per argument to its value. `gpu.alloc` is a place in `void *nag_gpu_scratch(void *context)`, whose size in bytes becomes
    the attribute `nag.scratch_bytes` of the module. The context is the address of the symbol `nag_gpu_context`.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

#endif // NAG_CONVERSION_PASSES_TD
