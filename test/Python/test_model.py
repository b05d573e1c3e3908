# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Whole compiled models: float64 against central differences and the reference, float32 against JAX."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import harness
import nag_reference as ref
from models import CONFIGS, GATE_SCALE, inputs_of, start, write_model
from nag_reference import check
from nag_reference.config import TINY, parameters
from nag_reference.interpreter import Machine
from program_checks import check_accumulate, check_apply, check_constrain, check_gradients, check_logits

JAX_LIMIT = 1e-4


def compile_model(config, dtype, folder):
    write_model(config, dtype, folder / "model.mlir")
    return harness.compile_file(folder / "model.mlir", folder / "compiled")


@pytest.fixture(scope="module", params=CONFIGS.values(), ids=CONFIGS)
def double(request, tmp_path_factory):
    """A configuration, its program in float64, its parameters, and what @gradients returns for them."""
    config = request.param
    program = compile_model(config, "f64", tmp_path_factory.mktemp("model"))
    params = start(config)
    return config, program, params, program.call("gradients", inputs_of(config, params, np.float64))


def gradients_of(results):
    return {name: x for name, x in results.items() if name.startswith("grad:")}


def test_parameters_of_the_manifest(double):
    config, program, _, _ = double
    got = {p["name"]: (tuple(p["shape"]), p["constraint"] or "none") for p in program.manifest["parameters"]}
    assert got == {p.name: (p.shape, p.constraint) for p in parameters(config)}


def test_gradients_equal_the_reference(double):
    config, _, params, results = double
    check_gradients(config, params, results)


def check_central_differences(config, program, params, results, step=1e-5):
    inputs, rng = inputs_of(config, params, np.float64), np.random.default_rng(4)
    for name, value in params.items():
        direction = rng.standard_normal(np.shape(value))

        def loss(x):
            return float(program.call("loss", inputs | {name: np.asarray(x, np.float64)})["loss"])

        expected = check.along(loss, [value], 0, direction, step)
        got = np.sum(results["grad:" + name] * direction)
        assert ref.relative_error(got, expected, 1e-3) <= 1e-6, name


def test_gradients_equal_central_differences(double):
    check_central_differences(*double)


@pytest.mark.parametrize("residual", ["nag", "prenorm"])
def test_gradients_of_tiny_equal_central_differences(residual, tmp_path):
    """The preset itself but for its batch, for every kind of parameter."""
    config = replace(TINY, residual=residual, batch=1, project_std=0.05)
    program, params = compile_model(config, "f64", tmp_path), start(config)
    results = program.call("gradients", inputs_of(config, params, np.float64))
    # Of so many units some lie where relu^2 bends; a short step crosses few of them.
    check_central_differences(config, program, params, results, step=1e-6)


def test_logits(double):
    config, program, params, _ = double
    check_logits(config, params, program.call)


def test_optimizer(double):
    config, program, params, results = double
    check_apply(config, params, gradients_of(results), program.call)
    check_accumulate(gradients_of(results), program.call)
    if any(p.constraint != "none" for p in parameters(config)):
        check_constrain(config, program.call, [a.name for a in program.arguments("constrain") if a.read])


def test_two_calls_return_the_same_bits(double):
    config, program, params, results = double
    again = program.call("gradients", inputs_of(config, params, np.float64))
    assert all(again[name].tobytes() == x.tobytes() for name, x in results.items())


def test_gradients_through_layers_of_several_kinds(tmp_path):
    """Layers with and without a window are runs of their own: each hands on what comes from the next."""
    settings = dict(layers=3, width=16, heads=2, vocab=11, padded_vocab=16, seq=140, batch=1, gate_directions=4,
                    project_std=0.3, hidden=32, window="SLL", dtype="f64")
    path = tmp_path / "model.mlir"
    harness.run([harness.build_folder() / "bin" / "nagc", "model", *(f"--set={k}={v}" for k, v in settings.items()),
                 "-o", path])
    program, rng = harness.compile_file(path, tmp_path / "compiled"), np.random.default_rng(0)
    inputs = {a.name: rng.integers(0, 11, a.shape).astype(np.int32) if a.dtype == np.int32
              else np.asarray(0.3 * rng.normal(size=a.shape)) for a in program.arguments("gradients") if a.read}
    got = program.call("gradients", inputs)
    text = harness.run([harness.build_folder() / "bin" / "nag-opt", path, "--nag-training-pipeline",
                        "--mlir-print-op-generic"])
    for name, expected in Machine(text).call("gradients", inputs).items():
        assert ref.relative_error(got[name], expected) <= 1e-9, name


@pytest.mark.parametrize("residual", ["nag", "prenorm"])
def test_tiny_in_single_precision_equals_jax(residual, tmp_path):
    jax = pytest.importorskip("jax")
    import jax_model

    config = replace(TINY, residual=residual, batch=4, project_std=0.05)
    params = {n: np.float32(x) for n, x in start(config).items()}
    inputs = inputs_of(config, params, np.float32)
    got = compile_model(config, "f32", tmp_path).call("gradients", inputs)
    objective = partial(jax_model.loss, config, tokens=inputs["tokens"], targets=inputs["targets"],
                        gate_scale=GATE_SCALE)
    (loss, _), grads = jax.jit(jax.value_and_grad(objective, has_aux=True))(params)
    assert ref.relative_error(got["loss"], loss) <= JAX_LIMIT
    for name, expected in grads.items():
        assert ref.relative_error(got["grad:" + name], expected) <= JAX_LIMIT, name
