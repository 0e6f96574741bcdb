/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Decides for every received frame whether it is tenmil's or the kernel's.
 *
 * - An address that tenmil *owns* (map `owned`) is taken with ARP, NDP, ICMP
 *   and TCP; other protocols to it pass.
 * - On an address that it *shares* with the kernel only TCP to the listed
 *   ports (map `listeners`) is taken.
 * - All else passes, so that the host's own network keeps working.
 *
 * To take a frame is to redirect it to the AF_XDP socket of the queue that it
 * came in on. Where no socket serves that queue it is dropped and not passed:
 * the kernel knows no such connection and would reset every client.
 *
 * This program only chooses; it does not judge. Checksums, lengths and flags
 * are the stack's to find, and to count.
 *
 * VLAN tags that the NIC or the kernel has taken out of the frame (rxvlan
 * offload; generic mode) are not seen: the frame is then treated as untagged.
 *
 * Frames are one linear piece, section "xdp" and not "xdp.frags": a native
 * driver refuses to attach with ERANGE where the MTU does not fit a page (above
 * about 3506 bytes on veth). AF_XDP would need XDP_USE_SG for more.
 */
#include "kernel_abi.h"

/* Ethernet, IEEE 802.3 and 802.1Q; IANA "EtherType" numbers. */
#define ETHERTYPE_IPV4 NET16(0x0800)
#define ETHERTYPE_ARP NET16(0x0806)
#define ETHERTYPE_VLAN NET16(0x8100)
#define ETHERTYPE_IPV6 NET16(0x86dd)
#define ETHERTYPE_QINQ NET16(0x88a8)
#define VLAN_TAGS_MAX 2

/* IANA "Assigned Internet Protocol Numbers". */
#define PROTOCOL_HOP_BY_HOP 0
#define PROTOCOL_ICMP 1
#define PROTOCOL_TCP 6
#define PROTOCOL_ROUTING 43
#define PROTOCOL_FRAGMENT 44
#define PROTOCOL_ESP 50
#define PROTOCOL_AH 51
#define PROTOCOL_ICMPV6 58
#define PROTOCOL_DESTINATION 60
#define PROTOCOL_MOBILITY 135
#define PROTOCOL_HIP 139
#define PROTOCOL_SHIM6 140

/* RFC 4861, sections 4.3 and 4.4. */
#define ICMPV6_NEIGHBOUR_SOLICITATION 135
#define ICMPV6_NEIGHBOUR_ADVERTISEMENT 136

/* RFC 791, section 3.1: the two parts of the flags and fragment offset field. */
#define IPV4_MORE_FRAGMENTS NET16(0x2000)
#define IPV4_FRAGMENT_OFFSET NET16(0x1fff)

/* RFC 4291, section 2.5.5.2: the third 32 bits of an IPv4-mapped address, 0000:ffff. */
#define MAPPED_PREFIX 0xffff0000

#define OWNED_PREFIXES_MAX 1024
#define LISTENERS_MAX 4096
#define QUEUES_MAX 256

/*
 * What became of a frame, and index of `counters`. A frame has one verdict; a
 * taken one that is dropped counts as DROPPED_NO_SOCKET besides. Mirrored, in this order and
 * with these names, by `Verdict` in src/link/af_xdp/program/verdict.rs.
 */
enum verdict {
	TAKEN_TCP_OWNED,
	TAKEN_TCP_LISTENER,
	TAKEN_ARP,
	TAKEN_NDP,
	TAKEN_ICMP,
	TAKEN_FRAGMENT,
	TAKEN_LAST = TAKEN_FRAGMENT,
	DROPPED_NO_SOCKET,
	PASSED_NOT_IP,
	PASSED_DESTINATION,
	PASSED_PROTOCOL,
	PASSED_EXTENSION,
	PASSED_FRAGMENT,
	PASSED_MALFORMED,
	VERDICTS,
};

