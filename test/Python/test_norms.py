# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""@norms, the log-norms of a baseline's residual by depth: its numbers, and what a run's log says."""

import json

import numpy as np
import pytest

from models import CONFIGS, inputs_of, start, write_model
from nag_reference import model as reference
from sessions import TEXT, nagc, write_model as write_small

nag = pytest.importorskip("nag", reason="the Python package is not built: nanobind was not found")


def expected_norms(config, params, tokens):
    """log rms of the embedding's rows and of the residual after each sub-layer."""
    x = params["transformer.wte.weight"][tokens]
    norms = [x]
    for sublayer in reference.sublayers(config, params, 1.0, None):
        norms.append(sublayer.forward(norms[-1]))
    return np.array([np.log(np.sqrt((x * x).mean(-1))) for x in norms])


@pytest.mark.parametrize("target", [{"dtype": "f64"}, {"dtype": "f32", "target": "cuda", "device": "vm"}], ids=["cpu", "cuda"])
def test_norms_are_those_of_the_reference(target, tmp_path):
    config, path = CONFIGS["prenorm"], tmp_path / "model.mlir"
    dtype = target.pop("dtype")
    write_model(config, dtype, path)
    program = nag.Model.from_file(path).compile(["norms"], **target)
    params = start(config)
    inputs = inputs_of(config, params, np.float64 if dtype == "f64" else np.float32)
    names = {a.name for a in program.function("norms").arguments if a.access == "read"}
    arrays = {n: x if program.on_host else program.to_device(x) for n, x in inputs.items() if n in names}
    got = program.call("norms", **arrays)["norms"]
    got = got if program.on_host else program.to_host(got)
    expected = expected_norms(config, params, inputs["tokens"])
    assert got.shape == (1 + 2 * config.layers, config.batch, config.seq)
    np.testing.assert_allclose(got, expected, rtol=1e-9 if dtype == "f64" else 1e-4, atol=1e-9 if dtype == "f64" else 1e-5)
    assert np.ptp(expected.mean((1, 2))) > 0.01  # the norm grows


def test_only_baselines_have_norms(tmp_path):
    model = nag.Model(layers=1, width=16, heads=1, seq=8, batch=1)
    with pytest.raises(nag.Error, match="expected a function @norms, but got none"):
        model.compile(["norms"])


def test_logs_hold_the_norms_at_the_interval_of_gates(tmp_path):
    path = write_small(tmp_path / "model.mlir", "residual=prenorm")
    result = nagc("train", path, "--data", TEXT, "--steps", 4, "--gate-interval", 2, "--val-interval", 0, "--checkpoint-dir",
                  tmp_path / "run")
    assert result.returncode == 0, result.stderr
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert ["residual" in line for line in log] == [False, True, False, True]
    assert len(log[1]["residual"]["log_norm"]) == 5 and np.isfinite(log[1]["residual"]["log_norm"]).all()
    nag.train(nag.Model.from_file(path), TEXT, steps=2, gate_interval=1, val_interval=0, checkpoint_dir=tmp_path / "python")
    again = [json.loads(line) for line in (tmp_path / "python" / "log.jsonl").read_text().splitlines()]
    assert all(len(line["residual"]["log_norm"]) == 5 for line in again)


def test_norms_do_not_change_a_run(tmp_path):
    """The program with @norms trains to the same bits as the one without."""
    path = write_small(tmp_path / "model.mlir", "residual=prenorm")
    losses = []
    for interval in (1, 1000):
        nagc("train", path, "--data", TEXT, "--steps", 3, "--gate-interval", interval, "--val-interval", 0, "--log",
             tmp_path / f"{interval}.jsonl")
        losses.append([json.loads(line)["loss"] for line in (tmp_path / f"{interval}.jsonl").read_text().splitlines()])
    assert losses[0] == losses[1] and len(losses[0]) == 3
