#!/bin/sh
# Makes tenmil's test network: two network namespaces joined by a veth pair.
#
#   veth-up.sh [--queues N] [--suffix S] [--no-offloads] [--busy-poll]
#
#   tenmil-server                            tenmil-client
#     tm-server0 ----------------------------- tm-client0
#     no kernel address: tenmil owns           kernel: 10.77.0.2/16, fd77::2/64
#     10.77.0.1 and fd77::1
#
#   --queues N      rx and tx queues at both ends (default 1); another number makes the pair anew
#   --suffix S      namespaces tenmil-server-S and tenmil-client-S, so that several can coexist
#   --no-offloads   leave the offloads alone: without ethtool, for programs that do not use the
#                   kernel's TCP at the client's end
#   --busy-poll     for AF_XDP sockets that poll busily at both ends: frames wait for the receiver's
#                   call, and for the sender to go on when 256 of them do
#
# Running it again changes nothing. It needs root, and exits with 2 where it cannot start; when it
# fails half way it removes what it has made. The root namespace is not touched.
set -eu

fail() {
    echo "veth-up: $1" >&2
    exit "${2:-1}"
}

queues=1
suffix=
offloads=yes
busy_poll=no
while [ $# -gt 0 ]; do
    case $1 in
    --queues | --suffix)
        [ $# -ge 2 ] || fail "$1 needs a value" 2
        case $1 in
        --queues) queues=$2 ;;
        --suffix) suffix=$2 ;;
        esac
        shift
        ;;
    --no-offloads) offloads=no ;;
    --busy-poll) busy_poll=yes ;;
    *) fail "unknown argument $1; usage: veth-up.sh [--queues N] [--suffix S] [--no-offloads]" \
        "[--busy-poll]" 2 ;;
    esac
    shift
done
case $queues in
'' | *[!0-9]* | 0* | ????*) fail "--queues needs a number from 1 to 256, not '$queues'" 2 ;;
esac
# 256 is what the XDP program's map of sockets has room for.
[ "$queues" -le 256 ] || fail "--queues needs a number from 1 to 256, not '$queues'" 2
case $suffix in
*[!A-Za-z0-9_-]*) fail "--suffix takes letters, digits, - and _, not '$suffix'" 2 ;;
esac

[ "$(id -u)" = 0 ] || fail "network namespaces need root: run it with sudo" 2
command -v ip >/dev/null 2>&1 || fail "ip is missing: apt-get install iproute2" 2
if [ "$offloads" = yes ] && ! command -v ethtool >/dev/null 2>&1; then
    echo "veth-up: warning: ethtool is missing, so TCP clients of the kernel will send wrong" \
        "checksums and will not work: apt-get install ethtool" >&2
    offloads=no
fi

server=tenmil-server${suffix:+-$suffix}
client=tenmil-client${suffix:+-$suffix}

exists() {
    ip netns list | grep -q "^$1\( \|\$\)"
}

# queues_of NAMESPACE INTERFACE KIND: how many queues of a kind (rx, tx) the interface has.
queues_of() {
    ip netns exec "$1" sh -c "ls -d /sys/class/net/$2/queues/$3-*" 2>/dev/null | wc -l
}

# An earlier run's network is kept if it has the shape that is asked for, else made anew.
as_asked() {
    exists "$server" && exists "$client" || return 1
    for kind in rx tx; do
        [ "$(queues_of "$server" tm-server0 $kind)" -eq "$queues" ] || return 1
        [ "$(queues_of "$client" tm-client0 $kind)" -eq "$queues" ] || return 1
    done
}

remove() {
    # Deleting one end of the pair deletes the other; a namespace in use would keep its end alive.
    ip -n "$server" link del tm-server0 2>/dev/null || :
    ip -n "$client" link del tm-client0 2>/dev/null || :
    ip netns del "$server" 2>/dev/null || :
    ip netns del "$client" 2>/dev/null || :
}

# set_in NAMESPACE FILE VALUE: a sysctl, by its file, which needs no procps.
set_in() {
    ip netns exec "$1" sh -c "[ ! -e /proc/sys/$2 ] || echo $3 >/proc/sys/$2"
}

