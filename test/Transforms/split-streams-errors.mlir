// RUN: nag-opt %s --nag-split-streams --verify-diagnostics

func.func @loop(%x: !nag.stream<2x8x16xf32>, %n: index) -> !nag.stream<2x8x16xf32> {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  // expected-error @+1 {{expected streams only in nag ops, calls and returns, but got one here}}
  %y = scf.for %i = %zero to %n step %one iter_args(%c = %x) -> (!nag.stream<2x8x16xf32>) {
    scf.yield %c : !nag.stream<2x8x16xf32>
  }
  return %y : !nag.stream<2x8x16xf32>
}
