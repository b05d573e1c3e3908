# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The harness on hand-written C with the interface of compiled programs."""

import json
import subprocess

import numpy as np
import pytest

import harness

SOURCE = """
void axpy(void **arguments, void *workspace) {
  const float *a = arguments[0], *x = arguments[1];
  float *y = arguments[2], *sum = arguments[3], *products = workspace;
  *sum = 0;
  for (int i = 0; i < 6; ++i) {
    products[i] = *a * x[i];
    y[i] += products[i];
    *sum += y[i];
  }
}
void overrun(void **arguments, void *workspace) { ((float *)arguments[0])[6] = 1; }
void workspace_overrun(void **arguments, void *workspace) { ((char *)workspace)[16] = 1; }
void meddle(void **arguments, void *workspace) { ((float *)arguments[0])[0] += 1; }
void nothing(void **arguments, void *workspace) {}
"""


def argument(name, access, shape=(2, 3)):
    return {"name": name, "dtype": "f32", "shape": list(shape), "access": access}


FUNCTIONS = {
    "axpy": [argument("a", "read", ()), argument("x", "read"), argument("y", "readwrite"),
             argument("sum", "write", ())],
    "overrun": [argument("y", "write")],
    "workspace_overrun": [],
    "meddle": [argument("x", "read")],
    "nothing": [argument("y", "write")],
}


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("program")
    (folder / "program.c").write_text(SOURCE)
    subprocess.run(["cc", "-fPIC", "-c", folder / "program.c", "-o", folder / "program.o"], check=True)
    functions = [{"name": name, "symbol": name, "arguments": arguments, "workspace_bytes": 24 if name == "axpy" else 16}
                 for name, arguments in FUNCTIONS.items()]
    (folder / "manifest.json").write_text(json.dumps({"functions": functions, "parameters": [], "config": {}}))
    return harness.link(folder, libraries=[])


def axpy_inputs():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    return {"a": np.array(2, np.float32), "x": x, "y": np.ones((2, 3), np.float32)}


def test_call_returns_what_is_written_and_keeps_the_inputs(program):
    inputs = axpy_inputs()
    results = program.call("axpy", inputs)
    assert np.array_equal(results["y"], 1 + 2 * inputs["x"]) and results["sum"] == 36
    assert (inputs["y"] == 1).all()


def test_inputs_need_not_be_contiguous(program):
    inputs = axpy_inputs()
    inputs["x"] = np.asfortranarray(inputs["x"])
    assert program.call("axpy", inputs)["sum"] == 36


def test_results_that_are_not_written_read_as_nan(program):
    assert np.isnan(program.call("nothing", {})["y"]).all()


@pytest.mark.parametrize("change, message", [
    ({"x": np.zeros((2, 2), np.float32)}, r"argument 'x': expected float32\[2, 3\], but got float32\[2, 2\]"),
    ({"x": np.zeros((2, 3))}, r"argument 'x': expected float32\[2, 3\], but got float64\[2, 3\]"),
    ({"a": 2.0}, "argument 'a': expected a numpy array, but got float"),
    ({"z": np.zeros(3)}, r"missing: \[\], unknown: \['z'\]"),
])
def test_an_input_that_does_not_fit_is_refused(program, change, message):
    with pytest.raises(harness.HarnessError, match=message):
        program.call("axpy", axpy_inputs() | change)


def test_a_missing_input_and_an_unknown_function_are_refused(program):
    with pytest.raises(harness.HarnessError, match=r"missing: \['a', 'x', 'y'\]"):
        program.call("axpy", {})
    with pytest.raises(harness.HarnessError, match="but got 'gemm'"):
        program.call("gemm", {})


@pytest.mark.parametrize("name, inputs, message", [
    ("overrun", {}, "past the end of argument 'y'"),
    ("workspace_overrun", {}, "past the end of its workspace"),
    ("meddle", {"x": np.zeros((2, 3), np.float32)}, "wrote to argument 'x', which it may only read"),
])
def test_writes_outside_the_results_are_found(program, name, inputs, message):
    with pytest.raises(harness.HarnessError, match=message):
        program.call(name, inputs)


def test_a_failed_compilation_names_the_tool(tmp_path, monkeypatch):
    monkeypatch.setenv("NAG_BUILD", str(tmp_path))
    (tmp_path / "bin").mkdir()
    nagc = tmp_path / "bin" / "nagc"
    nagc.write_text("#!/bin/sh\necho 'module.mlir:1: expected a module' >&2\nexit 1\n")
    nagc.chmod(0o755)
    with pytest.raises(harness.HarnessError, match="nagc exited with 1: module.mlir:1: expected a module"):
        harness.compile_text("func", tmp_path)
