# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Fused kernels of the target cuda: their gradients on the PTX machine with all of its checks, and their number."""

import re
from dataclasses import replace

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


# Sizes that no tile or vector divides: 2 layers, 1 sequence of 7 tokens, heads of 6, a vocabulary of 11.
ODD = replace(CONFIGS["nag"], width=18, heads=3, kv_heads=3, hidden=22, vocab=11, padded_vocab=13, seq=7, batch=1, gate_directions=5)


@pytest.mark.parametrize("precision, tolerance", [("f32", 2e-5), ("bf16", 4e-2)])
@pytest.mark.parametrize("model", ["nag", "prenorm"])
def test_fused_and_unfused_kernels_agree(model, precision, tolerance, tmp_path):
    """The loss and every gradient; sums in another order, and in bf16 results between ops rounded or not: either is up to 3e-2 from
    the float64 reference."""
    config = replace(ODD, residual=model)
    path, inputs = tmp_path / "model.mlir", inputs_of(config, start(config), np.float32)
    write_model(config, "f32", path)
    outcomes = []
    for fuse in ("true", "false"):
        folder = tmp_path / fuse
        folder.mkdir()
        options = ["--differentiate", "loss", "--precision", precision, f"--fuse={fuse}"]
        outcomes.append(ptx_machine.call(harness.build_folder(), path.read_text(), [("gradients", inputs)], folder, counters=True,
                                         options=options))
    fused, apart = outcomes
    assert len(fused.counters) < len(apart.counters)
    assert set(fused.results[0]) == set(apart.results[0])
    for name, value in apart.results[0].items():
        assert ref.relative_error(fused.results[0][name], value.astype(np.float64)) <= tolerance, name


def launches(folder, *options, flags=()):
    """Of a step (@gradients, then @apply), and device functions."""
    path = folder / "model.mlir"
    nagc = harness.build_folder() / "bin" / "nagc"
    harness.run([nagc, "model", "--preset", "tiny", "--set=seq=64", "--set=batch=8", *options, "-o", path])
    text = harness.run([nagc, "compile", path, "--target", "cuda", "--emit", "mlir", "--report-launches", *flags, "-o", folder])
    counts = {name: int(count) for name, count in re.findall(r"launches @(\w+): (\d+)", text)}
    return counts["gradients"] + counts["apply"], int(re.search(r"distinct kernels: (\d+)", text)[1])


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_launches_grow_by_those_of_a_layer(precision, tmp_path):
    """7 forward and 11 backward for each layer, and 11 for the rest."""
    flags = [f"--precision={precision}"]
    few, kernels = launches(tmp_path, "--set=layers=5", flags=flags)
    many, same_kernels = launches(tmp_path, "--set=layers=9", flags=flags)
    assert few <= 18 * 5 + 11 and many <= 18 * 9 + 11, (few, many)
    assert kernels == same_kernels
    assert launches(tmp_path, "--set=layers=5", flags=[*flags, "--fuse=false"])[0] > 1.8 * few
