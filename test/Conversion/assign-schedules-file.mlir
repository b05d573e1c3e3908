// Every fault of a schedule file is one line that names it.
// RUN: rm -rf %t && split-file %s %t
// RUN: not nag-opt %t/kernel.mlir -nag-assign-schedules=file=%t/none.json 2>&1 | FileCheck %s --check-prefix=NONE
// NONE: error: {{.*}}none.json: No such file or directory
// RUN: not nag-opt %t/kernel.mlir -nag-assign-schedules=file=%t/text.json 2>&1 | FileCheck %s --check-prefix=TEXT
// TEXT: error: {{.*}}text.json: expected JSON: [1:1, byte=1]:
// RUN: not nag-opt %t/kernel.mlir -nag-assign-schedules=file=%t/list.json 2>&1 | FileCheck %s --check-prefix=LIST
// LIST: error: {{.*}}list.json: expected an object with an object 'kernels'
// RUN: not nag-opt %t/kernel.mlir -nag-assign-schedules=file=%t/chip.json 2>&1 | FileCheck %s --check-prefix=CHIP
// CHIP: error: {{.*}}chip.json: field 'chip': expected 'sm_80', but got 'sm_90a'
// Launches of other programs are no error: a file may serve several.
// RUN: nag-opt %t/kernel.mlir -nag-assign-schedules=file=%t/unknown.json -o /dev/null 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// UNKNOWN: warning: {{.*}}unknown.json: 2 of 3 kernels are none of this program's, the first 'gem'
// RUN: not nag-opt %t/kernel.mlir -nag-assign-schedules=file=%t/name.json 2>&1 | FileCheck %s --check-prefix=NAME
// NAME: error: {{.*}}name.json: kernel 'gemm linear: 2 8x16xbf16 -> 8x8xbf16': field 'family': expected one of gemm, attention, attention_vjp, cached_attention, embedding_vjp, rows, row_parts, but got "sort"
// RUN: not nag-opt %t/kernel.mlir -nag-assign-schedules=file=%t/field.json 2>&1 | FileCheck %s --check-prefix=FIELD
// FIELD: error: {{.*}}field.json: kernel 'gemm linear: 2 8x16xbf16 -> 8x8xbf16': field 'tiles': expected one of tile, warps, stages, split_k
// RUN: not nag-opt %t/kernel.mlir -nag-assign-schedules=file=%t/value.json 2>&1 | FileCheck %s --check-prefix=VALUE
// VALUE: error: {{.*}}value.json: kernel 'gemm linear: 2 8x16xbf16 -> 8x8xbf16': field 'stages': expected integers, but got "two"
// RUN: not nag-opt %t/kernel.mlir -nag-assign-schedules=file=%t/stages.json 2>&1 | FileCheck %s --check-prefix=STAGES
// STAGES: error: {{.*}}stages.json: kernel 'gemm linear: 2 8x16xbf16 -> 8x8xbf16': expected integers from 2 to 16 in 'stages', but got 99
// RUN: not nag-opt %t/kernel.mlir -nag-assign-schedules=file=%t/family.json 2>&1 | FileCheck %s --check-prefix=FAMILY
// FAMILY: error: {{.*}}family.json: kernel 'gemm linear: 2 8x16xbf16 -> 8x8xbf16': field 'family': expected gemm, but got attention
// RUN: not nag-opt %t/kernel.mlir -nag-assign-schedules=file=%t/shared.json 2>&1 | FileCheck %s --check-prefix=SHARED
// SHARED: error: {{.*}}shared.json: kernel 'gemm linear: 2 8x16xbf16 -> 8x8xbf16': expected a schedule with at most 166912 bytes of shared memory on sm_80, not 196608, but got #nag.schedule<gemm
// RUN: not nag-opt %t/kernel.mlir -nag-assign-schedules=file=%t/more.json 2>&1 | FileCheck %s --check-prefix=MORE
// MORE: error: {{.*}}more.json: kernel 'gemm linear: 2 8x16xbf16 -> 8x8xbf16': expected an object, but got [null]

//--- kernel.mlir
func.func @gemm(%x: tensor<8x16xbf16>, %w: tensor<8x16xbf16>, %out: tensor<8x8xbf16>) -> tensor<8x8xbf16> attributes {nag.kernel} {
  %y = nag.linear %x, %w : (tensor<8x16xbf16>, tensor<8x16xbf16>) -> tensor<8x8xbf16>
  %0 = bufferization.materialize_in_destination %y in %out : (tensor<8x8xbf16>, tensor<8x8xbf16>) -> tensor<8x8xbf16>
  return %0 : tensor<8x8xbf16>
}
//--- text.json
kernels
//--- list.json
[]
//--- chip.json
{"chip": "sm_90a", "kernels": {}}
//--- unknown.json
{"kernels": {"gem": {"family": "gemm", "tile": [32, 32, 16], "warps": [1, 1], "stages": 2}, "rows": {"family": "row_parts", "threads": 64},
 "gemm linear: 2 8x16xbf16 -> 8x8xbf16": {"family": "gemm", "tile": [32, 32, 16], "warps": [1, 1], "stages": 2}}}
//--- name.json
{"kernels": {"gemm linear: 2 8x16xbf16 -> 8x8xbf16": {"family": "sort"}}}
//--- field.json
{"kernels": {"gemm linear: 2 8x16xbf16 -> 8x8xbf16": {"family": "gemm", "tiles": [32, 32, 16], "warps": [1, 1], "stages": 2}}}
//--- value.json
{"kernels": {"gemm linear: 2 8x16xbf16 -> 8x8xbf16": {"family": "gemm", "tile": [32, 32, 16], "warps": [1, 1], "stages": "two"}}}
//--- stages.json
{"kernels": {"gemm linear: 2 8x16xbf16 -> 8x8xbf16": {"family": "gemm", "tile": [32, 32, 16], "warps": [1, 1], "stages": 99}}}
//--- family.json
{"kernels": {"gemm linear: 2 8x16xbf16 -> 8x8xbf16": {"family": "attention", "tile": [64, 64], "warps": 4}}}
//--- shared.json
{"kernels": {"gemm linear: 2 8x16xbf16 -> 8x8xbf16": {"family": "gemm", "tile": [256, 256, 64], "warps": [4, 4], "stages": 3}}}
//--- more.json
{"kernels": {"gemm linear: 2 8x16xbf16 -> 8x8xbf16": [null]}}
