/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A packet at XDP. Nothing here makes it shorter or longer but what kk_forward() alone uses: a program that does is refused
 * its place beside others in libxdp's dispatcher by kernels from 6.12 on.
 */
#ifndef KK_BPF_ENV_XDP_H
#define KK_BPF_ENV_XDP_H

#include <kk/core/csum.h>

struct kk_packet {
	struct xdp_md *xdp;
	__u32 link;	/* bytes of the link header before the network header, a constant */
	__u32 len;	/* from the network header on */
	__u32 out;	/* interface to leave by, of what is sent back */
	void *head;	/* so many bytes from the network header on are known to be there ... */
	__u32 head_len; /* ... a constant */
};

#define KK_XDP_FIELD(xdp, field)                                                                   \
	({                                                                                         \
		void *pointer_;                                                                    \
		asm volatile("%0 = *(u32 *)(%1 + %2)"                                              \
			     : "=r"(pointer_)                                                      \
			     : "r"(xdp), "i"(offsetof(struct xdp_md, field)));                     \
		pointer_;                                                                          \
	})

KK_INLINE void *kk_context(const struct kk_packet *pkt)
{
	return pkt->xdp;
}

KK_INLINE __u32 kk_came_by(const struct kk_packet *pkt)
{
	return pkt->xdp->ingress_ifindex;
}

KK_INLINE __u32 kk_env_len(const struct kk_packet *pkt)
{
	return pkt->len;
}

KK_INLINE __u32 kk_env_gso(const struct kk_packet *pkt)
{
	return 0;
}

/* As in bpf/env.h at tc. */
#define KK_OFFSET_MASK 0x1ff

KK_INLINE void *kk_linear(const struct kk_packet *pkt, __u32 offset, __u32 len)
{
	void *at = KK_XDP_FIELD(pkt->xdp, data), *end = KK_XDP_FIELD(pkt->xdp, data_end);

	if (!__builtin_constant_p(offset)) {
		asm volatile("" : "+r"(offset));
		offset &= KK_OFFSET_MASK;
	}
	at += pkt->link + offset;
	return at + len <= end ? __builtin_assume_aligned(at, 4) : NULL;
}

struct kk_plain;

/* A frame of several buffers is longer than what is here, and so not plain. */
KK_INLINE struct kk_plain *kk_env_plain(struct kk_packet *pkt)
{
	void *data = KK_XDP_FIELD(pkt->xdp, data), *end = KK_XDP_FIELD(pkt->xdp, data_end);

	if (data + ETH_HLEN + KK_PLAIN_LEN > end ||
	    *(const __be16 *)(data + offsetof(struct ethhdr, h_proto)) != KK_BE16(ETH_P_IP))
		return NULL;
	pkt->link = ETH_HLEN;
	pkt->len = (__u32)(end - data) - ETH_HLEN;
	pkt->head = data + ETH_HLEN;
	pkt->head_len = KK_PLAIN_LEN;
	return pkt->head;
}

KK_INLINE int kk_env_load(const struct kk_packet *pkt, __u32 offset, void *to, __u32 len)
{
	const void *from = kk_linear(pkt, offset, len);

	if (!from)
		return (int)bpf_xdp_load_bytes(pkt->xdp, pkt->link + offset, to, len);
	__builtin_memcpy(to, from, len);
	return 0;
}

/* In what kk_env_plain() has found to be there. */
KK_INLINE int kk_is_known(const struct kk_packet *pkt, __u32 offset, __u32 len)
{
	return __builtin_constant_p(offset + len <= pkt->head_len) && offset + len <= pkt->head_len;
}

KK_INLINE void *kk_known(const struct kk_packet *pkt, __u32 offset)
{
	return __builtin_assume_aligned(pkt->head + offset, 2);
}

KK_INLINE int kk_env_store(struct kk_packet *pkt, __u32 offset, const void *from, __u32 len)
{
	void *to = kk_linear(pkt, offset, len);

	if (!to)
		return (int)bpf_xdp_store_bytes(pkt->xdp, pkt->link + offset, (void *)from, len);
	__builtin_memcpy(to, from, len);
	return 0;
}

