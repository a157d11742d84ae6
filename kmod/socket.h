/* SPDX-License-Identifier: GPL-2.0 */
/* Whether a socket of the gateway's own takes a packet. */
#ifndef KK_KMOD_SOCKET_H
#define KK_KMOD_SOCKET_H

#include <kk/core/types.h>

struct kk_net;

/* One of a connection, or bound to the port, of a packet from the public interface. Under RCU. */
bool kk_socket_wants(struct kk_net *kn, u8 family, u8 protocol, const struct kk_in6 *source,
		     const struct kk_in6 *dest, __be16 source_port, __be16 dest_port);

#endif
