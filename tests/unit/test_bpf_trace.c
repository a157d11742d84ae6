// SPDX-License-Identifier: MIT
/*
 * A trace says what the programs do: over all packet cases, from the programs' own tables, which each packet changes after it
 * was traced. Needs root.
 */
#include "bpf_hosts.h"

#include "bpf/summed.h"
#include "bpf/trace.h"
#include "kk_tc.skel.h"

/* ---- tc, with the edge and what is behind it ---- */

static struct kk_tc *load(struct bpf_host *host, const struct kk_settings *settings,
			  const struct kk_edge_settings *edge, uint64_t now)
{
	struct kk_tc *skel = kk_tc__open();
	struct kk_err err = {0};

	assert_non_null(skel);
	skel->rodata->kk_settings = *settings;
	skel->rodata->kk_edge_settings = *edge;
	skel->rodata->kk_now = now;
	skel->rodata->kk_public_ifindex = 1;
	skel->rodata->kk_tunnel_ifindex = 1;
	skel->rodata->kk_skb_summed = kk_summed_prepare(skel->obj);
	assert_int_equal(kk_tables_size(skel->obj, SLOTS, &err), 0);
	assert_int_equal(kk_tc__load(skel), 0);
	host->obj = skel->obj;
	return skel;
}

/* What the loader leaves for readers. */
static void put_place(struct bpf_host *host, const struct kk_edge_settings *edge)
{
	const struct kk_edge_place place = {.settings = *edge, .ifindex = 1};
	const uint32_t zero = 0;

	put(host->obj, "kk_edge_place", &zero, &place);
}

/* The public program gets an Ethernet header; what comes out of the tunnel has none. False: the kernel does not run it. */
static bool tc_run(const struct kk_tc *skel, enum kk_direction direction, const struct packet *in,
		   struct outcome *ret)
{
	const struct bpf_program *prog =
		direction == KK_INBOUND ? skel->progs.kk_tc_public : skel->progs.kk_tc_tunnel;
	const uint32_t link = direction == KK_INBOUND ? ETH_HLEN : 0;
	static uint8_t frame[PACKET_MAX + ETH_HLEN], out[PACKET_MAX + 2 * ETH_HLEN];
	struct __sk_buff ctx = {.gso_size = in->gso_size};
	struct bpf_test_run_opts opts = {
		.sz = sizeof(opts),
		.data_in = frame,
		.data_size_in = link + in->len,
		.data_out = out,
		.data_size_out = sizeof(out),
		.ctx_in = &ctx,
		.ctx_size_in = sizeof(ctx),
	};

	memset(frame, 0, ETH_HLEN);
	if (link)
		memcpy(frame + 12, in->data[0] >> 4 == 6 ? "\x86\xdd" : "\x08\x00", 2);
	memcpy(frame + link, in->data, in->len);
	if (bpf_prog_test_run_opts(bpf_program__fd(prog), &opts) < 0)
		return false;
	ret->packet.len = opts.data_size_out;
	return true;
}

/* The reason that was counted; the packet has been through the program. */
static enum kk_reason counted(struct bpf_host *host)
{
	struct kk_counter after[KK_REASON_MAX];
	enum kk_reason reason = read_reason(host, after);

	memcpy(host->before, after, sizeof(after));
	return reason;
}

/* ---- the trace ---- */

struct said {
	char text[4096];
};

static void take_line(void *data, const char *line)
{
	struct said *said = data;
	size_t len = strlen(said->text);

	snprintf(said->text + len, sizeof(said->text) - len, "%s\n", line);
}

static struct kk_trace trace_of(const struct bpf_host *host, const struct packet *in,
				enum kk_direction direction, uint64_t now, struct said *said)
{
	const struct kk_trace_packet packet = {.data = in->data,
					       .len = in->len,
					       .gso_size = in->gso_size,
					       .outbound = direction == KK_OUTBOUND,
					       .now = now};
	struct kk_err err = {0};
	struct kk_trace trace;

	said->text[0] = '\0';
	if (kk_tables_trace(&host->tables, &packet, KK_TRACE_ALL, take_line, said, &trace, &err) <
	    0)
		fail_msg("%s", err.msg);
	return trace;
}

/* The last word of the edge or of forwarding, as the steps have it. */
static void assert_said(const char *name, const struct kk_trace *trace, const struct said *said)
{
	char wanted[96];

	snprintf(wanted, sizeof(wanted), "%s: %s (%s)\n",
		 trace->edge ? "edge at tc" : "forwarding at tc", trace->verdict, trace->reason);
	if (!strstr(said->text, wanted))
		fail_msg("%s: no \"%s\" in:\n%s", name, wanted, said->text);
	if (!trace->edge && !trace->outbound && !strstr(said->text, "edge at tc: goes on\n"))
		fail_msg("%s: no word of the edge in:\n%s", name, said->text);
}

