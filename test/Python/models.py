# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Small models that the tests of whole programs share: as configurations of the reference and as module text."""

from dataclasses import replace

import numpy as np

import harness
from nag_reference.config import Config, initial_values, parameters
from nag_reference.model import constrained

SMALLEST = Config(layers=2, width=24, heads=2, kv_heads=2, hidden=40, vocab=11, padded_vocab=16, seq=9, batch=2,
                  gate_directions=5, project_std=0.3)
CONFIGS = {
    "nag": SMALLEST,
    "grouped heads": replace(SMALLEST, kv_heads=1),
    "window": replace(SMALLEST, window=2),
    "gelu": replace(SMALLEST, mlp="gelu"),
    "swiglu": replace(SMALLEST, mlp="swiglu"),
    "T=1": replace(SMALLEST, seq=1, batch=3),
    "one layer": replace(SMALLEST, layers=1),
    "prenorm": replace(SMALLEST, residual="prenorm"),
}
KEYS = ("layers", "width", "heads", "kv_heads", "hidden", "vocab", "padded_vocab", "seq", "batch", "gate_directions",
        "mlp", "window")
GATE_SCALE = 0.7


MOD_KEYS = ("mod_policy", "mod_rate", "mod_kv", "mod_exempt", "mod_aux", "mod_temperature")


def write_model(config, dtype, path, extra=()):
    """The module that `nagc model` prints for this configuration."""
    settings = {key: getattr(config, key) for key in KEYS if getattr(config, key) is not None} | {"dtype": dtype}
    if config.mod_policy != "none":
        settings |= {key: getattr(config, key) for key in MOD_KEYS} | dict(extra)
    harness.run([harness.build_folder() / "bin" / "nagc", "model", "--preset", "tiny", "--residual", config.residual,
                 *(f"--set={key}={value}" for key, value in settings.items()), "-o", path])


def data(config):
    """Tokens and targets; one target does not count."""
    rng = np.random.default_rng(3)
    tokens, targets = rng.integers(0, config.vocab, (2, config.batch, config.seq)).astype(np.int32)
    targets[0, 0] = -1
    return tokens, targets


def start(config):
    return constrained(parameters(config), initial_values(config, seed=1))


def inputs_of(config, params, dtype):
    """What @loss and @gradients read, by name."""
    tokens, targets = data(config)
    scale = {"gate_scale": np.asarray(GATE_SCALE, dtype)} if config.residual == "nag" else {}
    return {"tokens": tokens, "targets": targets, **scale, **{n: np.asarray(x, dtype) for n, x in params.items()}}


def optimizer_inputs(params, grads, dtype):
    """What @apply reads at the first step: learning rate 0.01, gradients halved and clipped to 0.25."""
    moments = {f"{kind}:{n}": np.zeros_like(x, dtype) for n, x in params.items() for kind in "mv"}
    scalars = {"lr": 0.01, "step": 1.0, "grad_scale": 0.5, "clip": 0.25}
    return ({n: np.asarray(x, dtype) for n, x in params.items()} | moments | grads
            | {n: np.asarray(x, dtype) for n, x in scalars.items()})
