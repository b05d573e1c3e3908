// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The schedules of GPU kernels. They are generated apart from the other
// attributes, so that few files depend on them.
#ifndef NAG_SCHEDULE_TD
#define NAG_SCHEDULE_TD

include "mlir/IR/AttrTypeBase.td"
include "nag/Dialect/Nag/IR/NagDialect.td"

def Nag_ScheduleAttr : AttrDef<Nag_Dialect, "Schedule"> {
  let mnemonic = "schedule";
  let summary = "how a kernel is cut into blocks, warps and stages of a GPU";
  let description = [{
    Stands as `nag.schedule` on the op that leads a launch: a contraction, attention, its gradient, the embedding's gradient, or the first
    of row-wise ops that share a pass or a launch. On a kernel function it holds for all ops of its family. Chosen by `-nag-assign-schedules`, or given by hand, in the
    IR or in a file (`nagc compile --schedule`); device functions show what they follow. `family` names the emitter and its fields:

    | family | field | what |
    | --- | --- | --- |
    | `gemm` | `tile` | rows and columns of the result that a block computes, and elements of the sum that it takes at a time |
    | | `warps` | the block's warps, a grid over the tile |
    | | `stages` | tiles of operands in shared memory: `stages` - 1 are copied ahead |
    | | `split_k` | blocks that share one tile of the launch's longest sums, each with a part, which the last of them adds up in order; shorter sums have fewer, in proportion |
    | `attention` | `tile` | queries that a block keeps, and keys that it meets at a time |
    | | `warps` | the block's warps |
    | `attention_vjp` | `key_tile`, `key_warps` | the same of the gradients of keys and values: keys kept, queries met |
    | | `query_tile`, `query_warps` | of the gradient of queries: queries kept, keys met; with as many warps both are one launch |
    | `cached_attention` | `warps` | warps that share the positions of a cache |
    | `embedding_vjp` | `threads` | the block's threads |
    | | `sort` | 1: tokens are sorted first, in the same launch, which has 256 threads; 0: every row of the table looks for its token among all |
    | `rows` | `threads` | threads that share a row |
    | | `rows` | rows that a block works on at once |
    | | `width` | elements of a row that a thread reads at once, at most |
    | | `segments` | blocks that share a row, of ops that work element by element |
    | | `passes` | rows that the same threads work on, one after the other |
    | | `keep` | what a row's sums and results both read: 1: stays on the chip, in registers as far as they hold it; 2: stays in shared memory, and what ops make of it is computed for each of its readers; 0: is read again |
    | `row_parts` | `threads` | the block's threads, of a launch of several sets of rows, each with blocks of its own; they share them as the model of `rows` chooses |

    Constraints that hold for any kernel:
    - (S1) the family is one of these, and has these fields; `split_k`, `segments`, `passes` and `keep` are 1 where they do not stand;
    - (S2) the sizes of `tile`, `key_tile` and `query_tile` are powers of two up to 256, `warps` powers of two up to 32;
    - (S3) a block has at most 32 warps, and each warp a part of the tile;
    - (S4) `stages` are 2 to 16, `split_k` 1 to 65535, `keep` 0 to 2;
    - (S5) `threads` of `rows` are a power of two up to 32 or a multiple of 32 up to 1024; several rows lie in a block only where each has up to 32
      threads; `threads` x `rows` is at most 1024, `width` a power of two up to 32;
    - (S6) `threads` of `row_parts` are a multiple of 32 up to 1024, those of `embedding_vjp` a power of two from 32 to 1024; `sort` is 0 or 1.

    What a kernel's types, its sizes and the chip allow (warps' parts, registers, shared memory) is verified by `-nag-assign-schedules` and
    `-convert-nag-to-gpu`.

    A schedule changes where and when is computed what. `split_k`, tiles of `attention`, the second sizes of `key_tile` and `query_tile`,
    `warps` of `cached_attention`, and `threads`, `width`, `passes` of row-wise ops with sums also change the order of roundings, and with it the last bits; all others
    leave every bit as it is (`test/Python/test_gpu_schedules.py`).

    ```mlir
    #nag.schedule<gemm, tile = [128, 256, 32], warps = [2, 4], stages = 3>
    #nag.schedule<gemm, tile = [64, 64, 32], warps = [2, 2], stages = 4, split_k = 8>
    #nag.schedule<attention, tile = [64, 64], warps = 4>
    #nag.schedule<attention_vjp, key_tile = [64, 32], key_warps = 4, query_tile = [64, 32], query_warps = 4>
    #nag.schedule<cached_attention, warps = 8>
    #nag.schedule<embedding_vjp, threads = 128, sort = 0>
    #nag.schedule<rows, threads = 128, rows = 1, width = 8>
    #nag.schedule<row_parts, threads = 256>
    ```
  }];
  let parameters = (ins "::nag::ScheduleFamily":$family, ArrayRefParameter<"int64_t">:$values);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// The value of a field of one integer.
    int64_t get(::llvm::StringRef field) const { return getSizes(field).front(); }
    /// The values of a field, which the family has.
    ::llvm::ArrayRef<int64_t> getSizes(::llvm::StringRef field) const;
  }];
}

#endif // NAG_SCHEDULE_TD
