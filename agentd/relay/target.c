// SPDX-License-Identifier: MIT
#include "agentd/relay/target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/parse.h"

static void answered(struct resolver_query *query, const struct sockaddr_storage *addrs, size_t n,
		     const char *error)
{
	struct target *t = LOOP_OWNER(query, struct target, query);
	struct target_waiter *waiter;

	/* An answer that was good once serves on while the name server is away. */
	if (n) {
		if (t->prefer >= n ||
		    memcmp(&t->addrs[t->prefer], &addrs[t->prefer], sizeof(*addrs)))
			t->prefer = 0;
		memcpy(t->addrs, addrs, n * sizeof(*addrs));
		t->n_addrs = n;
	}
	snprintf(t->error, sizeof(t->error), "%s", n ? "" : error);
	target_get(t); /* a waiter may let go of it */
	while ((waiter = LIST_FIRST(&t->waiters))) {
		target_forget(waiter);
		waiter->resolved(waiter);
	}
	target_put(t);
}

static int look_up(struct target *t)
{
	t->asked_at = t->loop->now;
	return resolver_ask(t->resolver, &t->query);
}

int target_new(struct loop *loop, struct resolver *resolver, const char *text, struct target **ret,
	       struct kk_err *err)
{
	struct target *t = calloc(1, sizeof(*t));
	uint16_t last;
	int r;

	if (!t)
		return kk_err_set(err, ENOMEM, NULL, "memory is short");
	*t = (struct target){.refs = 1, .loop = loop, .resolver = resolver, .query.done = answered};
	LIST_INIT(&t->waiters);
	snprintf(t->text, sizeof(t->text), "%s", text);
	r = kk_parse_hostports("target", text, false, t->query.host, sizeof(t->query.host),
			       &t->query.port, &last, err);
	if (r < 0) {
		free(t);
		return r;
	}
	t->range = last > t->query.port;
	t->numeric = resolver_numeric(t->query.host, t->query.port, &t->addrs[0]) == 0;
	t->n_addrs = t->numeric;
	if (!t->numeric && look_up(t) < 0) {
		free(t);
		return kk_err_set(err, ENOMEM, NULL, "memory is short");
	}
	*ret = t;
	return 0;
}

struct target *target_get(struct target *t)
{
	t->refs++;
	return t;
}

void target_put(struct target *t)
{
	if (!t || --t->refs)
		return;
	resolver_cancel(&t->query);
	free(t);
}

int target_ask(struct target *t, struct target_waiter *waiter)
{
	int64_t age = t->loop->now - t->asked_at;

	if (!t->numeric && !t->query.job &&
	    age >= (t->error[0] ? TARGET_FAILED_MS : TARGET_FRESH_MS) && look_up(t) < 0)
		snprintf(t->error, sizeof(t->error), "memory is short");
	if (t->n_addrs)
		return 1;
	if (!t->query.job)
		return -EHOSTUNREACH;
	waiter->waits = true;
	LIST_INSERT_HEAD(&t->waiters, waiter, link);
	return 0;
}

void target_forget(struct target_waiter *waiter)
{
	if (!waiter->waits)
		return;
	waiter->waits = false;
	LIST_REMOVE(waiter, link);
}

struct sockaddr_storage target_addr(const struct target *t, size_t i, int offset)
{
	struct sockaddr_storage addr = t->addrs[(t->prefer + i) % t->n_addrs];
	/* The port is at the same place in both families' addresses. */
	struct sockaddr_in *in = (struct sockaddr_in *)&addr;

	if (t->range)
		in->sin_port = htons((uint16_t)(ntohs(in->sin_port) + offset));
	return addr;
}
