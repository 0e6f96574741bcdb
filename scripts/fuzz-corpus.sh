#!/usr/bin/env bash
# Adds to fuzz/corpus what scripts/fuzz.sh found: of the inputs in fuzz/target/corpus, a small set that
# reaches whatever the corpus does not. With --anew, first throws away what has no name of its own.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"

for corpus in corpus/*; do
    target=$(basename "$corpus")
    if [[ ${1:-} == --anew ]]; then
        find "$corpus" -regextype posix-extended -regex '.*/[0-9a-f]{40}' -delete
    fi
    # Edges alone, not how often each was passed: hundreds of inputs instead of thousands.
    "target/release/$target" -set_cover_merge=1 -use_counters=0 -max_len=1000 \
        "$corpus" "target/corpus/$target" >"target/merge-$target.log" 2>&1
    printf '%-8s %5d inputs  %s\n' "$target" "$(find "$corpus" -type f | wc -l)" \
        "$(du -sh --apparent-size "$corpus" | cut -f1)"
done
