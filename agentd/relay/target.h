/* SPDX-License-Identifier: MIT */
/*
 * Where a service's connections go: HOST:PORT and the addresses it stands for. A number is known at
 * once; a name is looked up when the target is made and again when it is used and the answer has aged,
 * while the old answer serves.
 */
#ifndef KK_AGENTD_RELAY_TARGET_H
#define KK_AGENTD_RELAY_TARGET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "agentd/relay/loop.h"
#include "agentd/relay/resolver.h"
#include "proto/model.h"
#include "util/err.h"

#define TARGET_FRESH_MS	 30000 /* an answer is asked for again after this */
#define TARGET_FAILED_MS 3000  /* and a failure */

/* Someone who waits for the first answer; embedded in it. */
struct target_waiter {
	void (*resolved)(struct target_waiter *waiter); /* addresses or error are there now */
	bool waits;
	LIST_ENTRY(target_waiter) link;
};

struct target {
	char text[KK_TARGET_MAX + 1];
	bool range; /* of ports; addrs have the first */
	struct sockaddr_storage addrs[RESOLVER_ADDRS];
	size_t n_addrs; /* 0: not known (yet) */
	size_t prefer;	/* the one that answered last, to be tried first */
	char error[96]; /* why not; "" while the first look-up runs */
	/* private */
	int refs;
	bool numeric;
	int64_t asked_at; /* loop time */
	struct loop *loop;
	struct resolver *resolver;
	struct resolver_query query;
	LIST_HEAD(, target_waiter) waiters;
};

/* Returns one reference in *@ret. -EINVAL with @err for what is not HOST:PORT or HOST:FIRST-LAST. */
int target_new(struct loop *loop, struct resolver *resolver, const char *text, struct target **ret,
	       struct kk_err *err);
struct target *target_get(struct target *target);
void target_put(struct target *target);

/*
 * 1: target->addrs may be used. 0: @waiter->resolved will be called. -EHOSTUNREACH: target->error says
 * why not.
 */
int target_ask(struct target *target, struct target_waiter *waiter);
void target_forget(struct target_waiter *waiter);

/*
 * Its address number @i, counted from the preferred one; of a target with a range of ports with the one that is @offset
 * behind the first.
 */
struct sockaddr_storage target_addr(const struct target *target, size_t i, int offset);

static inline socklen_t target_addr_len(const struct sockaddr_storage *addr)
{
	return addr->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
					   : sizeof(struct sockaddr_in);
}

#endif
