// SPDX-License-Identifier: GPL-2.0
/*
 * Writes a packet anew, to a random one of so many ports, and goes on to the program that is measured by a tail call. So the
 * repetitions of a test run are a stream of packets: none finds what the one before it changed, and what their ports lead to
 * is what the caches have to hold.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "tests/bench/drive_frame.h"

/* One runs at a time. */
union kk_drive_frame kk_drive_frame = {.flags = 1};
__u32 kk_drive_ports = 1; /* from 1 on */
__u32 kk_drive_random = 1;

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} kk_drive_to SEC(".maps");

/* xorshift32 (Marsaglia, "Xorshift RNGs", 2003). */
KK_INLINE __u32 kk_drive_next(void)
{
	__u32 x = kk_drive_random;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	kk_drive_random = x;
	return x;
}

/*
 * In whole words from the IP header on: no field that a program reads is written in pieces, else it would wait for them to
 * reach the cache, which it need not for a packet that a card has written. Alignment is but claimed.
 */
KK_INLINE int kk_drive_write(void *data, const void *end)
{
	const __u64 *from = __builtin_assume_aligned(kk_drive_frame.bytes + ETH_HLEN, 8);
	__u64 *to = __builtin_assume_aligned(data + ETH_HLEN, 8), ports;

	if (data + sizeof(kk_drive_frame) > end)
		return -1;
	*(__u64 *)data = *(const __u64 *)kk_drive_frame.bytes;
	*(__u32 *)(data + 8) = *(const __u32 *)(kk_drive_frame.bytes + 8);
	*(__u16 *)(data + 12) = *(const __u16 *)(kk_drive_frame.bytes + 12);
	to[0] = from[0];
	to[1] = from[1];
	ports = from[2]; /* its last 16 bits are the destination port */
	ports += (__u64)KK_BE16(((__u64)kk_drive_next() * kk_drive_ports >> 32) + 1) << 48;
	to[2] = ports;
	to[3] = from[3];
	to[4] = from[4];
	return 0;
}

SEC("xdp.frags")
int kk_drive_xdp(struct xdp_md *xdp)
{
	if (kk_drive_write((void *)(long)xdp->data, (void *)(long)xdp->data_end) == 0)
		bpf_tail_call(xdp, &kk_drive_to, 0);
	return XDP_ABORTED;
}

SEC("tc")
int kk_drive_tc(struct __sk_buff *skb)
{
	if (kk_drive_write((void *)(long)skb->data, (void *)(long)skb->data_end) == 0)
		bpf_tail_call(skb, &kk_drive_to, 0);
	return TC_ACT_SHOT;
}

char kk_license[] SEC("license") = "GPL";
