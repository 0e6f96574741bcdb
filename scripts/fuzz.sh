#!/usr/bin/env bash
# Fuzzes every target, or those in TARGETS, each for SECONDS, and prints one table.
#
# Usage: scripts/fuzz.sh [SECONDS]           30 seconds each unless told otherwise
#        TARGETS='engine' scripts/fuzz.sh 600
#
# Stable Rust and a C++ compiler are all it needs. Every input of fuzz/corpus is run first. New inputs
# go to fuzz/target/corpus, and so on from one run to the next; what fails goes to fuzz/artifacts, and
# fails this script.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"

seconds=${1:-30}
read -ra targets <<<"${TARGETS:-frame options cookies segment engine}"
host=$(rustc -vV | sed -n 's/^host: //p')

# What cargo-fuzz has rustc do, but for the sanitizers: they need a nightly compiler, and would watch
# over unsafe code, which the targets do not reach.
coverage=(
    -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
)
# With --target, build scripts and macros go without.
RUSTFLAGS="${coverage[*]}" cargo build --release --locked --quiet --target "$host"

printf '%-8s  %10s  %7s  %6s  %6s  %6s  %s\n' target runs runs/s edges inputs MB result
failed=0
for target in "${targets[@]}"; do
    found="target/corpus/$target" log="target/fuzz-$target.log"
    mkdir -p "$found" "artifacts/$target"
    options=(-max_total_time="$seconds" -print_final_stats=1 -rss_limit_mb=2048 -malloc_limit_mb=64
        -timeout=10 -max_len=4096 -artifact_prefix="artifacts/$target/")
    [[ -f dictionaries/$target ]] && options+=(-dict="dictionaries/$target")
    result=passed
    if ! "target/$host/release/$target" "${options[@]}" "$found" "corpus/$target" >"$log" 2>&1; then
        result="FAILED, see fuzz/$log" failed=1
    fi
    stat() { sed -n "s/^stat::$1: *//p" "$log"; }
    last() { grep -o "$1: [0-9]*" "$log" | tail -1 | grep -o '[0-9]*'; }
    runs=$(stat number_of_executed_units) rate=$(stat average_exec_per_sec) mb=$(stat peak_rss_mb)
    printf '%-8s  %10s  %7s  %6s  %6s  %6s  %s\n' "$target" "${runs:--}" "${rate:--}" \
        "$(last cov || echo -)" "$(last corp || echo -)" "${mb:--}" "$result"
done
exit "$failed"
