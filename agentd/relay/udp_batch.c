// SPDX-License-Identifier: MIT
#include "agentd/relay/udp_batch.h"

#include <errno.h>
#include <stdlib.h>

struct udp_batch *udp_batch_new(void)
{
	/* Not cleared: pages that no datagram ever fills are never touched. */
	struct udp_batch *b = malloc(sizeof(*b));

	for (unsigned int i = 0; b && i < UDP_BATCH; i++) {
		b->in_iov[i] = (struct iovec){b->data[i], UDP_DATAGRAM};
		b->in[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &b->in_iov[i], .msg_iovlen = 1}};
	}
	return b;
}

int udp_batch_receive(struct udp_batch *b, int fd)
{
	int n;

	for (unsigned int i = 0; i < UDP_BATCH; i++) {
		b->in[i].msg_hdr.msg_name = &b->from[i];
		b->in[i].msg_hdr.msg_namelen = sizeof(b->from[i]);
	}
	n = recvmmsg(fd, b->in, UDP_BATCH, MSG_DONTWAIT, NULL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	return n;
}

void udp_batch_queue(struct udp_batch *b, unsigned int slot, unsigned int i, const void *prefix,
		     size_t prefix_len, const union kk_sockaddr *to)
{
	struct iovec *iov = b->out_iov[slot];

	iov[0] = (struct iovec){(void *)prefix, prefix_len};
	iov[1] = (struct iovec){b->data[i], b->in[i].msg_len};
	b->out[slot] = (struct mmsghdr){.msg_hdr = {.msg_name = (void *)to,
						    .msg_namelen = to ? kk_sockaddr_len(to) : 0,
						    .msg_iov = prefix_len ? iov : iov + 1,
						    .msg_iovlen = prefix_len ? 2 : 1}};
}

unsigned int udp_batch_send(struct udp_batch *b, int fd, unsigned int n, int *ret_error)
{
	unsigned int done = 0, left = 0;
	int refused = 0;

	*ret_error = 0;
	while (done < n) {
		int sent = sendmmsg(fd, b->out + done, n - done, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent > 0) {
			left += (unsigned int)sent;
			done += (unsigned int)sent;
			continue;
		}
		if (errno == EINTR)
			continue;
		*ret_error = errno;
		/* The error may be of an earlier datagram and is gone once told: once more, then not. */
		if (errno == ECONNREFUSED && !refused++)
			continue;
		if (errno == EAGAIN)
			break;
		done++;
	}
	return left;
}
