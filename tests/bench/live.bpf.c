// SPDX-License-Identifier: GPL-2.0
/*
 * Datagrams to a published port, and a flood of SYNs, made where a test run's live frames begin: frames come around again,
 * changed, so each is written anew, and leaves by one end of a veth.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include <kk/core/csum.h>

#include "tests/bench/live_frame.h"

const volatile struct kk_live_frame kk_live_frame;
const volatile __u32 kk_live_flows = 1;
const volatile __u32 kk_live_ports = 1; /* from the frame's on, taken in a scattered order */
__u32 kk_live_next;			/* one runs at a time */

KK_INLINE struct kk_live_frame *kk_live_write(const struct xdp_md *xdp)
{
	void *data = (void *)(long)xdp->data, *end = (void *)(long)xdp->data_end;
	const void *from = (const void *)&kk_live_frame;
	struct kk_live_frame *frame = data;

	asm volatile("" : "+r"(from)); /* it is not all zero, as the compiler would have it */
	if ((void *)(frame + 1) > end)
		return NULL;
	__builtin_memcpy(frame, from, sizeof(*frame));
	return frame;
}

SEC("xdp")
int kk_live(struct xdp_md *xdp)
{
	struct kk_live_frame *frame = kk_live_write(xdp);

	if (!frame)
		return XDP_DROP;
	frame->source = KK_BE16(1024 + kk_live_next % kk_live_flows);
	frame->dest =
		KK_BE16(KK_HOST16(frame->dest) + (__u16)(kk_live_next * 40503) % kk_live_ports);
	kk_live_next++;
	return XDP_TX;
}

/* The datagram's bytes as a TCP segment with SYN, each from another address (of 1.0.0.0/8 to 126.0.0.0/8) and port. */
SEC("xdp")
int kk_live_syn(struct xdp_md *xdp)
{
	struct kk_live_frame *frame = kk_live_write(xdp);
	__u32 random = bpf_get_prandom_u32();
	__be32 source = KK_BE32((random % 126 + 1) << 24 | (random >> 8));

	if (!frame)
		return XDP_DROP;
	frame->ip.check = kk_csum_replace(frame->ip.check, frame->ip.source, source);
	frame->ip.source = source;
	frame->ip.check = kk_csum_replace(frame->ip.check, KK_BE16(KK_UDP), KK_BE16(KK_TCP));
	frame->ip.protocol = KK_TCP;
	frame->source = KK_BE16(1024 + (random & 0x7fff));
	__builtin_memset(&frame->len, 0, sizeof(frame->len) + sizeof(frame->check));
	__builtin_memcpy(frame->payload, &random, sizeof(random));
	frame->payload[4] = 0x50;
	frame->payload[5] = 0x02;
	return XDP_TX;
}

/* Where they arrive, so that there is XDP and with it a queue for them. */
SEC("xdp")
int kk_live_pass(struct xdp_md *xdp)
{
	return XDP_PASS;
}

/* Where what was passed on arrives: it costs no more than it must. */
SEC("xdp")
int kk_live_sink(struct xdp_md *xdp)
{
	return XDP_DROP;
}

SEC("tc")
int kk_live_drain(struct __sk_buff *skb)
{
	return TC_ACT_SHOT;
}

/* At the client: what goes to it, and to nobody else. */
SEC("xdp")
int kk_live_mine(struct xdp_md *xdp)
{
	void *data = (void *)(long)xdp->data, *end = (void *)(long)xdp->data_end;
	const struct ethhdr *ethernet = data;
	const struct kk_ip4 *ip = data + sizeof(*ethernet);

	if ((const void *)(ip + 1) > end || ethernet->h_proto != KK_BE16(ETH_P_IP))
		return XDP_PASS;
	return ip->dest == kk_live_frame.ip.source ? XDP_PASS : XDP_DROP;
}

/* What all that forward are measured against: a bare redirect. */
const volatile __u32 kk_live_to;

SEC("tc")
int kk_live_redirect(struct __sk_buff *skb)
{
	return (int)bpf_redirect(kk_live_to, 0);
}

/* The same out of a tunnel, to where there are link addresses: some. */
SEC("tc")
int kk_live_redirect_up(struct __sk_buff *skb)
{
	const struct ethhdr ethernet = {.h_dest = {2, 0, 0, 0, 0, 2}, .h_proto = KK_BE16(ETH_P_IP)};

	if (bpf_skb_change_head(skb, sizeof(ethernet), 0) ||
	    bpf_skb_store_bytes(skb, 0, &ethernet, sizeof(ethernet), 0))
		return TC_ACT_SHOT;
	return (int)bpf_redirect(kk_live_to, 0);
}

char kk_license[] SEC("license") = "GPL";
