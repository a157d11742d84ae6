// SPDX-License-Identifier: MIT
#include "agentd/relay/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agentd/relay/listener.h"
#include "util/log.h"

#define LOG_LINES_PER_S 200
#define ANSWER_OVERHEAD 128 /* of what else is in the message */
#define JSON_OVERHEAD	256 /* of one entry, beside its texts */

void sessions_init(struct sessions *sessions, struct origins *origins)
{
	*sessions = (struct sessions){.origins = origins};
	TAILQ_INIT(&sessions->open);
}

static void told_nothing(struct origin *origin)
{
	(void)origin;
}

/* Of a session that is no more. */
static void forget(struct origin *origin)
{
	free(origin);
}

static struct origin *origin_new(const struct listener_port *port, const union kk_sockaddr *client)
{
	struct origin *origin = malloc(sizeof(*origin));

	if (origin)
		*origin = (struct origin){.protocol = port->listener->protocol,
					  .client = *client,
					  .local = port->bound,
					  .told = told_nothing};
	return origin;
}

void session_begin(struct sessions *sessions, struct session *s, struct listener_port *port,
		   const union kk_sockaddr *client)
{
	s->listener = listener_get(port->listener);
	s->port = port;
	s->target = target_get(port->listener->target);
	s->client = *client;
	s->origin = origin_new(port, client);
	if (s->origin)
		origin_ask(sessions->origins, s->origin);
	s->started = time(NULL);
	TAILQ_INSERT_HEAD(&sessions->open, s, link);
	sessions->n_open++;
}

/* One line a session, but a flood of them must not become a flood of the log. */
static void log_end(struct sessions *all, const struct session_past *p)
{
	int64_t now = time(NULL);
	char client[KK_ENDPOINT_TEXT];

	if (all->log_second != now) {
		if (all->unlogged)
			kk_warn("%u sessions more ended within a second", all->unlogged);
		all->log_second = now;
		all->logged = all->unlogged = 0;
	}
	if (all->logged++ >= LOG_LINES_PER_S) {
		all->unlogged++;
		return;
	}
	kk_info("service %s via %s %s client %s target %s received %" PRIu64 " sent %" PRIu64
		" bytes in %" PRId64 " s%s%s",
		p->service, p->gateway[0] ? p->gateway : "-",
		p->protocol == IPPROTO_TCP ? "tcp" : "udp", kk_sockaddr_text(&p->client, client),
		p->target, p->rx_bytes, p->tx_bytes, now - p->started, p->error[0] ? ": " : "",
		p->error);
}

static void summarize(const struct session *s, struct session_past *p)
{
	const struct listener *l = s->listener;

	snprintf(p->service, sizeof(p->service), "%s", l->name);
	snprintf(p->gateway, sizeof(p->gateway), "%s", s->origin ? s->origin->gateway : "");
	snprintf(p->target, sizeof(p->target), "%s", s->target->text);
	snprintf(p->error, sizeof(p->error), "%s", s->error);
	p->failed = s->failed;
	p->protocol = l->protocol;
	p->client = s->client;
	p->started = s->started;
	p->rx_bytes = s->rx_bytes;
	p->tx_bytes = s->tx_bytes;
}

/* A record that has everything but the gateway. */
struct unfinished {
	struct sessions *sessions;
	struct session_past past;
};

static void record(struct sessions *sessions, const struct session_past *past)
{
	sessions->past[sessions->n_past++ % KK_RELAY_SESSIONS_SHOWN] = *past;
	log_end(sessions, past);
}

static void finish(struct origin *origin)
{
	struct unfinished *u = origin->owner;

	memcpy(u->past.gateway, origin->gateway, sizeof(u->past.gateway));
	record(u->sessions, &u->past);
	free(u);
	free(origin);
}

static void leave_record(struct sessions *sessions, struct session *s)
{
	struct unfinished *u = NULL;
	struct session_past past;

	summarize(s, &past);
	if (s->origin && s->origin->waits)
		u = malloc(sizeof(*u));
	if (u) {
		*u = (struct unfinished){sessions, past};
		s->origin->owner = u;
		s->origin->told = finish;
	} else {
		record(sessions, &past);
		if (s->origin && s->origin->waits)
			s->origin->told = forget;
		else
			free(s->origin);
	}
	s->origin = NULL;
}

void session_end(struct sessions *sessions, struct session *s)
{
	leave_record(sessions, s);
	TAILQ_REMOVE(&sessions->open, s, link);
	sessions->n_open--;
	target_put(s->target);
	listener_put(s->listener);
	s->target = NULL;
	s->listener = NULL;
	s->port = NULL;
}

static json_t *describe(const struct session_past *p, const char *state)
{
	char client[KK_ENDPOINT_TEXT];
	json_t *obj = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "service", p->service,
				"protocol", p->protocol == IPPROTO_TCP ? "tcp" : "udp", "client",
				kk_sockaddr_text(&p->client, client), "target", p->target, "state",
				state, "started", (json_int_t)p->started, "rx_bytes",
				(json_int_t)p->rx_bytes, "tx_bytes", (json_int_t)p->tx_bytes);

	if (obj && p->gateway[0])
		json_object_set_new(obj, "gateway", json_string(p->gateway));
	if (obj && p->error[0])
		json_object_set_new(obj, "error", json_string(p->error));
	return obj;
}

struct row {
	const char *state;
	struct session_past is;
};

static int newer_first(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return (x->is.started < y->is.started) - (x->is.started > y->is.started);
}

static size_t collect(struct sessions *sessions, struct row *rows)
{
	unsigned int past = sessions->n_past;
	struct session *s;
	size_t n = 0;

	TAILQ_FOREACH(s, &sessions->open, link)
	{
		if (n == KK_RELAY_SESSIONS_SHOWN)
			break;
		rows[n].state = s->failed ? "failed" : "open";
		summarize(s, &rows[n++].is);
		if (s->origin)
			origin_ask(sessions->origins, s->origin);
	}
	for (unsigned int i = 0; i < KK_RELAY_SESSIONS_SHOWN && past; i++) {
		const struct session_past *p = &sessions->past[--past % KK_RELAY_SESSIONS_SHOWN];

		rows[n].state = p->failed ? "failed" : "closed";
		rows[n++].is = *p;
	}
	return n;
}

json_t *sessions_json(struct sessions *sessions)
{
	struct row *rows = calloc(2 * KK_RELAY_SESSIONS_SHOWN, sizeof(*rows));
	json_t *list = json_array();
	size_t room = KK_RELAY_MESSAGE - ANSWER_OVERHEAD, n;

	if (!rows || !list)
		goto out;
	n = collect(sessions, rows);
	qsort(rows, n, sizeof(*rows), newer_first);
	for (size_t i = 0; i < n && i < KK_RELAY_SESSIONS_SHOWN; i++) {
		size_t size = JSON_OVERHEAD + strlen(rows[i].is.service) +
			      strlen(rows[i].is.gateway) + strlen(rows[i].is.target) +
			      strlen(rows[i].is.error);

		if (size > room)
			break;
		room -= size;
		json_array_append_new(list, describe(&rows[i].is, rows[i].state));
	}
out:
	free(rows);
	return list;
}
