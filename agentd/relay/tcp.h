/* SPDX-License-Identifier: MIT */
/* TCP connections: accepted from a listener, connected to its target, pumped both ways. */
#ifndef KK_AGENTD_RELAY_TCP_H
#define KK_AGENTD_RELAY_TCP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "agentd/relay/loop.h"

#define TCP_CONNECT_MS	   10000 /* until the target must have answered, all its addresses together */
#define TCP_CONNECT_ONE_MS 3000 /* for an address that has another one behind it */

struct relay;
struct connection;

struct tcp {
	struct relay *relay;
	unsigned int n, max; /* connections */
	TAILQ_HEAD(, connection) all, connecting;
	struct loop_timer connect_timer, resume_timer;
	int64_t quiet_until; /* loop time */
};

void tcp_init(struct tcp *tcp, struct relay *relay, unsigned int max);
/* Ends every connection. */
void tcp_clean(struct tcp *tcp);
/* No waiting for more to send, and an early end for peers that vanished. What a listener accepts inherits it. */
void tcp_set_options(int fd);
/* A listener's loop_io->ready. */
void tcp_accept(struct loop_io *io, uint32_t events);

#endif