/* An IPv6 address, or an IPv4 one as ::ffff:a.b.c.d. */
union address {
	u8 bytes[16];
	u32 words[4];
};

struct owned_key {
	u32 prefix_bits;
	union address address;
};

struct listener_key {
	union address address;
	u16 port_be;
} __attribute__((packed));

struct {
	MAP_NUMBER(type, BPF_MAP_TYPE_LPM_TRIE);
	MAP_NUMBER(map_flags, BPF_F_NO_PREALLOC);
	MAP_NUMBER(max_entries, OWNED_PREFIXES_MAX);
	MAP_TYPE(key, struct owned_key);
	MAP_TYPE(value, u8);
} owned SECTION(".maps");

struct {
	MAP_NUMBER(type, BPF_MAP_TYPE_HASH);
	MAP_NUMBER(max_entries, LISTENERS_MAX);
	MAP_TYPE(key, struct listener_key);
	MAP_TYPE(value, u8);
} listeners SECTION(".maps");

struct {
	MAP_NUMBER(type, BPF_MAP_TYPE_XSKMAP);
	MAP_NUMBER(max_entries, QUEUES_MAX);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u32);
} xsks SECTION(".maps");

struct {
	MAP_NUMBER(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_NUMBER(max_entries, VERDICTS);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u64);
} counters SECTION(".maps");

struct ethernet {
	u8 destination[6];
	u8 source[6];
	u16 ethertype_be;
} __attribute__((packed));

struct vlan_tag {
	u16 tci_be;
	u16 ethertype_be;
} __attribute__((packed));

/* RFC 826, for Ethernet and IPv4. */
struct arp {
	u16 hardware_be;
	u16 protocol_be;
	u8 hardware_len;
	u8 protocol_len;
	u16 operation_be;
	u8 sender_hardware[6];
	u8 sender_protocol[4];
	u8 target_hardware[6];
	u8 target_protocol[4];
} __attribute__((packed));

struct ipv4 {
	u8 version_and_ihl;
	u8 tos;
	u16 total_len_be;
	u16 id_be;
	u16 fragment_be;
	u8 ttl;
	u8 protocol;
	u16 checksum;
	u8 source[4];
	u8 destination[4];
} __attribute__((packed));

struct ipv6 {
	u8 version_and_class;
	u8 class_and_flow[3];
	u16 payload_len_be;
	u8 next_header;
	u8 hop_limit;
	union address source;
	union address destination;
} __attribute__((packed));

struct tcp_ports {
	u16 source_be;
	u16 destination_be;
} __attribute__((packed));

/* The fixed part of a TCP header (RFC 9293, section 3.1), in bytes. */
#define TCP_LEN_MIN 20

/* RFC 4861, sections 4.3 and 4.4. */
struct neighbour_message {
	u8 type;
	u8 code;
	u16 checksum;
	u8 reserved[4];
	union address target;
} __attribute__((packed));

INLINE void count(u32 verdict)
{
	u64 *counter = bpf_map_lookup_elem(&counters, &verdict);
	if (counter)
		*counter += 1;
}

/* Stored piece by piece: an initialiser becomes a constant in .rodata, and so a map of its own. */
INLINE void map_ipv4(union address *address, const u8 *ipv4)
{
	address->words[0] = 0;
	address->words[1] = 0;
	address->words[2] = MAPPED_PREFIX;
	__builtin_memcpy(&address->words[3], ipv4, 4);
}

INLINE int is_mapped(const union address *address)
{
	const u32 *words = address->words;
	return words[0] == 0 && words[1] == 0 && words[2] == MAPPED_PREFIX;
}

INLINE int is_owned(const union address *address)
{
	struct owned_key key = { .prefix_bits = 128, .address = *address };
	return bpf_map_lookup_elem(&owned, &key) != 0;
}

INLINE int is_listener(const union address *address, u16 port_be)
{
	struct listener_key key = { .address = *address, .port_be = port_be };
	return bpf_map_lookup_elem(&listeners, &key) != 0;
}

