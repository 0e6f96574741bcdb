#!/bin/sh
# Removes the test network that veth-up.sh made.
#
#   veth-down.sh [--suffix S]
#
# Where there is none it does nothing. Programs that still run in the namespaces keep running, but
# without their interface.
set -eu

fail() {
    echo "veth-down: $1" >&2
    exit "${2:-1}"
}

suffix=
while [ $# -gt 0 ]; do
    case $1 in
    --suffix)
        [ $# -ge 2 ] || fail "$1 needs a value" 2
        suffix=$2
        shift
        ;;
    *) fail "unknown argument $1; usage: veth-down.sh [--suffix S]" 2 ;;
    esac
    shift
done
case $suffix in
*[!A-Za-z0-9_-]*) fail "--suffix takes letters, digits, - and _, not '$suffix'" 2 ;;
esac

[ "$(id -u)" = 0 ] || fail "network namespaces need root: run it with sudo" 2
command -v ip >/dev/null 2>&1 || fail "ip is missing: apt-get install iproute2" 2

for end in server client; do
    namespace=tenmil-$end${suffix:+-$suffix}
    ip netns list | grep -q "^$namespace\( \|\$\)" || continue
    # The pair goes first, with both its ends: a program that still runs in a namespace would keep
    # it, and the pair with it, alive without a name.
    ip -n "$namespace" link del "tm-${end}0" 2>/dev/null || :
    ip netns del "$namespace"
done
