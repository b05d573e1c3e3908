# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`nagc train --target cuda` on the PTX machine with all of its checks, beside the same run on the CPU."""

import json
import os

import pytest

from sessions import TEXT, checkpoints, nagc, write_model

STEPS = 3
# Losses of the same steps: f32 sums in another order; bf16 rounds every factor to eight bits.
LIMITS = {"f32": 1e-5, "tf32": 2e-3, "bf16": 1e-2}
MODELS = {
    "nag": [],
    "prenorm": ["residual=prenorm"],
    "one head, window": ["heads=1", "kv_heads=1", "window=3", "seq=9"],
    "grouped queries, gelu": ["heads=4", "kv_heads=2", "mlp=gelu"],
    "swiglu, odd sizes": ["mlp=swiglu", "hidden=50", "seq=7", "batch=3"],
    "one token": ["seq=1"],
    "routed": ["layers=3", "seq=9", "mod_policy=capacity", "mod_rate=0.3"],
    "routed, odd rows, window": ["width=30", "heads=3", "kv_heads=1", "window=3", "seq=9", "mod_policy=capacity", "mod_rate=0.5",
                                 "mod_exempt=0"],
    "routed keys": ["seq=20", "window=7", "mod_policy=capacity", "mod_rate=0.5", "mod_exempt=0", "mod_kv=routed"],
    "rate": ["seq=20", "mod_policy=rate", "mod_rate=0.5", "mod_exempt=0"],
    "rate, routed keys, auxiliary loss": ["seq=20", "mod_policy=rate", "mod_rate=0.3", "mod_kv=routed", "mod_exempt=0", "mod_aux=0.1"],
    "a capacity that grows": ["width=30", "heads=3", "kv_heads=1", "seq=9", "mod_policy=capacity", "mod_rate=0.5", "mod_warmup=1",
                              "mod_ramp=2", "mod_exempt=0"],
}


def train(model, folder, *options, environment=()):
    result = nagc("train", model, "--data", TEXT, "--steps", STEPS, "--checkpoint-dir", folder, "--val-batches", 1, *options,
                  env=os.environ | dict(environment))
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    steps = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [step["loss"] for step in steps if "loss" in step]


def train_on_machine(model, folder, *options):
    """The losses of a run in which no check of the machine found anything."""
    findings = folder.with_suffix(".findings")
    losses = train(model, folder, "--target", "cuda", "--device", "vm", *options,
                   environment={"NAG_PTXVM_CHECKS": "all", "NAG_PTXVM_FINDINGS": str(findings)})
    assert not findings.exists() or findings.read_text() == ""
    return losses


@pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS.keys())
def test_losses_are_those_of_the_cpu(settings, tmp_path):
    model = write_model(tmp_path / "model.mlir", *settings)
    expected = train(model, tmp_path / "cpu")
    assert len(expected) == STEPS
    # Of two tokens with nearly equal gates either may skip.
    limit = 1e-4 if any(s.startswith("mod_") for s in settings) else LIMITS["f32"]
    assert train_on_machine(model, tmp_path / "vm") == pytest.approx(expected, rel=limit)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize("chip", ["sm_80", "sm_90a"])
def test_losses_on_tensor_cores(precision, chip, tmp_path):
    model = write_model(tmp_path / "model.mlir", "width=64", "heads=2")
    expected = train(model, tmp_path / "cpu")
    got = train_on_machine(model, tmp_path / "vm", "--precision", precision, "--chip", chip)
    assert got == pytest.approx(expected, rel=LIMITS[precision])
    assert got != expected


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_losses_of_routed_models_on_tensor_cores(precision, tmp_path):
    """Which tokens skip depends on rounding, so losses differ by more than products do."""
    model = write_model(tmp_path / "model.mlir", "width=64", "heads=2", "mod_policy=capacity", "mod_rate=0.25", "mod_exempt=0")
    expected = train(model, tmp_path / "cpu")
    got = train_on_machine(model, tmp_path / "vm", "--precision", precision)
    assert got == pytest.approx(expected, rel=3 * LIMITS[precision])


def test_two_runs_are_equal(tmp_path):
    model = write_model(tmp_path / "model.mlir")
    for name in "ab":
        train(model, tmp_path / name, "--target", "cuda", "--device", "vm", environment={"NAG_PTXVM_CHECKS": "none"})
    assert checkpoints(tmp_path / "a") == checkpoints(tmp_path / "b")


def test_a_run_resumes_on_another_target(tmp_path):
    model = write_model(tmp_path / "model.mlir")
    train(model, tmp_path / "run")
    options = ("--data", TEXT, "--steps", STEPS + 1, "--checkpoint-dir", tmp_path / "run", "--resume")
    result = nagc("train", model, *options, "--target", "cuda", "--device", "vm")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("options, message", [
    (("--device", "0"), "no CUDA driver: "),
    (("--device", "vm", "--chip", "sm_70"), "--chip: expected sm_80 or sm_90a, but got 'sm_70'"),
    (("--device", "first"), "--device: expected vm or the number of a GPU, but got 'first'"),
    (("--precision", "f8"), "--precision: expected f32, tf32 or bf16, but got 'f8'"),
])
def test_what_cannot_run_is_an_error_of_one_line(options, message, tmp_path):
    model = write_model(tmp_path / "model.mlir")
    result = nagc("train", model, "--data", TEXT, "--steps", 1, "--target", "cuda", *options)
    assert result.returncode == (1 if "driver" in message else 2)
    assert message in result.stderr and result.stderr.count("\n") == 1


def test_a_chip_that_the_device_is_not(tmp_path):
    model = write_model(tmp_path / "model.mlir")
    result = nagc("train", model, "--data", TEXT, "--steps", 1, "--target", "cuda", "--device", "vm", "--chip", "sm_90a",
                  env=os.environ | {"NAG_PTXVM_CHIP": "sm_80"})
    assert result.returncode == 1
    assert "expected a device that runs code for sm_90a, but got" in result.stderr


def test_a_device_without_enough_memory(tmp_path):
    model = write_model(tmp_path / "model.mlir", "width=256", "hidden=1024", "vocab=2000")
    result = nagc("train", model, "--data", TEXT, "--steps", 1, "--target", "cuda", "--device", "vm",
                  env=os.environ | {"NAG_PTXVM_MEMORY_MB": "16"})
    assert result.returncode == 1
    assert "out of memory" in result.stderr and result.stderr.count("\n") == 1
