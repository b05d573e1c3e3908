# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs of `nagc train` that repeat, stop and go on: the final checkpoints are equal bit for bit."""

import json
import random
import signal

import pytest

from sessions import TEXT, checkpoints, lines, nagc, start, wait_until, write_model

STEPS = 250
INTERVAL = 23


def training(model, folder, *options):
    return ["train", model, "--data", TEXT, "--steps", STEPS, "--checkpoint-dir", folder, "--checkpoint-interval",
            INTERVAL, "--val-interval", 50, *options]


def final(folder):
    name = f"step-{STEPS:08}.safetensors"
    files = checkpoints(folder)
    assert not [other for other in files if not other.endswith(".safetensors")], "left-overs of a write"
    return files[name]


def train(model, folder, *options):
    result = nagc(*training(model, folder, *options))
    assert result.returncode == 0, result.stderr
    return final(folder)


@pytest.fixture(scope="module", params=["nag", "prenorm"])
def model(request, tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "model.mlir", f"residual={request.param}")


@pytest.fixture(scope="module")
def uninterrupted(model, tmp_path_factory):
    return train(model, tmp_path_factory.mktemp("uninterrupted"))


def test_two_runs_are_equal(model, uninterrupted, tmp_path):
    assert train(model, tmp_path) == uninterrupted


@pytest.mark.parametrize("threads", [1, 2])
def test_two_runs_with_a_fixed_number_of_threads_are_equal(model, threads, tmp_path):
    first, second = (train(model, tmp_path / name, "--threads", threads) for name in "ab")
    assert first == second


def test_another_seed_is_another_run(model, uninterrupted, tmp_path):
    assert train(model, tmp_path, "--seed", 1) != uninterrupted


def stop(model, folder, signal_number, *options):
    """Starts a run and sends a signal at a random step; returns how it ended and the steps it logged."""
    step = random.randrange(1, STEPS // 2)
    process = start(*training(model, folder, *options))
    wait_until(lambda: lines(folder / "log.jsonl") >= step, process)
    process.send_signal(signal_number)
    process.communicate()
    done = lines(folder / "log.jsonl")
    assert step <= done < STEPS
    return process.returncode, done


@pytest.mark.parametrize("attempt", range(2))
def test_kill_and_resume(model, uninterrupted, attempt, tmp_path):
    code, step = stop(model, tmp_path, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert train(model, tmp_path, "--resume") == uninterrupted, f"killed after step {step}"
    steps = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(1, STEPS + 1))


@pytest.mark.parametrize("number, options", [(signal.SIGINT, []), (signal.SIGTERM, ["--accumulate", 2])],
                         ids=["interrupt", "terminate"])
def test_interrupt_leaves_a_checkpoint(model, number, options, tmp_path):
    expected = train(model, tmp_path / "whole", *options)
    code, step = stop(model, tmp_path / "stopped", number, *options)
    assert code == 128 + number
    assert f"step-{step:08}.safetensors" in checkpoints(tmp_path / "stopped")
    assert train(model, tmp_path / "stopped", "--resume", *options) == expected
