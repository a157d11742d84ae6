// SPDX-License-Identifier: GPL-2.0
#include "kmod/socket.h"

#include <net/inet6_hashtables.h>
#include <net/inet_hashtables.h>
#include <net/tcp.h>
#include <net/udp.h>

#include "kmod/compat.h"
#include "kmod/net.h"

static struct sock *find_tcp(struct net *net, u8 family, const struct kk_in6 *source,
			     const struct kk_in6 *dest, __be16 source_port, __be16 dest_port,
			     int ifindex)
{
	if (family == KK_IP4)
		return inet_lookup(net, kk_tcp_hashinfo(net), NULL, 0, source->word[3], source_port,
				   dest->word[3], dest_port, ifindex);
	return inet6_lookup(net, kk_tcp_hashinfo(net), NULL, 0, (const struct in6_addr *)source,
			    source_port, (const struct in6_addr *)dest, dest_port, ifindex);
}

static struct sock *find_udp(struct net *net, u8 family, const struct kk_in6 *source,
			     const struct kk_in6 *dest, __be16 source_port, __be16 dest_port,
			     int ifindex)
{
	if (family == KK_IP4)
		return udp4_lib_lookup(net, source->word[3], source_port, dest->word[3], dest_port,
				       ifindex);
	return udp6_lib_lookup(net, (const struct in6_addr *)source, source_port,
			       (const struct in6_addr *)dest, dest_port, ifindex);
}

bool kk_socket_wants(struct kk_net *kn, u8 family, u8 protocol, const struct kk_in6 *source,
		     const struct kk_in6 *dest, __be16 source_port, __be16 dest_port)
{
	const struct net_device *dev = rcu_dereference(kn->place[KK_INBOUND].dev);
	int ifindex = dev ? dev->ifindex : 0;
	struct sock *sk;

	sk = protocol == KK_TCP
		     ? find_tcp(kn->net, family, source, dest, source_port, dest_port, ifindex)
		     : find_udp(kn->net, family, source, dest, source_port, dest_port, ifindex);
	if (!sk)
		return false;
	sock_gen_put(sk);
	return true;
}
