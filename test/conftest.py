# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Where the Python tests find the build, the references and the JAX peer, and where nagc keeps kernels."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "test" / "Reference"), str(ROOT / "bench")]


def pytest_addoption(parser):
    parser.addoption("--nag-build", type=Path, default=ROOT / "build", metavar="DIR",
                     help="the build folder whose tools are tested (default: build)")


def pytest_configure(config):
    build = config.getoption("--nag-build").absolute()
    os.environ["NAG_BUILD"] = str(build)
    os.environ["XDG_CACHE_HOME"] = str(build / "test" / "cache")
    if (build / "python").is_dir():
        sys.path.insert(0, str(build / "python"))
