# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What must hold for a model's functions, whoever runs them: `call(function, inputs)` returns results by name."""

import numpy as np

import nag_reference as ref
from models import GATE_SCALE, data, inputs_of, optimizer_inputs
from nag_reference.config import GROUPS, initial_values, parameters
from nag_reference.model import Model

LIMIT = 1e-6


def check_loss(config, params, results):
    tokens, targets = data(config)
    model = Model(config, params, tokens, GATE_SCALE)
    assert ref.relative_error(results["loss"], model.loss(targets)) <= LIMIT
    if config.residual == "nag":
        assert ref.relative_error(results["gates"], model.gates()) <= LIMIT


def check_gradients(config, params, results):
    check_loss(config, params, results)
    tokens, targets = data(config)
    for name, expected in Model(config, params, tokens, GATE_SCALE).backward(targets).items():
        assert ref.relative_error(results["grad:" + name], expected) <= LIMIT, name


def check_logits(config, params, call):
    inputs = inputs_of(config, params, np.float64)
    del inputs["targets"]
    expected = Model(config, params, inputs["tokens"], GATE_SCALE).logits
    assert ref.relative_error(call("logits", inputs)["logits"], expected) <= LIMIT


def check_apply(config, params, grads, call):
    """`grads` are named as in the results of @gradients."""
    got = call("apply", optimizer_inputs(params, grads, np.float64))
    factor, scaled = ref.clip_factor(ref.global_norm(grads.values()), 0.25, 0.5)
    assert ref.relative_error(got["grad_norm"], scaled) <= LIMIT
    for p in parameters(config):
        value, m, v = ref.adamw(params[p.name], 0.0, 0.0, grads["grad:" + p.name], 0.01, 1, factor,
                                lr_scale=GROUPS[p.group])
        for name, expected in ((p.name, ref.constrain(value, p.constraint)), ("m:" + p.name, m), ("v:" + p.name, v)):
            assert ref.relative_error(got[name], expected) <= LIMIT, name


def check_constrain(config, call, read):
    """`read` names what @constrain reads."""
    raw = initial_values(config, seed=5)
    got = call("constrain", {name: raw[name] for name in read})
    for p in parameters(config):
        if p.constraint != "none":
            assert ref.relative_error(got[p.name], ref.constrain(raw[p.name], p.constraint)) <= LIMIT, p.name


def check_accumulate(grads, call):
    sums = {name.replace("grad:", "acc:", 1): np.ones_like(x) for name, x in grads.items()}
    got = call("accumulate", grads | sums)
    for name, grad in grads.items():
        assert ref.relative_error(got[name.replace("grad:", "acc:", 1)], 1.0 + grad) <= LIMIT, name
