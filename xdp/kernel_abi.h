/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The part of the kernel's BPF interface that steer.bpf.c uses.
 *
 * Numbers are those of include/uapi/linux/bpf.h, which are never changed once
 * released. They are written out here, instead of including that header, so
 * that the object depends on nothing but the compiler: its BTF would otherwise
 * change with every release of the kernel headers, and could not be compared
 * byte for byte.
 */
#ifndef TENMIL_KERNEL_ABI_H
#define TENMIL_KERNEL_ABI_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

/* struct xdp_md, up to the last field that is used. */
struct xdp_md {
	u32 data;
	u32 data_end;
	u32 data_meta;
	u32 ingress_ifindex;
	u32 rx_queue_index;
};

/* enum xdp_action */
#define XDP_DROP 1
#define XDP_PASS 2

/* enum bpf_map_type */
#define BPF_MAP_TYPE_HASH 1
#define BPF_MAP_TYPE_PERCPU_ARRAY 6
#define BPF_MAP_TYPE_LPM_TRIE 11
#define BPF_MAP_TYPE_XSKMAP 17

/* Flags of BPF_MAP_CREATE. */
#define BPF_F_NO_PREALLOC 1

/* Helpers are called by number: BPF_FUNC_map_lookup_elem, BPF_FUNC_redirect_map. */
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_redirect_map)(void *map, u64 key, u64 flags) = (void *)51;

/* How loaders find map definitions (in the BTF of section ".maps") and programs. */
#define MAP_NUMBER(name, value) int(*name)[value]
#define MAP_TYPE(name, type) type *name
#define SECTION(name) __attribute__((section(name), used))

#define INLINE static inline __attribute__((always_inline))

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the committed object is little-endian: build with -target bpfel"
#endif
/* A constant in network byte order. */
#define NET16(value) ((u16)((((value) & 0xff) << 8) | (((value) >> 8) & 0xff)))

#endif
