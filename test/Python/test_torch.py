# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs torch_cases.py where there is a torch: NAG_TORCH_PYTHON, .venv-torch (scripts/setup_torch.sh) or this Python."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def find_python():
    own = ROOT / ".venv-torch" / "bin" / "python"
    if os.environ.get("NAG_TORCH_PYTHON"):
        return os.environ["NAG_TORCH_PYTHON"]
    if own.exists():
        return str(own)
    return sys.executable if importlib.util.find_spec("torch") else None


def test_nag_torch():
    pytest.importorskip("nag")
    python = find_python()
    if python is None:
        pytest.skip("no torch: scripts/setup_torch.sh installs it into .venv-torch (0.55 GB to download, 1.4 GB of disk)")
    environment = dict(os.environ, PYTHONPATH=str(Path(os.environ["NAG_BUILD"]) / "python"))
    command = [python, "-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider",
               str(Path(__file__).with_name("torch_cases.py"))]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
