# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the tests of nagc as a process share: a model that trains in milliseconds, runs of nagc, users without rights."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

import harness

TEXT = Path(__file__).resolve().parents[2] / "LICENSE"
SETTINGS = ["layers=2", "width=32", "hidden=96", "batch=2", "seq=8", "gate_directions=5"]
NOBODY = 65534
PATIENCE_S = 120


def nagc(*arguments, **options):
    """A finished run of nagc; its output is text."""
    command = [str(x) for x in (harness.build_folder() / "bin" / "nagc", *arguments)]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PATIENCE_S, **options)


def write_model(path, *settings, preset="tiny"):
    result = nagc("model", "--preset", preset, *(f"--set={s}" for s in [*SETTINGS, *settings]), "-o", path)
    assert result.returncode == 0, result.stderr
    return path


def start(*arguments, **options):
    """nagc in the background."""
    command = [str(x) for x in (harness.build_folder() / "bin" / "nagc", *arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def wait_until(condition, process):
    """Waits for a condition while a process runs; fails when the process ends before."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, f"ended too early: {process.communicate()}"
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.001)


def lines(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


def checkpoints(folder):
    """The bytes of every file in a folder of checkpoints but the log, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "log.jsonl"}


def assert_one_line(result, *parts, code=1):
    """An error of one line that holds the parts in this order, and nothing else on stderr."""
    assert result.returncode == code, (result.returncode, result.stderr)
    assert result.stderr.startswith("nagc") and result.stderr.count("\n") == 1, result.stderr
    rest = result.stderr
    for part in map(str, parts):
        assert part in rest, f"expected '{part}' in this place of: {result.stderr}"
        rest = rest[rest.index(part) + len(part):]


def unprivileged():
    """Options of subprocess.run for a user whom permissions stop; skips where that user cannot start nagc."""
    if os.geteuid():
        return {}
    options = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    try:
        assert nagc("--version", **options).returncode == 0
    except PermissionError:
        pytest.skip(f"user {NOBODY} may not run {harness.build_folder()}/bin/nagc")
    return options


@pytest.fixture
def open_folder():
    """A folder that every user may read and write."""
    folder = Path(tempfile.mkdtemp(prefix="nag-test-"))
    folder.chmod(0o777)
    yield folder
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o777)
    shutil.rmtree(folder)
