#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Trains the preset `tiny` on Debian's fortunes and samples from it. Usage: quickstart.sh BUILD_DIR
set -euo pipefail
cd "$(dirname "$0")/.."
nagc=$1/bin/nagc
run=runs/quickstart
data=/usr/share/games/fortunes

rm -rf "$run"
mkdir -p "$run"

echo "1. The model as MLIR: $run/model.mlir"
"$nagc" model --preset tiny -o "$run/model.mlir"
"$nagc" flops "$run/model.mlir"

echo "2. Training on $data (about 2 MB of English, read as bytes)"
"$nagc" train "$run/model.mlir" --data "$data" --steps 500 --gate-interval 20 \
  --checkpoint-dir "$run/checkpoints" --log "$run/log.jsonl"

echo "3. The loss, in nats per byte (first and last steps of $run/log.jsonl)"
sed -n '1p; $p' "$run/log.jsonl" | sed -E 's/\{"step":([0-9]+),"loss":([0-9.]{1,6}).*/step \1: \2/'

echo "4. A sample"
"$nagc" generate "$run/model.mlir" --checkpoint "$run/checkpoints" \
  --prompt "The meaning of life is" --tokens 200 --temperature 0.8 --seed 1

echo
"$nagc" report "$run" -o "$run/report.html" --title "quickstart"
echo "Results: $run/model.mlir, $run/log.jsonl and $run/checkpoints/"
echo "Pictures of the run: $run/report.html (open it in a browser)"
