# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Training with depth routing, from Python and by nagc: rates, thresholds, what was executed, checkpoints."""

import json
import subprocess

import numpy as np
import pytest

import harness

nag = pytest.importorskip("nag", reason="the Python package is not built: nanobind was not found")

TINY = dict(layers=1, mod_exempt=0, width=32, heads=2, seq=16, batch=2, gate_directions=4, project_std=0.1)
RATE = dict(mod_policy="rate", mod_rate=0.5, mod_warmup=1, mod_ramp=2, mod_ema=0.5, mod_aux=0.1)


def batches(count, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (2, 2, 16)).astype(np.int32) for _ in range(count)]


def tensors(path):
    data = path.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:begin])
    header.pop("__metadata__")
    return {name: data[begin + a:begin + b] for name, entry in header.items() for a, b in [entry["data_offsets"]]}


@pytest.fixture(scope="module")
def trainer():
    return nag.Trainer(nag.Model(**TINY, **RATE), threads=1, alpha_warmup=2)


def test_thresholds_follow_the_gates(trainer, tmp_path):
    """None skips while warming up; then the average of the quantiles of full gates, which starts as the first."""
    expected, loss = np.zeros(2), []
    for step, (tokens, targets) in enumerate(batches(5), 1):
        loss.append(trainer.step(tokens, targets).loss)
        rate = {1: 0.0, 2: 0.25}.get(step, 0.5)
        assert trainer.routing.rate_at(step) == rate
        assert (trainer.routing.shares == 0.0).all() if step <= 2 else (trainer.routing.shares > 0.1).all()
        scores = np.sort(np.abs(trainer.gates).reshape(2, -1), axis=-1) / min(1.0, step / 2)
        if step > 1:
            weight = max(0.5, 1.0 / (step - 1))
            expected = (1.0 - weight) * expected + weight * scores[:, int(rate * 32)]
        assert np.allclose(trainer.routing.thresholds, expected, rtol=1e-6)
    assert np.isfinite(loss).all()
    assert np.isfinite(trainer.evaluate(tokens, targets)) and np.isfinite(trainer.logits(tokens)).all()
    # Later steps give the same bits from a checkpoint.
    path = trainer.save(tmp_path)
    again = nag.Trainer(trainer.model, threads=1, alpha_warmup=2)
    again.load(path)
    assert (again.routing.thresholds == trainer.routing.thresholds).all() and again.steps == 5
    for tokens, targets in batches(2, seed=1):
        assert trainer.step(tokens, targets) == again.step(tokens, targets)
    assert all(np.asarray(again.weights[name]).tobytes() == np.asarray(x).tobytes() for name, x in trainer.weights.items())
    assert again.routing.thresholds.tobytes() == trainer.routing.thresholds.tobytes()


def test_steps_on_a_device_are_the_hosts():
    """Thresholds and shares follow gates that lie on the device."""
    config = {**TINY, "width": 16, "heads": 1, "seq": 8, "batch": 1, **RATE}
    host, device = (nag.Trainer(nag.Model(**config), **target) for target in ({"threads": 1}, {"target": "cuda", "device": "vm"}))
    for tokens, targets in batches(3):
        steps = [t.step(tokens[:1, :8].copy(), targets[:1, :8].copy()) for t in (host, device)]
        assert steps[0].loss == pytest.approx(steps[1].loss, rel=1e-5)
        assert (host.routing.shares == device.routing.shares).all()
        assert np.allclose(host.routing.thresholds, device.routing.thresholds, rtol=1e-4)
    assert (host.routing.thresholds > 0).all()


def test_what_cannot_be_trained_or_read(trainer, tmp_path):
    with pytest.raises(nag.ArgumentError, match="mod_policy: expected capacity or rate to train with, but got threshold"):
        nag.Trainer(nag.Model(**TINY, mod_policy="threshold"), threads=1)
    dense = nag.Trainer(nag.Model(**TINY | {"mod_exempt": None}), threads=1)
    path = dense.save(tmp_path)
    with pytest.raises(nag.CheckpointError, match="config field 'mod_[a-z]+': expected .*, but got nothing"):
        trainer.load(path)
    with pytest.raises(nag.CheckpointError, match="tensor 'mod.thresholds': expected 2xf32, which the policy 'threshold' needs"):
        nag.Generator(nag.Model(**TINY, mod_policy="threshold"), path, threads=1)


def visible_pairs(executed, window, kv):
    """Pairs of an executed token and a key that it sees, of one sequence."""
    query, key = np.indices((len(executed), len(executed)))
    seen = (query >= key) & (query - key <= window) & executed[:, None]
    return int((seen & executed[None, :]).sum() if kv == "routed" else seen.sum())


