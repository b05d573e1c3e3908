# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The modules of the op tests: nag-opt accepts them, infers the same types, and prints what it can read again."""

import pytest

import harness
from op_cases import TYPES, all_cases


@pytest.mark.parametrize("element", TYPES)
def test_modules_verify_and_round_trip(element, tmp_path):
    path = tmp_path / "ops.mlir"
    path.write_text("".join(case.text(element, f"case{i}") for i, case in enumerate(all_cases())))
    printed = harness.run([harness.build_folder() / "bin" / "nag-opt", "--verify-roundtrip", path])
    assert printed.count("func.func @case") == len(all_cases())
