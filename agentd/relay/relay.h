/* SPDX-License-Identifier: MIT */
/* The relay as a whole: what its parts share. */
#ifndef KK_AGENTD_RELAY_RELAY_H
#define KK_AGENTD_RELAY_RELAY_H

#include "agentd/relay/listener.h"
#include "agentd/relay/loop.h"
#include "agentd/relay/origin.h"
#include "agentd/relay/pipes.h"
#include "agentd/relay/resolver.h"
#include "agentd/relay/session.h"
#include "agentd/relay/tcp.h"
#include "agentd/relay/udp.h"

struct relay {
	struct loop loop;
	struct resolver *resolver;
	struct listeners listeners;
	struct origins origins;
	struct sessions sessions;
	struct pipes pipes;
	struct tcp tcp;
	struct udp udp;
	struct loop_timer watch_timer; /* watch.c */
};

/*
 * @n_files descriptors may be open at once; they are shared out so that what is accepted can be served:
 * an eighth for listening sockets, an eighth for UDP sessions, the rest for TCP connections of six each
 * (two sockets, a pipe for each direction).
 */
int relay_init(struct relay *relay, unsigned long n_files, int64_t udp_idle_ms);
void relay_clean(struct relay *relay);

#endif
