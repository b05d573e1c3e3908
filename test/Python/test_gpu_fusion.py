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


HEAD = """
func.func @head(%x: tensor<1xNxDxf32> {nag.name = "x"}, %s: tensor<1xNxf32> {nag.name = "s"}, %w: tensor<VxDxf32> {nag.name = "w"},
    %targets: tensor<1xNxi32> {nag.name = "targets"}) -> (tensor<f32> {nag.name = "loss"}) {
  %z = nag.linear %x, %w : (tensor<1xNxDxf32>, tensor<VxDxf32>) -> tensor<1xNxVxf32>
  %t = nag.temper %z, %s {factor = 0.125} : (tensor<1xNxVxf32>, tensor<1xNxf32>) -> tensor<1xNxVxf32>
  %loss = nag.cross_entropy %t, %targets {vocab = ROWS} : (tensor<1xNxVxf32>, tensor<1xNxi32>) -> tensor<f32>
  return %loss : tensor<f32>
}
"""


def head_gradients(x, s, w, targets, vocab):
    """Of the mean loss, in float64: x, the scale of its rows, w."""
    x, s, w = (np.asarray(value, np.float64) for value in (x[0], s[0], w))
    scale = 0.125 * np.exp(s)[:, None]
    logits = (x @ w.T * scale)[:, :vocab]
    grad = np.exp(logits - logits.max(1, keepdims=True))
    grad = grad / grad.sum(1, keepdims=True)
    counted = targets[0] >= 0
    grad[np.arange(len(x)), np.maximum(targets[0], 0)] -= 1.0
    grad *= counted[:, None] / counted.sum()
    scaled = np.pad(grad * scale, ((0, 0), (0, len(w) - vocab)))
    return {"grad:x": (scaled @ w)[None], "grad:s": (grad * logits).sum(1)[None], "grad:w": scaled.T @ x}


@pytest.mark.parametrize("precision, tolerance", [("f32", 1e-5), ("bf16", 2e-2)])
@pytest.mark.parametrize("rows, width, vocab, chunk, launches_of_chunks", [
    (24, 16, 40, 8, 3),   # chunks alike
    (23, 18, 41, 10, 3),  # 10, 10 and 3 rows, of no whole vectors
    (5, 8, 9000, 5, 1),  # long rows
    (3, 8, 40000, 3, 1),  # too long for registers
    (3, 8, 39999, 3, 1)])
def test_chunks_of_the_head(rows, width, vocab, chunk, launches_of_chunks, precision, tolerance, tmp_path):
    """Logits a chunk of rows at a time: one kernel makes the loss and the gradient of a chunk's, in their place."""
    text = HEAD.replace("xN", f"x{rows}").replace("xDx", f"x{width}x").replace("<Vx", f"<{vocab}x").replace("xVx", f"x{vocab}x")
    element = 2 if precision == "bf16" else 4
    passes = (f"nag-training-pipeline{{function=head bf16={'true' if element == 2 else 'false'}}},nag-decompose,nag-fuse-head,"
              f"nag-lower-head{{bytes={element * vocab * chunk}}}")
    module = tmp_path / "head.mlir"
    module.write_text(text.replace("ROWS", str(vocab - 3)))
    lowered = harness.run([harness.build_folder() / "bin" / "nag-opt", module, f"--pass-pipeline=builtin.module({passes})"])
    rng = np.random.default_rng(0)
    inputs = dict(x=rng.standard_normal((1, rows, width), np.float32), s=rng.normal(0.0, 0.3, (1, rows)).astype(np.float32),
                  w=rng.standard_normal((vocab, width), np.float32), targets=rng.integers(0, vocab - 3, (1, rows), np.int32))
    inputs["targets"][0, 1] = -1
    expected = head_gradients(*inputs.values(), vocab - 3)
    seed = {"cotangent:0": np.ones((), np.float32)} if "cotangent:0" in lowered else {}
    outcome = ptx_machine.call(harness.build_folder(), lowered, [("head.gradients", inputs | seed)], tmp_path, counters=True)
    of_losses = [counts for name, counts in outcome.counters.items() if "token_loss_vjp_temper_vjp" in name]
    assert sum(counts["launches"] for counts in of_losses) == launches_of_chunks
    for name, value in expected.items():
        assert ref.relative_error(outcome.results[0][name], value) <= tolerance, name
