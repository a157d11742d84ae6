/* SPDX-License-Identifier: MIT */
/* Early discard: what cannot be a message of WireGuard is not even queued to our sockets. */
#ifndef KKWG_FILTER_H
#define KKWG_FILTER_H

/* Messages as the kernel joins them (UDP_GRO) are judged by the first only where they are short together. */
#define FILTER_LONGEST 2048

/* Has the kernel drop by type and length. Returns 0 or -errno: then all of it comes to us. */
int filter_attach(int fd);

#endif
