// SPDX-License-Identifier: MIT
#include "bpf/trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>

#include "bpf/edge.h"
#include "bpf/snapshot.h"
#include "bpf/trace_run.h"
#include "bpf/wanted.h"
#include "util/cleanup.h"

static void user_freep(struct kk_user **user)
{
	kk_user_free(*user);
}

/* ---- sockets of the gateway's own, asked about when it matters ---- */

struct sockets {
	uint32_t ifindex;
	struct kk_wanted *wanted;
	struct kk_err *err;
	int r;
};

static void sockets_clean(struct sockets *sockets)
{
	kk_wanted_close(sockets->wanted);
}

static bool socket_wants(void *data, const struct kk_user_tuple *tuple)
{
	const struct kk_wanted_tuple asked = {.family = tuple->family,
					      .protocol = tuple->protocol,
					      .source = tuple->source,
					      .dest = tuple->dest,
					      .source_port = tuple->source_port,
					      .dest_port = tuple->dest_port};
	struct sockets *s = data;

	if (!s->wanted)
		s->r = kk_wanted_open(s->ifindex, &s->wanted, s->err);
	if (s->r == 0)
		s->r = kk_wanted_ask(s->wanted, &asked, s->err);
	if (s->r < 0)
		return false;
	return s->r > 0;
}

/* ---- where ---- */

static void say_where(const struct kk_xdp_state *xdp, char text[48])
{
	if (xdp->mode == KK_XDP_OFF)
		strcpy(text, "edge at tc");
	else
		snprintf(text, 48, "edge at XDP (%s)", kk_xdp_mode_name(xdp->mode));
}

static int trace(const struct kk_tables *tables, struct kk_trace_run *run, struct sockets *sockets,
		 enum kk_trace_part part, struct kk_trace *ret, struct kk_err *err)
{
	struct kk_xdp_state xdp;
	char where[48];
	int r;

	*ret = (struct kk_trace){.outbound = run->outbound};
	if (!run->outbound) {
		r = kk_edge_query(tables->place_fd, NULL, &xdp, err);
		if (r < 0)
			return r;
		say_where(&xdp, where);
		if (kk_trace_run_edge(run, where, ret) || sockets->r < 0)
			return sockets->r < 0 ? sockets->r : 0;
	}
	if (part == KK_TRACE_ALL)
		kk_trace_run_forward(run, "forwarding at tc", ret);
	return 0;
}

int kk_tables_trace(const struct kk_tables *tables, const struct kk_trace_packet *packet,
		    enum kk_trace_part part, void (*note)(void *data, const char *line),
		    void *note_data, struct kk_trace *ret, struct kk_err *err)
{
	KK_CLEANUP(sockets_clean) struct sockets sockets = {.err = err};
	KK_CLEANUP(kk_trace_run_clean) struct kk_trace_run run = {0};
	KK_CLEANUP(user_freep) struct kk_user *user = NULL;
	int r = kk_tables_snapshot(tables, &user, &sockets.ifindex, err);

	if (r == 0)
		r = kk_trace_run_init(&run, user, packet, note, note_data, err);
	if (r < 0)
		return r;
	user->edge.wants = socket_wants;
	user->edge.wants_data = &sockets;
	return trace(tables, &run, &sockets, part, ret, err);
}
