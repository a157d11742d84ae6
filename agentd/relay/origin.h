/* SPDX-License-Identifier: MIT */
/*
 * By which gateway a session came: the tunnel's engine knows which peer each flow last came from, and tells it over a
 * connection that the daemon hands us (kkwg/flows.h). Asked when a session begins, many at a time where many
 * begin, and waited for by nobody: only the record of a session that has ended waits for its gateway.
 */
#ifndef KK_AGENTD_RELAY_ORIGIN_H
#define KK_AGENTD_RELAY_ORIGIN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <jansson.h>

#include "agentd/relay/loop.h"
#include "util/address.h"
#include "util/err.h"
#include "util/parse.h"

#define ORIGIN_BATCH 128 /* of one question; the engine takes 256 */
#define ORIGIN_LINE  128 /* bytes that one takes at most, question and answer */

/* Owned by who wants to know, who frees it when it does not wait. */
struct origin {
	uint8_t protocol;
	union kk_sockaddr client, local; /* as the packets have them, inside the tunnel */
	char gateway[KK_NAME_MAX + 1];	 /* "" while it is not known */
	bool waits;			 /* for ->told */
	/* Has been asked, or cannot be asked; the gateway may be known now. It may free the origin. */
	void (*told)(struct origin *origin);
	void *owner;
	TAILQ_ENTRY(origin) link;
};

TAILQ_HEAD(origin_queue, origin);

struct origins {
	struct loop_io io; /* on fd */
	struct loop *loop;
	struct loop_work work;
	int fd;	       /* -1: there is nobody to ask */
	json_t *names; /* of gateways by their public keys in hex; NULL: none */
	struct origin_queue waiting, asked; /* asked: in the order of the answer */
	unsigned int n_asked;
	size_t len;
	char text[ORIGIN_BATCH * ORIGIN_LINE]; /* of the answer so far */
};

void origins_init(struct origins *origins, struct loop *loop);
/* Tells all that wait that nothing is known. */
void origins_clean(struct origins *origins);
/* From now on asks over @fd, which it takes, and calls gateways by @names (a reference is taken). */
int origins_set(struct origins *origins, int fd, json_t *names, struct kk_err *err);

/* Asks; ->told comes later, never from within. One that waits already is asked no more than once. */
void origin_ask(struct origins *origins, struct origin *origin);

#endif
