# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Row-wise kernels of the target cuda, on the PTX machine with all of its checks, against the float64 reference."""

import functools
import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import nag_reference as ref
import op_cases
import ptx_machine

BUILD = Path(os.environ.get("NAG_BUILD", "build"))
OTHER_FAMILIES = ("linear", "weight_grad", "attention", "attention_vjp", "cached_attention", "embedding_vjp", "decode", "modulate",
                  "head_loss", "head_loss_vjp")
# Ops whose tensors are all of the element type asked for: streams and losses keep some in f32.
IN_BF16 = ("relu2", "relu2_vjp", "gelu", "gelu_vjp", "swiglu", "swiglu_vjp", "residual_add", "accumulate", "rms_norm",
           "rms_norm_vjp", "gain", "gain_vjp", "embedding", "constrain")
# A result rounded once to bf16: half of 2^-7 of an element, so of the largest one too.
BF16_ROUNDING = 2.0**-8
# Elements of the widest rows here that registers and shared memory of a block hold.
WIDEST_ON_CHIP = 16384


def wide_cases():
    """Where rows are cut differently: several warps, 1024 threads, shared memory, more than a chip holds."""
    cases = []
    for shape in ((1, 3, 2048), (1, 2, 16384), (1, 2, 40000), (5, 1, 1025)):
        cases += op_cases.rotate_cases(shape, f", d = {shape[-1]}")
        cases += op_cases.norm_cases(shape, f", d = {shape[-1]}")
    cases += op_cases.norm_cases((1, 3, 4096), ", 32 heads", groups=32)
    cases += op_cases.norm_cases((1, 300, 72), ", many rows", groups=3)
    cases += [case for case in op_cases.gate_cases((5, 100, 32), ", many rows") if case.op != "modulate"]
    return cases + [op_cases.adamw_case((100003,), ", one row", 3), op_cases.adamw_case((700, 1), ", d = 1", 3)]


def shapes_cases():
    return [case for d in (1, 5, 100, 129) for rows in (1, 3, 7)
            for case in op_cases.rotate_cases((1, rows, d), f", {rows} x {d}") if d > 1 or case.op == "rotate"]


CASES = [case for case in op_cases.all_cases() + wide_cases() + shapes_cases() if case.op not in OTHER_FAMILIES]
PAIRS = [(case, "f32") for case in CASES] + [(case, "bf16") for case in CASES if case.op in IN_BF16]


def arguments(case, element):
    if element == "f32":
        return case.arguments("f32")
    return {k: x if x.dtype == np.int32 else x.astype(ml_dtypes.bfloat16) for k, x in case.inputs.items()}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Maps a case and its element type to the results; all are computed by one program, at the first request."""

    @functools.cache
    def compute():
        names = [f"case{number}" for number in range(len(PAIRS))]
        text = "".join(case.text(element, name) for (case, element), name in zip(PAIRS, names))
        calls = [(name, arguments(case, element)) for (case, element), name in zip(PAIRS, names)]
        return ptx_machine.call(BUILD, text, calls, tmp_path_factory.mktemp("rows")).results

    return lambda case, element: compute()[PAIRS.index((case, element))]


def roundings(case):
    """Where a row does not stay on the chip, a norm and its gain are two kernels: the row between them is rounded too."""
    has_gain = case.op == "rms_norm" and "w" in case.inputs
    return 2 if has_gain and case.inputs["x"].shape[-1] > WIDEST_ON_CHIP else 1


@pytest.mark.parametrize("case, element", PAIRS, ids=[f"{case.name} {element}" for case, element in PAIRS])
def test_rows(case, element, results):
    given = {k: np.asarray(x, x.dtype if x.dtype == np.int32 else np.float64)
             for k, x in arguments(case, element).items()}
    expected = case.compute(**given)
    limit = case.limit if element == "f32" else roundings(case) * BF16_ROUNDING + 4 * case.limit
    for name, value in expected.items():
        got = results(case, element)[name].astype(np.float64)
        assert ref.relative_error(got, np.asarray(value)) <= limit, name
