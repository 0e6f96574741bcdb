#!/bin/sh
# Cargo's RUSTC_WRAPPER for scripts/fuzz.sh: compiles what is fuzzed so that it tells libFuzzer where it
# has been, and everything else as it is, which is twice as fast.
#
# The flags are cargo-fuzz's, but for the sanitizers: those need a nightly compiler, and would watch over
# unsafe code, which the targets do not reach.
set -eu
case " $* " in
*' --crate-name tenmil '* | *' --crate-name tenmil_fuzz '* | *' --crate-name smoltcp '*)
    exec "$@" -Cpasses=sancov-module \
        -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
*) exec "$@" ;;
esac
