/* SPDX-License-Identifier: GPL-2.0 */
/* Whether a socket of this machine's takes a packet: the kernel's own look-up, at XDP and tc. */
#ifndef KK_BPF_SOCKET_H
#define KK_BPF_SOCKET_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include <kk/core/types.h>

/* Whether the kernel has one for the tuple, in the namespace that the packet came into. */
KK_INLINE int kk_has_socket(void *context, __u8 protocol, struct bpf_sock_tuple *tuple, __u32 len)
{
	struct bpf_sock *sk;

	if (protocol == KK_TCP)
		sk = bpf_skc_lookup_tcp(context, tuple, len, BPF_F_CURRENT_NETNS, 0);
	else
		sk = bpf_sk_lookup_udp(context, tuple, len, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return 0;
	bpf_sk_release(sk);
	return 1;
}

/* kk_env_wanted(); @context is the program's. */
KK_INLINE int kk_socket_wants(void *context, __u8 family, __u8 protocol,
			      const struct kk_in6 *source, const struct kk_in6 *dest,
			      __be16 source_port, __be16 dest_port)
{
	struct bpf_sock_tuple tuple = {0};

	if (family == KK_IP6) {
		__builtin_memcpy(tuple.ipv6.saddr, source, sizeof(*source));
		__builtin_memcpy(tuple.ipv6.daddr, dest, sizeof(*dest));
		tuple.ipv6.sport = source_port;
		tuple.ipv6.dport = dest_port;
		return kk_has_socket(context, protocol, &tuple, sizeof(tuple.ipv6));
	}
	tuple.ipv4.saddr = source->word[3];
	tuple.ipv4.daddr = dest->word[3];
	tuple.ipv4.sport = source_port;
	tuple.ipv4.dport = dest_port;
	return kk_has_socket(context, protocol, &tuple, sizeof(tuple.ipv4));
}

#endif
