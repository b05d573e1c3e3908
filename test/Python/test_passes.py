# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Models after each pass that keeps to nag ops, run by the slow evaluator, against the reference in float64."""

import numpy as np
import pytest

import harness
from models import CONFIGS, data, inputs_of, start, write_model
from nag_reference.config import parameters
from nag_reference.interpreter import Machine
from nag_reference.model import Model
from program_checks import (check_accumulate, check_apply, check_constrain, check_gradients, check_logits,
                            check_loss)

EXPANDED = ["--nag-expand-blocks"]
DECOMPOSED = EXPANDED + ["--nag-decompose"]
OPTIMIZED = DECOMPOSED + ["--nag-build-optimizer"]
HEAD = DECOMPOSED + ["--nag-fuse-head"]
GRAM = DECOMPOSED + ["--nag-lower-to-row-gram", "--canonicalize"]
STAGES = {"head": HEAD, "row-gram": GRAM, "model": [], "expanded": EXPANDED, "decomposed": DECOMPOSED, "canonical": DECOMPOSED + ["--canonicalize"]}


@pytest.fixture(scope="module", params=CONFIGS.values(), ids=CONFIGS)
def model(request, tmp_path_factory):
    """A configuration and a function from passes to the machine that runs the model after them."""
    path = tmp_path_factory.mktemp("model") / "model.mlir"
    write_model(request.param, "f64", path)

    def after(passes):
        return Machine(harness.run([harness.build_folder() / "bin" / "nag-opt", path, "--mlir-print-op-generic",
                                    *passes]))

    return request.param, after


@pytest.mark.parametrize("passes", STAGES.values(), ids=STAGES)
def test_loss_and_logits(model, passes):
    config, after = model
    params, machine = start(config), after(passes)
    check_loss(config, params, machine.call("loss", inputs_of(config, params, np.float64)))
    check_logits(config, params, machine.call)


@pytest.mark.parametrize("recompute", ["none", "cheap", "all"])
def test_gradients(model, recompute):
    config, after = model
    params, machine = start(config), after(DECOMPOSED + [f"--nag-differentiate=recompute={recompute}"])
    check_gradients(config, params, machine.call("gradients", inputs_of(config, params, np.float64)))


def test_gradients_of_a_joined_head(model):
    config, after = model
    params, machine = start(config), after(HEAD + ["--nag-differentiate", "--nag-fuse-head"])
    check_gradients(config, params, machine.call("gradients", inputs_of(config, params, np.float64)))


def test_optimizer(model):
    config, after = model
    params, machine = start(config), after(OPTIMIZED)
    tokens, targets = data(config)
    grads = {"grad:" + n: g for n, g in Model(config, params, tokens).backward(targets).items()}
    check_apply(config, params, grads, machine.call)
    check_accumulate(grads, machine.call)
    if any(p.constraint != "none" for p in parameters(config)):
        check_constrain(config, machine.call, machine.names("constrain", "arg_attrs"))
