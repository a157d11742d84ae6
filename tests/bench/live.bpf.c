// SPDX-License-Identifier: GPL-2.0
/*
 * Datagrams to a published port, made where a test run's live frames begin: frames come around again, changed, so each is
 * written anew, and leaves by one end of a veth.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>

#include <kk/core/types.h>

struct kk_live_frame {
	__u8 ethernet[ETH_HLEN];
	struct kk_ip4 ip;
	__be16 source, dest, len, check;
	__u8 payload[22];
} __attribute__((packed));

const volatile struct kk_live_frame kk_live_frame;
const volatile __u32 kk_live_flows = 1;
__u32 kk_live_next; /* one runs at a time */

SEC("xdp")
int kk_live(struct xdp_md *xdp)
{
	void *data = (void *)(long)xdp->data, *end = (void *)(long)xdp->data_end;
	struct kk_live_frame *frame = data;
	const void *from = (const void *)&kk_live_frame;

	asm volatile("" : "+r"(from)); /* it is not all zero, as the compiler would have it */
	if ((void *)(frame + 1) > end)
		return XDP_DROP;
	__builtin_memcpy(frame, from, sizeof(*frame));
	frame->source = KK_BE16(1024 + kk_live_next++ % kk_live_flows);
	return XDP_TX;
}

/* Where they arrive, so that there is XDP and with it a queue for them. */
SEC("xdp")
int kk_live_pass(struct xdp_md *xdp)
{
	return XDP_PASS;
}

/* What all that forward are measured against: a bare redirect. */
const volatile __u32 kk_live_to;

SEC("tc")
int kk_live_redirect(struct __sk_buff *skb)
{
	return (int)bpf_redirect(kk_live_to, 0);
}

char kk_license[] SEC("license") = "GPL";
