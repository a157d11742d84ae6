/* SPDX-License-Identifier: MIT */
/* Datagrams received by one recvmmsg(2) and sent on by few sendmmsg(2), from buffers made once. */
#ifndef KK_AGENTD_RELAY_UDP_BATCH_H
#define KK_AGENTD_RELAY_UDP_BATCH_H

#include <sys/socket.h>

#include "agentd/relay/udp.h"
#include "util/address.h"

struct udp_batch {
	struct mmsghdr in[UDP_BATCH], out[UDP_BATCH];
	struct iovec in_iov[UDP_BATCH], out_iov[UDP_BATCH][2];
	union kk_sockaddr from[UDP_BATCH];
	uint8_t data[UDP_BATCH][UDP_DATAGRAM];
};

/* NULL when memory is short; freed with free(). */
struct udp_batch *udp_batch_new(void);
/* Fills in and from; returns how many, 0 for none at hand, or a negative errno (a pending ICMP error). */
int udp_batch_receive(struct udp_batch *batch, int fd);
/* Puts @prefix of @prefix_len bytes in front of datagram @i, as outgoing datagram @slot to @to (or NULL). */
void udp_batch_queue(struct udp_batch *batch, unsigned int slot, unsigned int i, const void *prefix,
		     size_t prefix_len, const union kk_sockaddr *to);
/*
 * Sends the outgoing datagrams 0 to @n - 1. Returns how many left; *@ret_error is the last error as a
 * positive errno, or 0. A full buffer or a pending ICMP error costs datagrams and nothing else.
 */
unsigned int udp_batch_send(struct udp_batch *batch, int fd, unsigned int n, int *ret_error);

#endif
