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
read -ra targets <<<"${TARGETS:-frame options cookies segment http mqtt broker ws dubbo client engine}"
RUSTC_WRAPPER=$PWD/rustc-covered.sh cargo build --release --locked --quiet --target-dir target

printf '%-8s  %10s  %7s  %6s  %6s  %6s  %s\n' target runs runs/s edges inputs MB result
failed=0
for target in "${targets[@]}"; do
    found="target/corpus/$target" log="target/fuzz-$target.log"
    mkdir -p "$found" "artifacts/$target"
    options=(-max_total_time="$seconds" -print_final_stats=1 -rss_limit_mb=2048 -malloc_limit_mb=64
        -timeout=10 -max_len=4096 -artifact_prefix="artifacts/$target/")
    [[ -f dictionaries/$target ]] && options+=(-dict="dictionaries/$target")
    result=passed
    if ! "target/release/$target" "${options[@]}" "$found" "corpus/$target" >"$log" 2>&1; then
        result="FAILED, see fuzz/$log" failed=1
    fi
    stat() { sed -n "s/^stat::$1: *//p" "$log"; }
    last() { grep -o "$1: [0-9]*" "$log" | tail -1 | grep -o '[0-9]*'; }
    runs=$(stat number_of_executed_units) rate=$(stat average_exec_per_sec) mb=$(stat peak_rss_mb)
    printf '%-8s  %10s  %7s  %6s  %6s  %6s  %s\n' "$target" "${runs:--}" "${rate:--}" \
        "$(last cov || echo -)" "$(last corp || echo -)" "${mb:--}" "$result"
done
exit "$failed"
