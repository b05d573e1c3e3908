#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Installs torch into .venv-torch for the tests of nag.torch, which are skipped without. Takes 5.5 GB of disk, for PyPI's
# wheel for Linux brings its CUDA libraries; where download.pytorch.org can be reached, TORCH_INDEX gets the CPU build:
#   TORCH_INDEX=https://download.pytorch.org/whl/cpu scripts/setup_torch.sh
# The Python must be the one that the package is built for: .venv's.
set -euo pipefail
cd "$(dirname "$0")/.."
base=$(.venv/bin/python -c 'import sys; print(sys._base_executable)')
[ -x .venv-torch/bin/python ] || "$base" -m venv .venv-torch
.venv-torch/bin/python -m pip install --quiet --disable-pip-version-check torch ${TORCH_INDEX:+--index-url "$TORCH_INDEX"}
.venv-torch/bin/python -m pip install --quiet --disable-pip-version-check numpy pytest safetensors
.venv-torch/bin/python -c 'import torch; print("torch", torch.__version__)'
