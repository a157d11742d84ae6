// SPDX-License-Identifier: GPL-2.0
/*
 * For a trace: whether a socket of the gateway's own takes a packet, asked as the edge asks it. Nothing is attached: it is
 * run by BPF_PROG_TEST_RUN, on the device that the packet would come by.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "bpf/socket.h"

/* Set before it is run. Ports in network byte order. */
struct kk_in6 kk_source, kk_dest;
__be16 kk_source_port, kk_dest_port;
__u8 kk_family, kk_protocol;

SEC("tc")
int kk_wanted(struct __sk_buff *skb)
{
	const struct kk_in6 source = kk_source, dest = kk_dest;

	return kk_socket_wants(skb, kk_family, kk_protocol, &source, &dest, kk_source_port,
			       kk_dest_port);
}

char kk_license[] SEC("license") = "GPL";