@pytest.mark.parametrize("kv, window, policy", [("all", None, "rate"), ("all", 5, "capacity"), ("routed", None, "rate"), ("routed", 5, "rate")])
def test_executed_flops_count_the_positions(kv, window, policy, tmp_path):
    """The log's FLOPs are those of the tokens that were executed where they stand, not of as many mean ones."""
    sizes = TINY | dict(layers=3, mod_exempt=1, seq=48, batch=1, mod_kv=kv, mod_policy=policy, mod_rate=0.4, window=window or "L")
    text, model, log = tmp_path / "text", tmp_path / "model.mlir", tmp_path / "log.jsonl"
    text.write_bytes(np.random.default_rng(1).integers(32, 127, 2000).astype(np.uint8).tobytes())
    nagc = harness.build_folder() / "bin" / "nagc"
    harness.run([nagc, "model", *(f"--set={k}={v}" for k, v in sizes.items()), "-o", model])
    harness.run([nagc, "train", model, "--data", text, "--threads", "1", "--val-interval", "0", "--steps", "3", "--log", log])
    last = json.loads(log.read_text().splitlines()[-1])
    executed = np.reshape(last["sample"]["executed"], (6, 48)) > 0
    cost = json.loads(harness.run([nagc, "flops", model, "--json"]))
    attention, mlp = executed[2], executed[3]
    assert 4 < attention.sum() < 44 and 4 < mlp.sum() < 44
    mean = cost["executed"]["mean_pair_flops"]
    expected = cost["flops_per_step"]["total"] - cost["executed"]["routed_mlp_flops"] * (1.0 - mlp.mean())
    if policy == "rate":  # a capacity's rows are those that the graph has
        share = attention.mean()
        expected -= cost["executed"]["routed_attention_flops"] * (1.0 - share) + cost["executed"]["routed_pair_flops"] * (1.0 - share ** 2)
        mean *= share ** 2 if kv == "routed" else share
        assert (cost["executed"]["routed_pair_flops"] > 0) == (kv == "routed")
    # Two products forward, five backward; five operations per pair and head for the exponential and its sums, either way.
    pairs = visible_pairs(attention, window or 48, kv)
    exact = expected - mean + pairs * (14 * sizes["width"] + 2 * 5 * sizes["heads"])
    assert last["executed"]["flops"] == pytest.approx(exact, rel=1e-12)
    assert abs(exact - expected) > 100 * 1e-12 * exact
    # Where nothing but the number of pairs matters, it is foreseen.
    assert kv == "all" or window or abs(exact - expected) < 2e-3 * exact


def test_runs_and_budgets(tmp_path):
    """The log counts what was executed; a budget gives the steps that it lasts; a resumed run gives the same bits."""
    text = tmp_path / "text"
    text.write_bytes(np.random.default_rng(5).integers(32, 127, 4000).astype(np.uint8).tobytes())
    model = tmp_path / "model.mlir"
    nagc = harness.build_folder() / "bin" / "nagc"
    harness.run([nagc, "model", *(f"--set={k}={v}" for k, v in (TINY | RATE).items()), "-o", model])

    def train(folder, *options):
        harness.run([nagc, "train", model, "--data", text, "--threads", "1", "--val-interval", "0", "--checkpoint-dir", folder,
                     "--gate-interval", "1", *options])
        return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]

    cost = json.loads(harness.run([nagc, "flops", model, "--json"]))
    whole = train(tmp_path / "whole", "--steps", "6")
    train(tmp_path / "parts", "--steps", "3")
    parts = train(tmp_path / "parts", "--steps", "6", "--resume")
    last = "step-00000006.safetensors"
    one, other = tensors(tmp_path / "whole" / last), tensors(tmp_path / "parts" / last)
    assert one == other and "mod.thresholds" in one
    total = 0.0
    for line, resumed in zip(whole, parts):
        assert (line["loss"], line["skips"], line["executed"]) == (resumed["loss"], resumed["skips"], resumed["executed"])
        passes = cost["flops_per_step"]["forward"] + cost["flops_per_step"]["backward"]
        flops = passes + cost["flops_per_step"]["optimizer"] - cost["executed"]["routed_flops"] * np.mean(line["skips"])
        # Both sub-layers count: the shares differ, and so do their costs.
        assert abs(line["executed"]["flops"] / flops - 1.0) < 0.1
        total += line["executed"]["flops"]
        assert abs(line["executed"]["total_flops"] / total - 1.0) < 1e-12
    assert whole[0]["executed"]["flops"] == cost["flops_per_step"]["total"]
    full, share = cost["flops_per_step"]["total"], cost["executed"]["routed_flops"]
    budget = 1.01 * (4 * full - (0.25 + 0.5 + 0.5) * share)
    result = nag.train(nag.Model.from_file(model), text, flops_budget=budget, threads=1, val_interval=0, log=str(tmp_path / "log"))
    spent = json.loads((tmp_path / "log").read_text().splitlines()[-1])["executed"]["total_flops"]
    assert result.step == 4 and 0.8 * budget < spent < 1.2 * budget
    poor = subprocess.run([nagc, "train", model, "--data", text, "--flops-budget", "10"], capture_output=True, text=True)
    assert poor.returncode == 1 and "flops budget: expected at least one step's" in poor.stderr
