// SPDX-License-Identifier: MIT
/* What both hosts hold and have counted, as one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/trace_run.h"
#include "plane/internal.h"
#include "plane/snapshot.h"
#include "util/cleanup.h"

/* What kk_plane_read() hands out; @all is first, so that it can be freed by it. */
struct tables {
	struct kk_datapath_tables all;
	struct kk_datapath_tables *bpf;
	struct kk_listener *listeners;
};

void kk_plane_tables_free(struct kk_datapath_tables *tables)
{
	struct tables *t = (struct tables *)tables;

	if (!t)
		return;
	kk_datapath_tables_free(t->bpf);
	free(t->listeners);
	free(t);
}

static int read_tables(struct kk_plane *plane, struct tables *t, struct kk_err *err)
{
	int n = kk_datapath_read(plane->bpf, &t->bpf, err);

	if (n < 0)
		return n;
	t->all = *t->bpf;
	if (!plane->forwards)
		return 0;
	n = kk_module_list(&plane->module, &t->listeners, err);
	if (n < 0)
		return n;
	t->all.listeners = t->listeners;
	t->all.n_listeners = (size_t)n;
	return 0;
}

int kk_plane_read(struct kk_plane *plane, struct kk_datapath_tables **ret, struct kk_err *err)
{
	struct tables *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	r = read_tables(plane, t, err);
	if (r < 0)
		kk_plane_tables_free(&t->all);
	else
		*ret = &t->all;
	return r;
}

/* Both lists have each reason once. */
static void add_counters(struct kk_datapath_counter *sum, int n,
			 const struct kk_datapath_counter *more, int n_more)
{
	for (int i = 0; i < n; i++)
		for (int j = 0; j < n_more; j++)
			if (strcmp(sum[i].name, more[j].name) == 0) {
				sum[i].packets += more[j].packets;
				sum[i].bytes += more[j].bytes;
			}
}

int kk_plane_counters(struct kk_plane *plane, struct kk_datapath_counter **ret, struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_datapath_counter *list = NULL, *more = NULL;
	int n = kk_datapath_counters(plane->bpf, &list, err), n_more = 0;

	if (n >= 0 && plane->forwards)
		n_more = kk_module_counters(&plane->module, &more, err);
	if (n < 0 || n_more < 0)
		return n < 0 ? n : n_more;
	add_counters(list, n, more, n_more);
	*ret = KK_STEAL(list);
	return n;
}

static int compare_services(const void *a, const void *b)
{
	const struct kk_datapath_service *x = a, *y = b;

	return (x->service > y->service) - (x->service < y->service);
}

/* A service of the module's is one of eBPF's too, but for the moment of a change. */
static void add_services(struct kk_datapath_service *sum, size_t n,
			 const struct kk_datapath_service *more, size_t n_more)
{
	qsort(sum, n, sizeof(*sum), compare_services);
	for (size_t i = 0; i < n_more; i++) {
		struct kk_datapath_service *s =
			bsearch(&more[i], sum, n, sizeof(*sum), compare_services);

		if (!s)
			continue;
		s->in_packets += more[i].in_packets;
		s->in_bytes += more[i].in_bytes;
		s->out_packets += more[i].out_packets;
		s->out_bytes += more[i].out_bytes;
	}
}

int kk_plane_services(struct kk_plane *plane, struct kk_datapath_service **ret, struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_datapath_service *list = NULL, *more = NULL;
	int n = kk_datapath_services(plane->bpf, &list, err), n_more = 0;

	if (n >= 0 && plane->forwards)
		n_more = kk_module_services(&plane->module, &more, err);
	if (n < 0 || n_more < 0)
		return n < 0 ? n : n_more;
	if (n_more)
		add_services(list, (size_t)n, more, (size_t)n_more);
	*ret = KK_STEAL(list);
	return n;
}

/* What the module itself says; it has the last word. */
static int ask_module(const struct kk_plane *plane, const struct kk_trace_packet *packet,
		      const struct kk_trace_run *run, struct kk_trace *ret, struct kk_err *err)
{
	struct kk_module_trial trial = {.direction = run->outbound ? KK_OUTBOUND : KK_INBOUND,
					.gso_size = (uint16_t)packet->gso_size,
					.now = packet->now,
					.data = run->buffer + KK_USER_HEADROOM,
					.len = run->len};
	KK_CLEANUP_FREE uint8_t *after = NULL;
	int r = kk_module_try(&plane->module, &trial, err);

	if (r < 0)
		return r;
	after = trial.data;
	kk_trace_run_end(run, "kernel module", trial.reason, after, trial.len, ret);
	return 0;
}

static void user_freep(struct kk_user **user)
{
	kk_user_free(*user);
}

/* Behind the edge: the core on a copy of the module's tables for the look-ups, and then the module. */
static int trace_module(struct kk_plane *plane, const struct kk_trace_packet *packet,
			void (*note)(void *data, const char *line), void *note_data,
			struct kk_trace *ret, struct kk_err *err)
{
	KK_CLEANUP(kk_trace_run_clean) struct kk_trace_run run = {0};
	KK_CLEANUP(user_freep) struct kk_user *user = NULL;
	int r = kk_module_snapshot(&plane->module, &user, err);

	if (r == 0)
		r = kk_trace_run_init(&run, user, packet, note, note_data, err);
	if (r < 0)
		return r;
	kk_trace_run_look_up(&run);
	return ask_module(plane, packet, &run, ret, err);
}

int kk_plane_trace(struct kk_plane *plane, const struct kk_trace_packet *packet,
		   void (*note)(void *data, const char *line), void *note_data,
		   struct kk_trace *ret, struct kk_err *err)
{
	int r = kk_datapath_trace(plane->bpf, packet,
				  plane->forwards ? KK_TRACE_EDGE : KK_TRACE_ALL, note, note_data,
				  ret, err);

	if (r < 0 || ret->edge || !plane->forwards)
		return r;
	return trace_module(plane, packet, note, note_data, ret, err);
}