/* TCP at `header` to an address that is not owned; `len_min` bytes of it must be there. */
INLINE enum verdict judge_shared(const u8 *header, const u8 *end, u32 len_min,
			const union address *destination, enum verdict verdict)
{
	if (header + len_min > end)
		return PASSED_MALFORMED;
	const struct tcp_ports *ports = (const void *)header;
	if (!is_listener(destination, ports->destination_be))
		return PASSED_DESTINATION;
	return verdict;
}

INLINE enum verdict judge_arp(const u8 *packet, const u8 *end)
{
	const struct arp *arp = (const void *)packet;
	if ((const u8 *)(arp + 1) > end)
		return PASSED_MALFORMED;
	if (arp->protocol_be != ETHERTYPE_IPV4 || arp->hardware_len != 6 || arp->protocol_len != 4)
		return PASSED_NOT_IP;
	union address target, sender;
	map_ipv4(&target, arp->target_protocol);
	map_ipv4(&sender, arp->sender_protocol);
	/* Who says that an owned address is theirs (RFC 5227, section 2.4) tells it to the stack. */
	if (!is_owned(&target) && !is_owned(&sender))
		return PASSED_DESTINATION;
	return TAKEN_ARP;
}

INLINE enum verdict judge_ipv4(const u8 *packet, const u8 *end)
{
	const struct ipv4 *ip = (const void *)packet;
	if ((const u8 *)(ip + 1) > end)
		return PASSED_MALFORMED;

	union address destination;
	map_ipv4(&destination, ip->destination);
	int fragment = ip->fragment_be & (IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET);

	if (is_owned(&destination)) {
		/* Address and protocol are enough: all else that is wrong, the stack counts. */
		if (ip->protocol != PROTOCOL_TCP && ip->protocol != PROTOCOL_ICMP)
			return PASSED_PROTOCOL;
		if (fragment)
			return TAKEN_FRAGMENT;
		return ip->protocol == PROTOCOL_TCP ? TAKEN_TCP_OWNED : TAKEN_ICMP;
	}

	u32 header_len = (ip->version_and_ihl & 0x0f) * 4;
	if (ip->version_and_ihl >> 4 != 4 || header_len < sizeof(*ip))
		return PASSED_MALFORMED;
	if (ip->protocol != PROTOCOL_TCP)
		return PASSED_DESTINATION;
	/* Without its first fragment the kernel never completes the segment, so never resets. */
	if (ip->fragment_be & IPV4_FRAGMENT_OFFSET)
		return PASSED_FRAGMENT;
	/* A first fragment may hold as little as 8 bytes of the segment (RFC 791, section 3.2). */
	if (fragment)
		return judge_shared(packet + header_len, end, sizeof(struct tcp_ports),
				    &destination, TAKEN_FRAGMENT);
	return judge_shared(packet + header_len, end, TCP_LEN_MIN, &destination,
			    TAKEN_TCP_LISTENER);
}

/*
 * ICMPv6 to a multicast address: the solicited-node address of a target is
 * ff02::1:ff and its last three bytes (RFC 4291, section 2.7.1), which does not
 * tell the target, so the message itself has to. An advertisement to all nodes
 * (RFC 4861, section 7.2.4) says that the target is somebody's.
 */
INLINE enum verdict judge_neighbour(const u8 *header, const u8 *end)
{
	if (header + 1 > end)
		return PASSED_MALFORMED;
	if (*header != ICMPV6_NEIGHBOUR_SOLICITATION && *header != ICMPV6_NEIGHBOUR_ADVERTISEMENT)
		return PASSED_DESTINATION;
	const struct neighbour_message *message = (const void *)header;
	if ((const u8 *)(message + 1) > end)
		return PASSED_MALFORMED;
	union address target = message->target;
	if (!is_owned(&target))
		return PASSED_DESTINATION;
	return TAKEN_NDP;
}

