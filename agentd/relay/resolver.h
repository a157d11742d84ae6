/* SPDX-License-Identifier: MIT */
/* Looks names up in a thread of its own, since getaddrinfo(3) waits and the relay must not. */
#ifndef KK_AGENTD_RELAY_RESOLVER_H
#define KK_AGENTD_RELAY_RESOLVER_H

#include <stdint.h>
#include <netinet/in.h>
#include <sys/queue.h>

#include "agentd/relay/loop.h"

#define RESOLVER_HOST_MAX 256
#define RESOLVER_ADDRS	  8

/* One look-up; embedded in what wants the answer, which stays until @done or resolver_cancel. */
struct resolver_query {
	char host[RESOLVER_HOST_MAX];
	uint16_t port; /* host byte order */
	void (*done)(struct resolver_query *query, const struct sockaddr_storage *addrs, size_t n,
		     const char *error); /* n 0: @error is a sentence's end */
	struct resolver_job *job;	 /* while it is under way */
};

struct resolver;

/* Starts the thread. */
int resolver_new(struct loop *loop, struct resolver **ret);
/* Gives the thread a second to end; where a look-up hangs, the thread frees the rest when that is over. */
void resolver_free(struct resolver *resolver);
/* Negative errno; 0: @query->done will be called from the loop. */
int resolver_ask(struct resolver *resolver, struct resolver_query *query);
void resolver_cancel(struct resolver_query *query);
/* Addresses as numbers, at once; 0 or -EINVAL when @host is a name. */
int resolver_numeric(const char *host, uint16_t port, struct sockaddr_storage *ret);

#endif
