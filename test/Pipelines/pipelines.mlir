// The pass lists, so that a change to them is a change to this file. There is
// no @loss here: the training pipeline prints its passes, then fails.
// RUN: not nag-opt %s --nag-training-pipeline --dump-pass-pipeline 2>&1 | FileCheck %s --check-prefix=TRAIN
// RUN: nag-opt %s --nag-cpu-pipeline --dump-pass-pipeline 2>&1 | FileCheck %s --check-prefix=CPU

// TRAIN: builtin.module(
// TRAIN-NEXT: nag-expand-blocks,
// TRAIN-NEXT: nag-decompose,
// TRAIN-NEXT: canonicalize{{.*}},
// TRAIN-NEXT: cse,
// TRAIN-NEXT: nag-fuse-head,
// TRAIN-NEXT: nag-differentiate{explain=false function=loss recompute=cheap result= seeded=false},
// TRAIN-NEXT: nag-fuse-head,
// TRAIN-NEXT: nag-build-optimizer{{.*}},
// TRAIN-NEXT: canonicalize{{.*}},
// TRAIN-NEXT: cse
// TRAIN-NEXT: )
// TRAIN: error: expected a function '@loss' to differentiate

// CPU: builtin.module(
// CPU-NEXT: nag-expand-blocks,
// CPU-NEXT: nag-decompose,
// CPU-NEXT: func.func(
// CPU-NEXT: nag-widen-sums
// CPU-NEXT: ),
// CPU-NEXT: nag-expand-blocks,
// CPU-NEXT: nag-decompose,
// CPU-NEXT: nag-reuse-rows,
// CPU-NEXT: nag-fuse-head,
// CPU-NEXT: nag-lower-head{bytes=33554432 max-chunks=32 remarks=false},
// CPU-NEXT: nag-split-streams,
// CPU-NEXT: canonicalize{{.*}},
// CPU-NEXT: cse,
// CPU-NEXT: func.func(
// CPU-NEXT: nag-fuse{chip-bytes=262144 epilogues=true gather-rows=false join-products=true keep-products=true lane-columns=0 launch-bytes=65536 multi-tensor=true prologues=false remarks=false shared-bytes=0 tile-columns=128}
// CPU-NEXT: ),
// CPU-NEXT: nag-outline-kernels{report=false},
// CPU-NEXT: nag-plan-buffers{carry-rows=true report=false skew=256},
// CPU-NEXT: builtin.module(
// CPU-NEXT: convert-nag-to-linalg,
// CPU: one-shot-bufferize
// CPU: convert-nag-to-vector{keys=128 lanes=32 rows=8}
// CPU: convert-linalg-matmul-to-nag-gemm
// CPU: convert-forall-to-openmp
// CPU: convert-linalg-to-vector-loops
// CPU: finalize-memref-to-llvm
// CPU: convert-openmp-to-llvm
// CPU: ),
// CPU-NEXT: convert-nag-host-to-llvm
// CPU-NEXT: )
module {}
