# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every op of the dialect, compiled, against the float64 reference."""

import functools

import numpy as np
import pytest

import harness
import nag_reference as ref
from op_cases import DOUBLE, all_cases

CASES = all_cases()


def function_name(case):
    return f"case{CASES.index(case)}"


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """Maps (op, element type) to the program that holds all cases of the op; compiled once."""

    @functools.cache
    def compile_op(op, element):
        text = "".join(case.text(element, function_name(case)) for case in CASES if case.op == op)
        return harness.compile_text(text, tmp_path_factory.mktemp(f"{op}-{element}"))

    return compile_op


@pytest.mark.parametrize("element", ["f64", "f32"])
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_op(case, element, compiled):
    results = compiled(case.op, element).call(function_name(case), case.arguments(element))
    limit = DOUBLE if element == "f64" else case.limit
    for name, expected in case.results.items():
        assert ref.relative_error(results[name], expected) <= limit, name


BY_ROWS = ("relu2", "gelu", "gelu tanh", "swiglu", "residual_add", "rms_norm", "gain", "linear", "rotate", "encode",
           "decode", "temper", "gate", "modulate", "token_loss")


@pytest.mark.parametrize("case", [case for case in CASES if case.name in BY_ROWS], ids=lambda case: case.name)
def test_a_nan_reaches_its_own_row_and_no_other(case, compiled):
    inputs = case.arguments("f32")
    first = next(iter(inputs))
    inputs[first] = inputs[first].copy()
    inputs[first][1, 2, 0] = np.nan
    results = compiled(case.op, "f32").call(function_name(case), inputs)
    touched = [name for name in results if np.isnan(results[name][1, 2]).any()]
    assert touched, "the NaN was lost"
    for name, expected in case.results.items():
        others = np.arange(6) != 5
        got = results[name].reshape(6, -1)[others]
        assert ref.relative_error(got, expected.reshape(6, -1)[others]) <= case.limit, name
