// SPDX-License-Identifier: MIT
#include "wg/flow.h"

#include <stdbool.h>
#include <stddef.h>

static uint64_t tag_of(const struct wg_flow_table *t, const struct wg_flow_key *key)
{
	_Static_assert(sizeof(*key) == 40, "the key is hashed as bytes and has no holes");

	return wg_siphash(&t->key, key, sizeof(*key)) | 1;
}

static uint32_t set_of(uint64_t tag)
{
	return (uint32_t)(tag >> 32) % WG_FLOW_SETS;
}

uint32_t wg_flow_stripe(const struct wg_flow_table *t, const struct wg_flow_key *key)
{
	return set_of(tag_of(t, key)) % WG_FLOW_STRIPES;
}

static uint32_t tick_of(uint64_t now)
{
	return (uint32_t)(now >> 26);
}

static struct wg_flow_entry *lookup(struct wg_flow_table *t, uint64_t tag)
{
	struct wg_flow_entry *set = t->sets[set_of(tag)];

	for (int i = 0; i < WG_FLOW_WAYS; i++)
		if (set[i].tag == tag)
			return &set[i];
	return NULL;
}

/* A free entry of the set, else the oldest; emptied. */
static struct wg_flow_entry *make(struct wg_flow_table *t, uint64_t tag, uint64_t now)
{
	struct wg_flow_entry *set = t->sets[set_of(tag)], *victim = set;
	uint32_t tick = tick_of(now);

	for (int i = 0; i < WG_FLOW_WAYS && victim->tag; i++)
		if (!set[i].tag || tick - set[i].used > tick - victim->used)
			victim = &set[i];
	*victim = (struct wg_flow_entry){.tag = tag, .used = tick};
	return victim;
}

/* --- in --- */

static bool near(uint32_t a, uint32_t b)
{
	return a - b + WG_FLOW_WINDOW < 2 * WG_FLOW_WINDOW;
}

/* Whether the other side of the connection can have sent this. */
static bool plausible(const struct wg_flow_entry *e, const struct wg_tcp *tcp)
{
	if (tcp->flags & WG_TCP_RST || !(tcp->flags & WG_TCP_ACK))
		return false;
	/* What was not sent cannot be acknowledged. */
	return near(tcp->seq, e->expects) && e->sent - tcp->ack < WG_FLOW_WINDOW;
}

static bool begins(const struct wg_tcp *tcp)
{
	return (tcp->flags & (WG_TCP_SYN | WG_TCP_ACK | WG_TCP_RST)) == WG_TCP_SYN;
}

/* Whether a segment from a peer other than @e->peer moves the flow to that. */
static bool moves(struct wg_flow_entry *e, const struct wg_tcp *tcp, uint32_t peer)
{
	if (!tcp)
		return true;
	if (!e->spoken)
		return !(tcp->flags & WG_TCP_RST);
	if (!begins(tcp))
		return plausible(e, tcp);
	e->caller = peer;
	e->call = tcp->seq + 1;
	return false;
}

bool wg_flow_learn(struct wg_flow_table *t, const struct wg_flow_key *key, const struct wg_tcp *tcp,
		   uint32_t peer, uint64_t now)
{
	uint64_t tag = tag_of(t, key);
	struct wg_flow_entry *e = lookup(t, tag);

	if (!e) {
		/* Nobody answers a RST. */
		if (tcp && tcp->flags & WG_TCP_RST)
			return false;
		e = make(t, tag, now);
	} else if (e->peer != peer && !moves(e, tcp, peer)) {
		return false;
	}
	e->peer = peer;
	e->used = tick_of(now);
	e->chosen = false;
	return true;
}

/* --- out --- */

/* Our end answers the SYN that came by another peer: as a new connection, or with "there is none". */
static bool answers_call(const struct wg_flow_entry *e, const struct wg_tcp *tcp)
{
	if (!e->caller || !(tcp->flags & WG_TCP_ACK) || tcp->ack != e->call)
		return false;
	return tcp->flags & WG_TCP_SYN || (tcp->flags & WG_TCP_RST && tcp->seq == 0);
}

static void spoke(struct wg_flow_entry *e, const struct wg_tcp *tcp)
{
	if (answers_call(e, tcp)) {
		e->peer = e->caller;
		e->caller = 0;
	}
	/* Often made up as an answer to something that was not of this connection. */
	if (tcp->flags & WG_TCP_RST)
		return;
	if (begins(tcp)) {
		/* The other side has still to say where it begins. */
		e->spoken = false;
		e->sent = tcp->end;
		return;
	}
	if (!(tcp->flags & WG_TCP_ACK))
		return;
	if (!e->spoken || tcp->flags & WG_TCP_SYN || (int32_t)(tcp->end - e->sent) > 0)
		e->sent = tcp->end;
	e->expects = tcp->ack;
	e->spoken = true;
}

const struct wg_flow_entry *wg_flow_send(struct wg_flow_table *t, const struct wg_flow_key *key,
					 const struct wg_tcp *tcp)
{
	struct wg_flow_entry *e = lookup(t, tag_of(t, key));

	if (e && tcp)
		spoke(e, tcp);
	return e;
}

void wg_flow_choose(struct wg_flow_table *t, const struct wg_flow_key *key,
		    const struct wg_tcp *tcp, uint32_t peer, uint64_t now)
{
	uint64_t tag = tag_of(t, key);
	struct wg_flow_entry *e = lookup(t, tag);

	if (!e)
		e = make(t, tag, now);
	e->peer = peer;
	e->used = tick_of(now);
	e->chosen = true;
	if (tcp)
		spoke(e, tcp);
}

uint32_t wg_flow_find(const struct wg_flow_table *t, const struct wg_flow_key *key)
{
	const struct wg_flow_entry *e = lookup((struct wg_flow_table *)t, tag_of(t, key));

	return e && !e->chosen ? e->peer : 0;
}

void wg_flow_flush(struct wg_flow_table *t, uint32_t peer)
{
	for (int s = 0; s < WG_FLOW_SETS; s++) {
		for (int i = 0; i < WG_FLOW_WAYS; i++) {
			struct wg_flow_entry *e = &t->sets[s][i];

			if (e->peer == peer)
				*e = (struct wg_flow_entry){0};
			else if (e->caller == peer)
				e->caller = 0;
		}
	}
}