INLINE int is_extension(u8 next_header)
{
	switch (next_header) {
	case PROTOCOL_HOP_BY_HOP:
	case PROTOCOL_ROUTING:
	case PROTOCOL_FRAGMENT:
	case PROTOCOL_ESP:
	case PROTOCOL_AH:
	case PROTOCOL_DESTINATION:
	case PROTOCOL_MOBILITY:
	case PROTOCOL_HIP:
	case PROTOCOL_SHIM6:
		return 1;
	default:
		return 0;
	}
}

INLINE enum verdict judge_ipv6(const u8 *packet, const u8 *end)
{
	const struct ipv6 *ip = (const void *)packet;
	const u8 *header = (const u8 *)(ip + 1);
	if (header > end)
		return PASSED_MALFORMED;

	/* The key's bytes 10 and 11 tell IPv4 from IPv6; on the wire such an address is a forgery. */
	union address destination = ip->destination;
	if (is_mapped(&destination))
		return PASSED_DESTINATION;
	if (is_extension(ip->next_header))
		return PASSED_EXTENSION;
	/* As with IPv4: on an owned address, the stack's to count. */
	if (ip->version_and_class >> 4 != 6 && !is_owned(&destination))
		return PASSED_MALFORMED;

	/* ff00::/8 (RFC 4291, section 2.7) */
	if (destination.bytes[0] == 0xff) {
		if (ip->next_header != PROTOCOL_ICMPV6)
			return PASSED_DESTINATION;
		return judge_neighbour(header, end);
	}
	if (is_owned(&destination)) {
		if (ip->next_header == PROTOCOL_TCP)
			return TAKEN_TCP_OWNED;
		if (ip->next_header != PROTOCOL_ICMPV6)
			return PASSED_PROTOCOL;
		if (header + 1 <= end && (*header == ICMPV6_NEIGHBOUR_SOLICITATION ||
					  *header == ICMPV6_NEIGHBOUR_ADVERTISEMENT))
			return TAKEN_NDP;
		return TAKEN_ICMP;
	}
	if (ip->next_header != PROTOCOL_TCP)
		return PASSED_DESTINATION;
	return judge_shared(header, end, TCP_LEN_MIN, &destination, TAKEN_TCP_LISTENER);
}

INLINE enum verdict judge(const u8 *frame, const u8 *end)
{
	const struct ethernet *ethernet = (const void *)frame;
	const u8 *packet = (const u8 *)(ethernet + 1);
	if (packet > end)
		return PASSED_MALFORMED;
	u16 ethertype_be = ethernet->ethertype_be;

#pragma clang loop unroll(full)
	for (int tags = 0; tags < VLAN_TAGS_MAX; tags++) {
		if (ethertype_be != ETHERTYPE_VLAN && ethertype_be != ETHERTYPE_QINQ)
			break;
		const struct vlan_tag *tag = (const void *)packet;
		if ((const u8 *)(tag + 1) > end)
			return PASSED_MALFORMED;
		ethertype_be = tag->ethertype_be;
		packet = (const u8 *)(tag + 1);
	}

	switch (ethertype_be) {
	case ETHERTYPE_IPV4:
		return judge_ipv4(packet, end);
	case ETHERTYPE_IPV6:
		return judge_ipv6(packet, end);
	case ETHERTYPE_ARP:
		return judge_arp(packet, end);
	default:
		return PASSED_NOT_IP;
	}
}

SECTION("xdp")
int steer(struct xdp_md *ctx)
{
	enum verdict verdict = judge((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	count(verdict);
	if (verdict > TAKEN_LAST)
		return XDP_PASS;
	/* The low bits of the flags are the action where the map has no entry (Linux 5.3). */
	long action = bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_DROP);
	if (action == XDP_DROP)
		count(DROPPED_NO_SOCKET);
	return action;
}

/* The kernel lends some helpers only to programs under a licence that is compatible with its own. */
char _license[] SECTION("license") = "Dual MIT/GPL";
