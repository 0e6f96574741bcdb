#!/bin/sh
# Builds the XDP program, xdp/steer.bpf.c, into the committed object xdp/steer.bpf.o.
#
#   scripts/build-xdp.sh           build
#   scripts/build-xdp.sh --check   fail if the committed object is not what the source gives
#
# Cargo does not run this: the object is committed, so that building tenmil needs no clang. The
# object is the same byte for byte wherever the checkout lies, with clang 14 (Debian 12).
# CLANG and LLVM_STRIP name other programs than `clang-14` or `clang`, and the same for llvm-strip.
set -eu

fail() {
    echo "build-xdp: $1" >&2
    exit "${2:-1}"
}

# first_of NAME...: prints the first of the programs that is installed.
first_of() {
    for name in "$@"; do
        if command -v "$name" >/dev/null 2>&1; then
            echo "$name"
            return
        fi
    done
    return 1
}

check=no
case "${1-}" in
'') ;;
--check) check=yes ;;
*) fail "unknown argument $1; usage: build-xdp.sh [--check]" 2 ;;
esac

clang=${CLANG:-$(first_of clang-14 clang)} ||
    fail "clang is missing: apt-get install clang-14 (or clang on Debian 12)" 2
strip=${LLVM_STRIP:-$(first_of llvm-strip-14 llvm-strip)} ||
    fail "llvm-strip is missing: apt-get install llvm-14 (or llvm on Debian 12)" 2
version=$("$clang" -dumpversion) || fail "$clang does not run" 2
case $version in
14.*) ;;
*)
    note="; this is clang $version, and the committed object is clang 14's: apt-get install clang-14"
    [ "$check" = yes ] || echo "build-xdp: warning: built$note" >&2
    ;;
esac

# The compiler is given a path without directories, and no name of the directory it runs in: the
# object's line information then holds nothing of the host.
cd "$(dirname "$0")/../xdp"
object=$(mktemp "${TMPDIR:-/tmp}/steer.bpf.XXXXXX")
trap 'rm -f "$object"' EXIT
"$clang" -O2 -g -target bpfel -mcpu=v3 -std=gnu11 -Wall -Wextra -Werror \
    -nostdinc -ffreestanding -fdebug-compilation-dir=. -ffile-prefix-map="$PWD"=. \
    -c steer.bpf.c -o "$object" || fail "clang refused xdp/steer.bpf.c"
# -g takes the DWARF sections out and leaves BTF, which the loader needs for the maps.
"$strip" -g "$object" || fail "llvm-strip failed"

if [ "$check" = yes ]; then
    cmp -s "$object" steer.bpf.o ||
        fail "xdp/steer.bpf.o is not what xdp/steer.bpf.c gives: run scripts/build-xdp.sh and commit it${note-}"
    echo "build-xdp: xdp/steer.bpf.o is up to date"
else
    cp "$object" steer.bpf.o
    chmod 644 steer.bpf.o
fi
