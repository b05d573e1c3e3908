#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Installs torch into .venv-torch for the tests of nag.torch, and prints one line when it is there. PyPI's wheel for Linux
# (0.55 GB to download, 1.4 GB of disk) is linked to CUDA's libraries, 4 GB more, which its CPU part never calls: stubs
# stand in for them, all but libcudart, which is small and says that there is no GPU. With --cuda, the libraries
# themselves. Where download.pytorch.org can be reached, its CPU build does without:
#   TORCH_INDEX=https://download.pytorch.org/whl/cpu scripts/setup_torch.sh
# The Python must be the one that the package is built for: .venv's.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv-torch/bin/python

works() {
  "$python" -c 'import torch; torch.randn(2, 2) @ torch.randn(2, 2); print("torch", torch.__version__)' 2>/dev/null
}

install() { "$python" -m pip install --quiet --disable-pip-version-check "$@"; }

# Shared libraries under the names that torch's ask for; the symbols are in one of them and end the process when called.
stub_cuda() {
  local lib=$1 scratch needed name
  scratch=$(mktemp -d)
  needed=$(readelf -d "$lib"/lib{torch,c10,caffe2}*.so | grep -oP 'NEEDED.*\[\K[^]]+' | sort -u |
    grep -E '^lib(cu|nccl|nv)' | grep -v '^libcudart')
  nm -D --undefined-only "$lib"/lib{torch,c10,caffe2}*.so | grep -oP ' U \K(cu|nccl|nv)\w+' | grep -v '^cuda' | sort -u |
    sed 's/.*/.globl &\n&:/' >"$scratch/stubs.s"
  printf 'ud2\n.section .note.GNU-stack\n' >>"$scratch/stubs.s"
  gcc -shared -nostdlib -Wl,-soname,libnocuda.so "$scratch/stubs.s" -o "$lib/libnocuda.so"
  echo >"$scratch/empty.c"
  for name in $needed; do
    gcc -shared -nostdlib -Wl,-soname,"$name" -Wl,--no-as-needed -Wl,-rpath,'$ORIGIN' "$scratch/empty.c" "$lib/libnocuda.so" \
      -o "$lib/$name"
  done
  rm -r "$scratch"
}

install_without_cuda() {
  local cudart
  install --no-deps torch
  # pip's resolver would bring the rest: what torch needs, less CUDA and triton.
  "$python" - >.venv-torch/requirements.txt <<'END'
import importlib.metadata, re
for line in importlib.metadata.requires("torch"):
    if not re.match(r"nvidia|cuda|triton", line) and "extra ==" not in line:
        print(line)
END
  cudart=$("$python" -c 'import importlib.metadata as m, re; print(*re.findall(r"cuda-toolkit\[[^]]*\](==[\d.]+)", str(m.requires("torch"))))')
  [ -z "$cudart" ] || install "cuda-toolkit[cudart]$cudart" 2>/dev/null
  install -r .venv-torch/requirements.txt 2>/dev/null
  stub_cuda "$(echo .venv-torch/lib/python3*/site-packages/torch/lib)"
}

works && exit 0
echo "setup: installing torch into .venv-torch"
base=$(.venv/bin/python -c 'import sys; print(sys._base_executable)')
[ -x "$python" ] || "$base" -m venv .venv-torch
if [ -n "${TORCH_INDEX:-}" ]; then
  install torch --index-url "$TORCH_INDEX"
elif [ "${1:-}" = --cuda ]; then
  install torch
else
  install_without_cuda
fi
install numpy pytest safetensors 2>/dev/null
works || { echo "setup: expected torch to work after its installation, but it does not:" >&2; "$python" -c 'import torch'; }
