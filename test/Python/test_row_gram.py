# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ops in their Gram form: the same results as their own row programs, and the accuracy that docs/row-gram.md states."""

import functools

import numpy as np
import pytest

import harness
import nag_reference as ref
from op_cases import DOUBLE, all_cases, rotate_inputs

CASES = [case for case in all_cases() if case.op in ("rotate", "rotate_vjp", "residual_add")
         or (case.op in ("rms_norm", "rms_norm_vjp") and not {"gain", "of"} & set(case.name.split(",")[0].split()))]
TWO_PASS = ["--nag-lower-to-row-gram", "--canonicalize", "--cse"]
SUMS = ["--nag-lower-to-row-gram=sums", "--canonicalize", "--cse"]


def lower(text, passes, folder):
    (folder / "form.mlir").write_text(text)
    return harness.run([harness.build_folder() / "bin" / "nag-opt", folder / "form.mlir", *passes])


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    @functools.cache
    def compile_all(element):
        folder = tmp_path_factory.mktemp(f"gram-{element}")
        text = "".join(case.text(element, f"case{i}") for i, case in enumerate(CASES))
        return harness.compile_text(lower(text, TWO_PASS, folder), folder)

    return compile_all


@pytest.mark.parametrize("element", ["f64", "f32"])
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_gram_form(case, element, compiled):
    results = compiled(element).call(f"case{CASES.index(case)}", case.arguments(element))
    limit = DOUBLE if element == "f64" else case.limit
    for name, expected in case.results.items():
        assert ref.relative_error(results[name], expected) <= limit, name


def rms(x):
    return np.sqrt(np.mean(x * x, -1, keepdims=True))


def branch_at(ratio, shape=(4, 8, 256)):
    """A branch along r but for a part `ratio` as large."""
    inputs = rotate_inputs(shape, "")
    r = rms(inputs["r"])
    unit_r = inputs["r"] / r
    side = inputs["f"] - np.mean(inputs["f"], -1, keepdims=True)
    side -= unit_r * np.sum(side * unit_r, -1, keepdims=True) / np.sum(unit_r * unit_r, -1, keepdims=True)
    side /= rms(side)
    return inputs | dict(f=unit_r + ratio * side)


@pytest.fixture(scope="module")
def rotate_programs(tmp_path_factory):
    case = next(case for case in all_cases() if case.name == "rotate")
    inputs = branch_at(1.0)
    text = case.text("f32").replace("2x3x16", "4x8x256").replace("2x3x", "4x8x")
    assert inputs["r"].shape == (4, 8, 256)
    programs = {}
    for name, passes in (("two passes", TWO_PASS), ("sums", SUMS)):
        folder = tmp_path_factory.mktemp(name.replace(" ", "-"))
        programs[name] = harness.compile_text(lower(text, passes, folder), folder)
    return programs


def error_of(program, inputs):
    exact = {k: np.float64(np.float32(x)) for k, x in inputs.items()}
    expected = ref.rotate(*(exact[k] for k in ("r", "s", "f", "g")))[0]
    got = program.call("f", {k: x.astype(np.float32) for k, x in inputs.items()})["r_new"]
    return ref.relative_error(got, expected)


@pytest.mark.parametrize("ratio", [1.0, 1e-1, 1e-2])
def test_sums_are_accurate_to_the_stated_angle(ratio, rotate_programs):
    assert error_of(rotate_programs["sums"], branch_at(ratio)) <= 2e-6 + 1e-6 / ratio**2 / 10


@pytest.mark.parametrize("ratio", [1.0, 1e-2, 1e-3])
def test_two_passes_keep_the_rounding_of_the_branch(ratio, rotate_programs):
    assert error_of(rotate_programs["two passes"], branch_at(ratio)) <= 4e-6 + 1e-6 / ratio


def test_sums_lose_what_two_passes_keep(rotate_programs):
    inputs = branch_at(1e-3)
    assert error_of(rotate_programs["two passes"], inputs) < 0.1 * error_of(rotate_programs["sums"], inputs)


@pytest.mark.parametrize("form", ["two passes", "sums"])
def test_a_zero_branch_changes_nothing(form, rotate_programs):
    inputs = {k: x.astype(np.float32) for k, x in branch_at(1.0).items()}
    inputs["f"] = np.zeros_like(inputs["f"])
    results = rotate_programs[form].call("f", inputs)
    expected = inputs["r"] / rms(np.float64(inputs["r"]))
    assert ref.relative_error(results["r_new"], expected) <= 1e-6