static void differ(const char *world, const char *name, const char *who, const char *verdict,
		   const char *reason, const struct kk_trace *trace, const struct said *said)
{
	print_error("%s", said->text);
	fail_msg("%s: %s: %s says %s (%s), the trace %s (%s)", world, name, who, verdict, reason,
		 trace->verdict, trace->reason);
}

/* ---- the edge's cases ---- */

static void trace_edge_world(const json_t *obj, uint32_t seen[KK_REASON_MAX + 1])
{
	static struct edge_world world;
	struct bpf_host host = {.name = "tc"};
	int sockets[EDGE_MAX];
	struct kk_tc *skel;
	const json_t *one;
	size_t i;

	edge_world_of(obj, &world);
	skel = load(&host, &world.base.settings, &world.settings, world.now);
	fill_edge(&host, &world);
	put_place(&host, &world.settings);
	for (i = 0; i < world.n_sockets; i++)
		sockets[i] = socket_at(world.sockets[i].protocol, world.sockets[i].port);
	json_array_foreach(json_object_get(obj, "cases"), i, one) {
		static struct outcome got;
		static struct edge_case c;
		static struct said said;
		struct kk_trace trace;
		enum kk_reason reason;

		edge_case_of(one, &c);
		trace = trace_of(&host, &c.in, KK_INBOUND, world.now, &said);
		assert_said(c.name, &trace, &said);
		if (trace.edge != (strcmp(c.reason, "on") != 0) ||
		    (trace.edge && (strcmp(trace.reason, c.reason) != 0 ||
				    strcmp(trace.verdict, c.verdict) != 0)))
			differ(world.name, c.name, "the case", c.verdict, c.reason, &trace, &said);
		assert_true(tc_run(skel, KK_INBOUND, &c.in, &got));
		reason = counted(&host);
		if (strcmp(trace.reason, kk_reason_name(reason)) != 0)
			differ(world.name, c.name, "tc", kk_verdict_name(kk_verdict(reason)),
			       kk_reason_name(reason), &trace, &said);
		seen[reason]++;
	}
	for (i = 0; i < world.n_sockets; i++)
		close(sockets[i]);
	host_clean(&host);
	kk_tc__destroy(skel);
}

static void test_edge_cases(void **state)
{
	uint32_t seen[KK_REASON_MAX + 1] = {0};
	json_t *doc = load_edge_cases(), *obj;
	size_t i;

	(void)state;
	json_array_foreach(json_object_get(doc, "worlds"), i, obj) {
		trace_edge_world(obj, seen);
	}
	json_decref(doc);
	for (int reason = 0; reason < KK_REASON_MAX; reason++)
		if (!seen[reason] && is_of_edge((enum kk_reason)reason))
			fail_msg("no trace ended with %s", kk_reason_name((enum kk_reason)reason));
}

/* ---- the core's cases, with the edge in front of them ---- */

static size_t trace_world(const json_t *obj)
{
	const struct kk_edge_settings none = {.ephemeral = 65536};
	struct bpf_host host = {.name = "tc"};
	static struct packet_world world;
	struct kk_tc *skel;
	const json_t *one;
	size_t i, n = 0;

	world = world_of(obj);
	skel = load(&host, &world.settings, &none, 0);
	fill(&host, &world);
	put_place(&host, &none);
	json_array_foreach(json_object_get(obj, "cases"), i, one) {
		static struct packet_case c;
		static struct outcome got;
		static struct said said;
		struct kk_trace trace;
		enum kk_reason reason;

		case_of(obj, one, &c);
		if (!c.in.len)
			continue;
		trace = trace_of(&host, &c.in, c.direction, 0, &said);
		assert_said(c.name, &trace, &said);
		if (!trace.edge &&
		    (strcmp(trace.reason, c.reason) != 0 || strcmp(trace.verdict, c.verdict) != 0))
			differ(c.world, c.name, "the case", c.verdict, c.reason, &trace, &said);
		if (!tc_run(skel, c.direction, &c.in, &got))
			continue; /* the kernel runs no packet that is cut within its header */
		reason = counted(&host);
		if (strcmp(trace.reason, kk_reason_name(reason)) != 0)
			differ(c.world, c.name, "tc", kk_verdict_name(kk_verdict(reason)),
			       kk_reason_name(reason), &trace, &said);
		n++;
	}
	host_clean(&host);
	kk_tc__destroy(skel);
	return n;
}

static void test_cases(void **state)
{
	json_t *doc = load_cases(), *obj;
	size_t i, n = 0;

	(void)state;
	json_array_foreach(json_object_get(doc, "worlds"), i, obj)
		n += trace_world(obj);
	json_decref(doc);
	print_message("%zu cases\n", n);
	assert_true(n > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_edge_cases),
		cmocka_unit_test(test_cases),
	};

	return kk_run_group_as_root("loads BPF programs", tests, own_namespace, NULL);
}
