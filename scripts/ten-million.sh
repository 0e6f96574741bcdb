#!/bin/sh
# Climbs to ten million connections over a veth pair, and writes down what each step cost.
#
#   ten-million.sh [--hold TIME] [--heartbeat TIME] [--into DIR] [CONNECTIONS...]
#
#   --hold TIME        how long each step holds its connections (default 120s)
#   --heartbeat TIME   how often a heartbeat goes over each of them (default 60s)
#   --into DIR         where benchmarks.md and img/ are (default docs); made if there is none
#   CONNECTIONS        the steps (default 500000 1000000 2000000 5000000 10000000)
#
# As root. Each step is one `tenmil demo`, whose summary is kept under target/ladder. What went wrong in
# one is in the table too, and makes the exit code 1. The whole of it takes about 20 minutes, and 4 GB of
# memory.
set -eu

fail() {
    echo "ten-million: $1" >&2
    exit "${2:-1}"
}

root=$(cd "$(dirname "$0")/.." && pwd)
hold=120s
heartbeat=60s
into=$root/docs
outcome=0
while [ $# -gt 0 ]; do
    case $1 in
    --hold | --heartbeat | --into)
        [ $# -ge 2 ] || fail "$1 needs a value" 2
        case $1 in
        --hold) hold=$2 ;;
        --heartbeat) heartbeat=$2 ;;
        --into) into=$2 ;;
        esac
        shift 2
        ;;
    -*) fail "unknown argument $1; the head of this file says what there is" 2 ;;
    *) break ;;
    esac
done
[ $# -gt 0 ] || set -- 500000 1000000 2000000 5000000 10000000
for connections in "$@"; do
    case $connections in
    '' | *[!0-9]* | 0*) fail "'$connections' is not a number of connections" 2 ;;
    esac
done
[ "$(id -u)" = 0 ] || fail "network namespaces and XDP need root" 2
command -v python3 >/dev/null 2>&1 || fail "python3 is missing: apt-get install python3" 2

(cd "$root" && cargo build --release --quiet)
summaries=$root/target/ladder
rm -rf "$summaries"
mkdir -p "$summaries" "$into"
for connections in "$@"; do
    echo "$connections connections, held for $hold, a heartbeat every $heartbeat:"
    "$root/target/release/tenmil" demo --link veth --connections "$connections" \
        --hold "$hold" --heartbeat "$heartbeat" --json "$summaries/$connections.json" || outcome=1
done
python3 "$root/scripts/ladder.py" "$summaries" "$into" "$hold" "$heartbeat"
exit $outcome