# wait_up NAMESPACE INTERFACE: until it is up the kernel drops what it sends without a word, which
# takes up to a second from when its peer is up.
wait_up() {
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
        ip -n "$1" link show "$2" | grep -q 'state UP' && return
        sleep 0.1
    done
    return 1
}

make() {
    # The two namespaces: one for tenmil's end and one for its clients.
    ip netns add "$server"
    ip netns add "$client"

    # No IPv6 on the server's kernel: it would send router solicitations and multicast reports from
    # an address of its own. tenmil's IPv6 does not go through it.
    set_in "$server" net/ipv6/conf/all/disable_ipv6 1
    set_in "$server" net/ipv6/conf/default/disable_ipv6 1
    # On the client's, no router solicitations and no addresses from advertisements.
    set_in "$client" net/ipv6/conf/default/accept_ra 0
    set_in "$client" net/ipv6/conf/default/autoconf 0
    set_in "$client" net/ipv6/conf/default/router_solicitations 0

    # The pair, made where its ends belong, so that no name is taken in the root namespace. Both
    # ends have the same number of queues: native XDP is refused where the peer has more tx queues
    # than this side has rx queues. Both numbers are given, or the kernel activates one.
    ip -n "$server" link add tm-server0 numrxqueues "$queues" numtxqueues "$queues" type veth \
        peer name tm-client0 numrxqueues "$queues" numtxqueues "$queues" netns "$client"
}

# What an earlier run's network may have lost, too: an interface that is set down loses its IPv6
# addresses.
set_up() {
    # Loopback, without which a program cannot reach itself in its namespace.
    ip -n "$server" link set lo up
    ip -n "$client" link set lo up

    # No link-local address at either end: each would announce itself with multicast reports. (The
    # client's fd77::2 still does, twice.)
    ip -n "$server" link set tm-server0 addrgenmode none
    ip -n "$client" link set tm-client0 addrgenmode none

    # The clients' addresses. The /16 makes every address of the test network on-link, so that no
    # route is needed; nodad, or the address could not be used for the first second.
    ip -n "$client" addr replace 10.77.0.2/16 dev tm-client0
    ip -n "$client" addr replace fd77::2/64 dev tm-client0 nodad

    # Up last, so that nothing is sent before it is set up.
    ip -n "$server" link set tm-server0 up
    ip -n "$client" link set tm-client0 up
    wait_up "$server" tm-server0
    wait_up "$client" tm-client0
}

set_offloads() {
    # A frame that a kernel socket sends into a veth carries a partial checksum, which an AF_XDP
    # receiver sees as wrong, and may be larger than the MTU: both ends make whole frames (tm-server0
    # sends from the kernel too, where tenmil shares an address with it).
    ip netns exec "$client" ethtool -K tm-client0 tx off tso off gso off gro off >/dev/null
    ip netns exec "$server" ethtool -K tm-server0 tx off tso off gso off gro off >/dev/null
}

# set_busy_poll NAMESPACE INTERFACE: a call of the receiver's keeps interrupts off for 50 us, or until
# the next call. A veth without a queueing discipline drops what its ring of 256 frames has no room
# for, and tells nobody; with one the sender hears of it.
set_busy_poll() {
    ip netns exec "$1" sh -c "cd /sys/class/net/$2 && echo 2 >napi_defer_hard_irqs &&
        echo 50000 >gro_flush_timeout"
    command -v tc >/dev/null 2>&1 || fail "tc is missing: apt-get install iproute2"
    ip netns exec "$1" tc qdisc replace dev "$2" root pfifo
}

if ! as_asked; then
    remove
    # dash runs the EXIT trap only where the script exits, so a signal has to make it.
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'remove; fail "could not make the test network; what was made is removed"' EXIT
    make
fi
set_up
# An earlier run may have been without.
[ "$offloads" = no ] || set_offloads
if [ "$busy_poll" = yes ]; then
    set_busy_poll "$server" tm-server0
    set_busy_poll "$client" tm-client0
fi
trap - EXIT INT TERM
