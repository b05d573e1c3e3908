# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The reference model's gradient of every kind of parameter against central differences in float64."""

from dataclasses import replace

import numpy as np
import pytest

from nag_reference import check, model
from nag_reference.config import Config, initial_values, parameters

SMALLEST = Config(layers=2, width=12, heads=2, kv_heads=2, hidden=20, vocab=11, padded_vocab=16, seq=5, batch=2,
                  gate_directions=3, project_std=0.3)
CONFIGS = {
    "nag": SMALLEST,
    "grouped heads": replace(SMALLEST, kv_heads=1),
    "window": replace(SMALLEST, window=2),
    "gelu": replace(SMALLEST, mlp="gelu"),
    "gelu tanh": replace(SMALLEST, mlp="gelu_tanh"),
    "swiglu": replace(SMALLEST, mlp="swiglu"),
    "T=1": replace(SMALLEST, seq=1, batch=3),
    "prenorm": replace(SMALLEST, residual="prenorm"),
    "zero projections": replace(SMALLEST, project_std=0.0),
}


def data(config):
    rng = np.random.default_rng(3)
    tokens, targets = rng.integers(0, config.vocab, (2, config.batch, config.seq))
    targets[0, 0] = -1
    return tokens, targets


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_gradient(config):
    params = model.constrained(parameters(config), initial_values(config, seed=1))
    tokens, targets = data(config)
    grads = model.Model(config, params, tokens, gate_scale=0.7).backward(targets)
    rng = np.random.default_rng(2)
    for name, value in params.items():
        # At a zero branch the update bends over sqrt(eps): the step must be shorter than that.
        step = 1e-7 if "c_proj" in name and config.project_std == 0.0 else 1e-5
        direction = rng.standard_normal(np.shape(value))

        def loss(x):
            return model.Model(config, params | {name: x}, tokens, gate_scale=0.7).loss(targets)

        expected = check.along(loss, [value], 0, direction, step)
        assert check.relative_error(np.sum(grads[name] * direction), expected, 1e-4) <= 1e-6, name
