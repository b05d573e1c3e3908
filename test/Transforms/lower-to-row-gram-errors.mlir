// RUN: not nag-opt %s --nag-lower-to-row-gram=sums=maybe 2>&1 | FileCheck %s --check-prefix=VALUE
// RUN: not nag-opt %s --nag-lower-to-row-gram=two-pass 2>&1 | FileCheck %s --check-prefix=OPTION
// RUN: nag-opt %s --nag-lower-to-row-gram --verify-diagnostics | FileCheck %s

// VALUE: for the --sums option: 'maybe' is invalid value for boolean argument
// OPTION: no such option two-pass

// One row, and rows in groups, have no sums of rows: they stay as they are.
// CHECK-LABEL: func.func @one_row
// CHECK: nag.rms_norm
// CHECK-NOT: nag.row_gram
func.func @one_row(%x: tensor<16xf32>) -> tensor<16xf32> {
  %y = nag.rms_norm %x : (tensor<16xf32>) -> tensor<16xf32>
  return %y : tensor<16xf32>
}

// CHECK-LABEL: func.func @groups
// CHECK: nag.rms_norm %arg0 {groups = 4 : i64}
// CHECK-NOT: nag.row_gram
func.func @groups(%x: tensor<2x16xf32>) -> tensor<2x16xf32> {
  %y = nag.rms_norm %x {groups = 4} : (tensor<2x16xf32>) -> tensor<2x16xf32>
  return %y : tensor<2x16xf32>
}
