# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Fused kernels of the target cuda: their gradients on the PTX machine with all of its checks, and their number."""

import re

import numpy as np
import pytest

import harness
import nag_reference as ref
import ptx_machine
from models import CONFIGS, GATE_SCALE, data, inputs_of, start, write_model
from nag_reference.model import Model


@pytest.mark.parametrize("model", ["nag", "prenorm"])
def test_gradients_are_those_of_the_reference(model, tmp_path):
    config, params = CONFIGS[model], start(CONFIGS[model])
    path = tmp_path / "model.mlir"
    write_model(config, "f32", path)
    outcome = ptx_machine.call(harness.build_folder(), path.read_text(), [("gradients", inputs_of(config, params, np.float32))],
                               tmp_path, options=["--differentiate", "loss"])
    tokens, targets = data(config)
    for name, expected in Model(config, params, tokens, GATE_SCALE).backward(targets).items():
        assert ref.relative_error(outcome.results[0]["grad:" + name], expected) <= 1e-4, name


def launches(folder, *options, flags=()):
    path = folder / "model.mlir"
    nagc = harness.build_folder() / "bin" / "nagc"
    harness.run([nagc, "model", "--preset", "tiny", "--set=seq=64", "--set=batch=8", *options, "-o", path])
    text = harness.run([nagc, "compile", path, "--target", "cuda", "--emit", "mlir", "--report-launches", *flags, "-o", folder])
    counts = {name: int(count) for name, count in re.findall(r"launches @(\w+): (\d+)", text)}
    return counts["train_step"], int(re.search(r"distinct kernels: (\d+)", text)[1])


def test_launches_grow_by_those_of_a_layer(tmp_path):
    few, kernels = launches(tmp_path, "--set=layers=5")
    many, same_kernels = launches(tmp_path, "--set=layers=9")
    assert (many - few) / 4 <= 20
    assert kernels == same_kernels
    assert launches(tmp_path, "--set=layers=5", flags=["--fuse=false"])[0] > 1.8 * few
