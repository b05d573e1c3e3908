# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""All that nagc does with a model, on the PTX machine with all of its checks, beside the same on the CPU."""

import json

import pytest

from sessions import TEXT, checkpoints, nagc, write_model

MACHINE = ("--target", "cuda", "--device", "vm")
MODELS = {
    "nag": [],
    "prenorm": ["residual=prenorm"],
    "windows, grouped queries": ["heads=4", "kv_heads=2", "window=3", "seq=12"],
    "swiglu, tied, learned norms": ["mlp=swiglu", "tied=true", "qk_norm=learned"],
    "routed": ["seq=12", "mod_policy=rate", "mod_rate=0.3", "mod_exempt=0"],
    "keys routed": ["seq=12", "mod_policy=rate", "mod_rate=0.3", "mod_exempt=1", "mod_kv=routed", "layers=3", "window=5"],
}


def run(*arguments):
    result = nagc(*arguments)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def train(model, folder, *options, steps=3):
    run("train", model, "--data", TEXT, "--steps", steps, "--checkpoint-dir", folder, "--val-batches", 1, *options)
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module", params=MODELS.values(), ids=MODELS.keys())
def trained(request, tmp_path_factory):
    """A model and a run of it on the CPU."""
    folder = tmp_path_factory.mktemp("trained")
    model = write_model(folder / "model.mlir", *request.param)
    train(model, folder / "run", "--lr", 0.01, steps=20)
    return model, folder / "run"


def test_evaluation(trained):
    model, folder = trained
    arguments = ("eval", model, "--checkpoint", folder, "--data", TEXT, "--json")
    expected, got = (json.loads(run(*arguments, *options)) for options in ((), MACHINE))
    assert got["tokens"] == expected["tokens"]
    assert got["loss"] == pytest.approx(expected["loss"], rel=1e-5)


@pytest.mark.parametrize("options", [("--temperature", 0), ("--temperature", 0.8, "--top-k", 20, "--seed", 3)],
                         ids=["likeliest", "drawn"])
def test_generation(options, trained):
    """With the cache of keys and values and without, of two prompts at once."""
    model, folder = trained
    arguments = ("generate", model, "--checkpoint", folder, "--prompt", "The", "--prompt", "a", "--tokens", 12, *options)
    for mode in ((), ("--recompute",)):
        assert run(*arguments, *MACHINE, *mode) == run(*arguments, *mode)


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_a_run_goes_on_bit_for_bit(precision, tmp_path):
    """Also where weights have bf16 copies, which are made anew: no checkpoint holds them."""
    model = write_model(tmp_path / "model.mlir")
    options = (*MACHINE, "--precision", precision, "--checkpoint-interval", 2)
    train(model, tmp_path / "whole", *options, steps=4)
    # The schedule of the learning rate is that of four steps.
    first = nagc("train", model, "--data", TEXT, "--steps", 4, "--checkpoint-dir", tmp_path / "parts", "--val-batches", 1, *options)
    assert first.returncode == 0
    (tmp_path / "parts" / "step-00000004.safetensors").unlink()
    train(model, tmp_path / "parts", *options, "--resume", steps=4)
    assert checkpoints(tmp_path / "parts") == checkpoints(tmp_path / "whole")
    assert all(b"bf16:" not in path.read_bytes() for path in (tmp_path / "whole").glob("*.safetensors"))


def test_calibration(tmp_path):
    """Thresholds for a rate, and what the sweep over rates costs."""
    model = write_model(tmp_path / "model.mlir", "seq=12")
    train(model, tmp_path / "run", "--lr", 0.01, steps=20)
    routed = write_model(tmp_path / "routed.mlir", "seq=12", "mod_policy=threshold", "mod_exempt=0")
    arguments = ("calibrate", routed, "--checkpoint", tmp_path / "run", "--data", TEXT, "--mod-rate", 0.25)
    expected, got = (run(*arguments, *options) for options in ((), MACHINE))
    assert got == expected and got.count("threshold") == 5
    sweep = ("eval", model, "--checkpoint", tmp_path / "run", "--data", TEXT, "--mod-rate", 0.25, "--mod-exempt", 0, "--batches", 2,
             "--json")
    expected, got = (json.loads(run(*sweep, *options)) for options in ((), MACHINE))
    losses = [[point["loss"] for point in result] for result in (expected, got)]
    assert len(losses[0]) > 2 and losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_accumulation_and_metrics(tmp_path):
    """Two batches a step; gates and gradient norms are logged as on the CPU, and a report shows them."""
    model = write_model(tmp_path / "model.mlir")
    options = ("--accumulate", 2, "--gate-interval", 1)
    expected, got = (train(model, tmp_path / name, *options, *more) for name, more in (("cpu", ()), ("vm", MACHINE)))
    steps = [(a, b) for a, b in zip(expected, got, strict=True) if "loss" in a]
    assert len(steps) == 3
    for a, b in steps:
        for key in ("loss", "grad_norm", "lr", "tokens"):
            assert b[key] == pytest.approx(a[key], rel=1e-4), key
        assert b["gates"]["mean"] == pytest.approx(a["gates"]["mean"], rel=1e-4)
    assert any("val_loss" in step for step in got)
    run("report", tmp_path / "vm", "-o", tmp_path / "report.html")
    assert "gate" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_precisions_evaluate_and_generate(precision, tmp_path):
    model = write_model(tmp_path / "model.mlir", "width=64", "heads=2")
    train(model, tmp_path / "run", "--lr", 0.01, steps=20)
    arguments = ("eval", model, "--checkpoint", tmp_path / "run", "--data", TEXT, "--json")
    expected, got = (json.loads(run(*arguments, *more)) for more in ((), (*MACHINE, "--precision", precision)))
    assert got["loss"] == pytest.approx(expected["loss"], rel={"tf32": 1e-3, "bf16": 1e-2}[precision])
    text = run("generate", model, "--checkpoint", tmp_path / "run", "--prompt", "The", "--tokens", 8, *MACHINE, "--precision", precision)
    # Tokens are bytes; some may make a character together.
    assert text.startswith("The") and len("The") + 8 // 4 + 1 <= len(text) <= len("The") + 8 + 1
