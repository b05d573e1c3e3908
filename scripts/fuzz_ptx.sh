#!/usr/bin/env bash
# Fuzzes the PTX machine's loader and executor with libFuzzer: scripts/fuzz_ptx.sh [SECONDS].
# What it finds lands in build/fuzz; inputs worth keeping go to
# test/PTXVM/Inputs/corpus by hand.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-600}
out=build/fuzz
clang=$(command -v clang++-22 || true)
runtime=(/usr/lib/llvm-22/lib/clang/22/lib/linux/libclang_rt.fuzzer-x86_64.a)
if [ -z "$clang" ] || [ ! -e "${runtime[0]}" ]; then
  echo "fuzz_ptx: needs Debian's clang-22 and libclang-rt-22-dev" >&2
  exit 1
fi
mkdir -p $out/corpus
cat > $out/build.ninja <<NINJA
builddir = $out
flags = -std=c++17 -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-sanitize=alignment -ffp-contract=off -Iinclude
rule cxx
  command = $clang \$flags \$extra -MMD -MF \$out.d -c \$in -o \$out
  depfile = \$out.d
rule link
  command = $clang -fsanitize=fuzzer,address,undefined \$in -lpthread -o \$out
NINJA
objects=()
for source in $(find lib/PTXVM -name '*.cpp' -not -path '*/Driver/*') test/unit/PTXVM/fuzz-load.cpp; do
  case $source in
    */Leaf/Select.cpp) variants=("") ;;
    */Leaf/*) variants=(generic avx2) ;;
    *) variants=("") ;;
  esac
  for variant in "${variants[@]}"; do
    object=$out/$(echo "$source" | tr / _).$variant.o
    extra=""
    [ -n "$variant" ] && extra="-DPTXVM_ISA=$variant"
    [ "$variant" = avx2 ] && extra="$extra -mavx2 -mfma -mf16c -mbmi2"
    printf 'build %s: cxx %s\n  extra = %s\n' "$object" "$source" "$extra" >> $out/build.ninja
    objects+=("$object")
  done
done
printf 'build %s/fuzz-load: link %s\ndefault %s/fuzz-load\n' $out "${objects[*]}" $out >> $out/build.ninja
nice -n 19 ninja -j1 -f $out/build.ninja
exec $out/fuzz-load -dict=test/PTXVM/Inputs/ptx.dict -artifact_prefix=$out/ -max_len=4096 -timeout=10 -rss_limit_mb=3000 \
  -max_total_time="$seconds" -print_final_stats=1 $out/corpus test/PTXVM/Inputs/corpus
