# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""bf16 programs on the CPU: what is stored is rounded to 8 bits, every sum is taken in f32."""

import functools
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

import harness
import nag_reference as ref
from models import GATE_SCALE, SMALLEST, data, start, write_model
from nag_reference.model import Model
from op_cases import all_cases
from sessions import TEXT, nagc, write_model as write_small_model

BF16 = ml_dtypes.bfloat16
HALF_ULP = 2.0**-8  # of a value rounded once to 8 significant bits
# Ops whose tensors are all of the model's type, but for the log-sum-exp; lanes, scalars and gates are f32 in bf16 models.
OPS = {"linear", "weight_grad", "embedding", "embedding_vjp", "relu2", "relu2_vjp", "gelu", "gelu_vjp", "swiglu",
       "swiglu_vjp", "residual_add", "rms_norm", "rms_norm_vjp", "attention", "attention_vjp"}
SINGLE = {"lse"}
CASES = [case for case in all_cases() if case.op in OPS and "large values" not in case.name]


def rounded(x, name=""):
    if x.dtype == np.int32:
        return x
    return x.astype(np.float32 if name in SINGLE else BF16).astype(np.float64)


def text_of(case, function):
    text = case.text("bf16", function)
    for name in SINGLE:
        x = case.inputs.get(name, case.results.get(name))
        if x is not None:
            shape = "".join(f"{n}x" for n in x.shape)
            text = text.replace(f"tensor<{shape}bf16>", f"tensor<{shape}f32>")
    return text


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    @functools.cache
    def compile_op(op):
        text = "".join(text_of(case, f"case{i}") for i, case in enumerate(CASES) if case.op == op)
        return harness.compile_text(text, tmp_path_factory.mktemp(op))

    return compile_op


@pytest.mark.parametrize("index", range(len(CASES)), ids=[case.name for case in CASES])
def test_op(index, compiled):
    case = CASES[index]
    exact = {name: rounded(x, name) for name, x in case.inputs.items()}
    inputs = {name: x if x.dtype == np.int32 else x.astype(np.float32 if name in SINGLE else BF16)
              for name, x in exact.items()}
    results = compiled(case.op).call(f"case{index}", inputs)
    expected = case.compute(**exact)
    # attention_vjp reads the rounded output, whose rounding the reference does not see.
    roundings = 2 if case.op == "attention_vjp" else 1
    for name, value in expected.items():
        limit = case.limit + (0 if name in SINGLE else roundings * HALF_ULP)
        assert ref.relative_error(results[name].astype(np.float64), np.asarray(value)) <= limit, name


LONG = 4096


@pytest.mark.parametrize("op, signature, inputs", [
    ("linear %x, %w", f"(tensor<1x{LONG}xbf16>, tensor<1x{LONG}xbf16>) -> tensor<1x1xbf16>",
     {"x": (1, LONG), "w": (1, LONG)}),
    ("weight_grad %x, %w", f"(tensor<{LONG}x1xbf16>, tensor<{LONG}x1xbf16>) -> tensor<1x1xbf16>",
     {"x": (LONG, 1), "w": (LONG, 1)}),
    ("embedding_vjp %t, %x {rows = 1}", f"(tensor<{LONG}xi32>, tensor<{LONG}x1xbf16>) -> tensor<1x1xbf16>",
     {"t": (LONG,), "x": (LONG, 1)}),
], ids=["linear", "weight_grad", "embedding_vjp"])
def test_long_sums_do_not_stall(op, signature, inputs, tmp_path):
    """A sum of ones in bf16 stops at 256."""
    types = signature[1:].split(")")[0].split(", ")
    arguments = ", ".join(f'%{name}: {kind} {{nag.name = "{name}"}}' for name, kind in zip(inputs, types))
    text = (f'func.func @f({arguments}) -> (tensor<1x1xbf16> {{nag.name = "y"}}) {{\n'
            f"  %y = nag.{op} : {signature}\n  return %y : tensor<1x1xbf16>\n}}\n")
    values = {name: np.zeros(shape, np.int32) if name == "t" else np.ones(shape, BF16)
              for name, shape in inputs.items()}
    assert float(harness.compile_text(text, tmp_path).call("f", values)["y"][0, 0]) == LONG


@pytest.mark.parametrize("config", [SMALLEST, replace(SMALLEST, residual="prenorm")], ids=["nag", "prenorm"])
def test_model(config, tmp_path):
    """Loss and gradients of a whole model near those of the reference on the same, rounded parameters."""
    write_model(config, "bf16", tmp_path / "model.mlir")
    program = harness.compile_file(tmp_path / "model.mlir", tmp_path / "compiled")
    kinds = {a.name: a.dtype for a in program.arguments("gradients")}
    params = {name: np.asarray(x).astype(kinds[name]) for name, x in start(config).items()}
    tokens, targets = data(config)
    inputs = {"tokens": tokens, "targets": targets, **params}
    if config.residual == "nag":
        inputs["gate_scale"] = np.asarray(GATE_SCALE, kinds["gate_scale"])
    results = program.call("gradients", inputs)
    exact = {name: x.astype(np.float64) for name, x in params.items()}
    reference = Model(config, exact, tokens, GATE_SCALE)
    loss = reference.loss(targets)
    assert abs(float(results["loss"]) - loss) <= 2e-2 * loss
    for name, expected in reference.backward(targets).items():
        got = results["grad:" + name].astype(np.float64)
        assert np.linalg.norm(got - expected) <= 6e-2 * np.linalg.norm(expected), name


def test_training(tmp_path):
    """A bf16 model learns; its checkpoint holds bf16 matrices and can be resumed, evaluated and sampled from."""
    write_small_model(tmp_path / "model.mlir", "dtype=bf16")
    common = ["--data", TEXT, "--checkpoint-dir", tmp_path / "run"]
    first = nagc("train", tmp_path / "model.mlir", *common, "--steps", 300)
    assert first.returncode == 0, first.stderr
    assert nagc("train", tmp_path / "model.mlir", *common, "--steps", 310, "--resume").returncode == 0
    result = nagc("eval", tmp_path / "model.mlir", "--checkpoint", tmp_path / "run", "--data", TEXT)
    assert result.returncode == 0, result.stderr
    assert float(result.stdout.split("nats")[0].split()[-1]) < 4.5  # log 256 = 5.5
    result = nagc("generate", tmp_path / "model.mlir", "--checkpoint", tmp_path / "run", "--prompt", "a", "--tokens", 4)
    assert result.returncode == 0, result.stderr
