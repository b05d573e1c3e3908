# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The JAX peer against the float64 reference: loss, gradients, one optimizer step."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import nag_reference as ref
from nag_reference.config import GROUPS, initial_values, parameters
from nag_reference.model import Model, constrained
from test_reference_model import SMALLEST, data

jax = pytest.importorskip("jax")
import jax_model  # noqa: E402 (needs JAX)

CONFIGS = {"nag": SMALLEST, "grouped heads, window": replace(SMALLEST, kv_heads=1, window=2),
           "gelu tanh": replace(SMALLEST, mlp="gelu_tanh"), "swiglu": replace(SMALLEST, mlp="swiglu"),
           "prenorm": replace(SMALLEST, residual="prenorm"), "T=1": replace(SMALLEST, seq=1)}
LIMIT = 1e-4  # float32 against float64


def setup(config):
    params = constrained(parameters(config), initial_values(config, seed=1))
    return params, {name: np.float32(x) for name, x in params.items()}, *data(config)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_loss_gates_and_gradients(config):
    params, single, tokens, targets = setup(config)
    model = Model(config, params, tokens, gate_scale=0.7)
    objective = partial(jax_model.loss, config, tokens=tokens, targets=targets, gate_scale=0.7)
    (loss, gates), grads = jax.jit(jax.value_and_grad(objective, has_aux=True))(single)
    assert ref.relative_error(loss, model.loss(targets)) <= LIMIT
    if config.residual == "nag":
        assert ref.relative_error(gates, model.gates()) <= LIMIT
    for name, expected in model.backward(targets).items():
        assert ref.relative_error(grads[name], expected, 1e-3) <= LIMIT, name


@pytest.mark.parametrize("residual", ["nag", "prenorm"])
def test_unrolled_layers_compute_what_the_scan_does(residual):
    config = replace(SMALLEST, residual=residual)
    _, single, tokens, targets = setup(config)
    scanned = jax_model.loss(config, single, tokens, targets, 1.0)[0]
    unrolled = jax_model.loss(config, jax_model.unstack(config, single), tokens, targets, 1.0, scan=False)[0]
    assert ref.relative_error(unrolled, scanned) <= 1e-6


def test_optimizer_step():
    config = SMALLEST
    params, single, tokens, targets = setup(config)
    grads = Model(config, params, tokens).backward(targets)
    moments = {name: (np.zeros_like(x), np.zeros_like(x)) for name, x in single.items()}
    got, _, norm = jax_model.apply(parameters(config), single, moments, {n: np.float32(g) for n, g in grads.items()},
                                   0.01, 1.0, weight_decay=0.1, clip=0.5)
    expected_norm = ref.global_norm(grads.values())
    assert ref.relative_error(norm, expected_norm) <= LIMIT
    factor, _ = ref.clip_factor(expected_norm, 0.5, 1.0)
    for p in parameters(config):
        decay = 0.1 if p.group == "matrix" else 0.0
        value, _, _ = ref.adamw(params[p.name], 0.0, 0.0, grads[p.name], 0.01, 1, factor, lr_scale=GROUPS[p.group],
                                weight_decay=decay)
        assert ref.relative_error(got[p.name], ref.constrain(value, p.constraint), 1e-2) <= LIMIT, p.name