KK_INLINE __be16 kk_corrected(__be16 check, __u32 from, __u32 to, __u32 flags)
{
	if ((flags & KK_CSUM_ZERO_IS_NONE) && check == 0)
		return 0;
	check = kk_csum_replace(check, from, to);
	return (flags & KK_CSUM_ZERO_IS_NONE) && check == 0 ? 0xffff : check;
}

KK_INLINE int kk_env_csum(struct kk_packet *pkt, __u32 offset, __u32 from, __u32 to, __u32 size,
			  __u32 flags)
{
	__be16 check;

	if (kk_is_known(pkt, offset, sizeof(check))) {
		__be16 *at = kk_known(pkt, offset);

		*at = kk_corrected(*at, from, to, flags);
		return 0;
	}
	if (kk_env_load(pkt, offset, &check, sizeof(check)))
		return -1;
	check = kk_corrected(check, from, to, flags);
	return kk_env_store(pkt, offset, &check, sizeof(check));
}

KK_INLINE int kk_env_csum6(struct kk_packet *pkt, __u32 offset, __u32 diff, __u32 flags)
{
	__be16 check;

	if (kk_env_load(pkt, offset, &check, sizeof(check)))
		return -1;
	if ((flags & KK_CSUM_ZERO_IS_NONE) && check == 0)
		return 0;
	check = kk_csum_apply(check, diff);
	if ((flags & KK_CSUM_ZERO_IS_NONE) && check == 0)
		check = 0xffff;
	return kk_env_store(pkt, offset, &check, sizeof(check));
}

/* There is no sum of the whole packet here. */
KK_INLINE void kk_env_sum6(struct kk_packet *pkt, __u32 diff)
{
}

KK_INLINE int kk_load_macs(const struct kk_packet *pkt, void *macs)
{
	const void *data = KK_XDP_FIELD(pkt->xdp, data), *end = KK_XDP_FIELD(pkt->xdp, data_end);

	if (data + 2 * ETH_ALEN > end)
		return -1;
	__builtin_memcpy(macs, data, 2 * ETH_ALEN);
	return 0;
}

KK_INLINE int kk_store_macs(const struct kk_packet *pkt, const void *macs)
{
	void *data = KK_XDP_FIELD(pkt->xdp, data), *end = KK_XDP_FIELD(pkt->xdp, data_end);

	if (data + 2 * ETH_ALEN > end)
		return -1;
	__builtin_memcpy(data, macs, 2 * ETH_ALEN);
	return 0;
}

#define KK_PADDING_MAX 40 /* TCP's options */

KK_INLINE int kk_env_shorten(struct kk_packet *pkt, __u32 len)
{
	for (__u32 i = 0; i < KK_PADDING_MAX; i += 2) {
		__be16 *word = kk_linear(pkt, len + i, sizeof(*word));
		__u8 *last;

		if (!word) {
			last = kk_linear(pkt, len + i, sizeof(*last));
			if (last)
				*last = 0;
			break;
		}
		*word = 0;
	}
	return 0;
}

KK_INLINE int kk_env_trim(struct kk_packet *pkt, __u32 len)
{
	int r = (int)bpf_xdp_adjust_tail(pkt->xdp, (int)len - (int)pkt->len);

	if (r == 0)
		pkt->len = len;
	return r;
}

/* The link header moves to the new front. */
KK_INLINE int kk_env_push(struct kk_packet *pkt, __u32 len)
{
	struct ethhdr ethernet;
	void *data, *end;

	data = KK_XDP_FIELD(pkt->xdp, data);
	end = KK_XDP_FIELD(pkt->xdp, data_end);
	if (data + sizeof(ethernet) > end)
		return -1;
	__builtin_memcpy(&ethernet, data, sizeof(ethernet));
	if (bpf_xdp_adjust_head(pkt->xdp, -(int)len))
		return -1;
	data = KK_XDP_FIELD(pkt->xdp, data);
	end = KK_XDP_FIELD(pkt->xdp, data_end);
	if (data + sizeof(ethernet) > end)
		return -1;
	__builtin_memcpy(data, &ethernet, sizeof(ethernet));
	pkt->len += len;
	return 0;
}

/* Every packet keeps its Ethernet header here. */
KK_INLINE int kk_env_link(struct kk_packet *pkt, __u8 family, enum kk_direction direction)
{
	return 0;
}

#endif
