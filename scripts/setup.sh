#!/usr/bin/env bash
# Installs what the build and the tests need on Debian 12 and nothing twice: Debian packages, then Python
# packages into .venv. With --check also what only tests need: Chromium, which draws reports (360 MB), and torch in
# .venv-torch (1.4 GB), without which its tests are skipped.
# Prints each thing it installs; prints one line and does nothing when all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

debian=(build-essential cmake ninja-build ccache git
  llvm-22-dev llvm-22-tools libmlir-22-dev mlir-22-tools clang-22 clang-format-22 clang-tidy-22
  libclang-rt-22-dev libomp-22-dev libdnnl-dev libgtest-dev fortunes fortunes-min python3-venv)
[ "${1:-}" = --check ] && debian+=(chromium)
python_requirements=scripts/requirements.txt

missing=()
for package in "${debian[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "setup: installing Debian packages: ${missing[*]}"
  sudo=""
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "setup: need root or sudo to install: ${missing[*]}" >&2; exit 1; }
    sudo=sudo
  fi
  $sudo apt-get update -qq
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

stamp=.venv/.installed
if ! cmp -s "$python_requirements" "$stamp"; then
  echo "setup: installing Python packages into .venv: $(grep -v '^#' "$python_requirements" | tr '\n' ' ')"
  [ -x .venv/bin/python ] || python3 -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$python_requirements"
  cp "$python_requirements" "$stamp"
fi
if [ "${1:-}" = --check ]; then
  timeout 600 scripts/setup_torch.sh || echo "setup: no torch: the tests of nag.torch are skipped"
fi
[ ${#missing[@]} -gt 0 ] || echo "setup: everything is installed"
