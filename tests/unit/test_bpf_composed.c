// SPDX-License-Identifier: MIT
/*
 * The programs as a gateway has them, one after another over the same tables, with worlds drawn at random: XDP, and what it lets on
 * at tc; the tunnel's program. Packet by packet they have to do what the core does in user space. Needs root.
 */
#include "bpf_hosts.h"
#include "random_packets.h"

#include <linux/pkt_cls.h>

#include "bpf/summed.h"
#include "kk_tc.skel.h"
#include "kk_xdp.skel.h"

#define PACKETS	      60000 /* in all, or as KK_STREAM_PACKETS says ... */
#define PACKETS_VM    15000 /* an emulated processor takes ten times as long */
#define PACKETS_WORLD 5000  /* ... so many in each world */

/* Who does what of the edge. */
static const struct place {
	const char *name;
	uint32_t xdp, tc; /* KK_EDGE_*; 0 at XDP: no program there */
} places[] = {
	{"all at XDP", KK_EDGE_CHECKS | KK_EDGE_RELAY, 0},
	{"generic XDP: relay at tc", KK_EDGE_CHECKS, KK_EDGE_RELAY},
	{"all at tc", 0, KK_EDGE_CHECKS | KK_EDGE_RELAY},
};

struct gateway {
	const struct place *place;
	struct bpf_host host; /* its tables are both programs' */
	struct kk_tc *tc;
	struct kk_xdp *xdp;
	int sockets[EDGE_MAX];
	size_t n_sockets;
};

/* As the loader gives both the pinned ones. */
static void share_tables(const struct bpf_object *from, struct bpf_object *with)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, with) {
		const struct bpf_map *shared =
			bpf_object__find_map_by_name(from, bpf_map__name(map));

		if (bpf_map__is_internal(map))
			continue;
		assert_non_null(shared);
		assert_int_equal(bpf_map__reuse_fd(map, bpf_map__fd(shared)), 0);
	}
}

static void load_xdp(struct gateway *g, const struct edge_world *w)
{
	g->xdp = kk_xdp__open();
	assert_non_null(g->xdp);
	g->xdp->rodata->kk_settings = w->base.settings;
	g->xdp->rodata->kk_edge_settings = w->settings;
	g->xdp->rodata->kk_now = w->now;
	g->xdp->rodata->kk_public_ifindex = 1;
	g->xdp->rodata->kk_tunnel_ifindex = 1;
	g->xdp->rodata->kk_edge_part = g->place->xdp;
	share_tables(g->tc->obj, g->xdp->obj);
	assert_int_equal(kk_xdp__load(g->xdp), 0);
}

static void gateway_init(struct gateway *g, const struct place *place, struct edge_world *w)
{
	struct kk_err err = {0};

	*g = (struct gateway){.place = place, .host.name = place->name};
	g->tc = kk_tc__open();
	assert_non_null(g->tc);
	g->tc->rodata->kk_settings = w->base.settings;
	g->tc->rodata->kk_edge_settings = w->settings;
	g->tc->rodata->kk_now = w->now;
	g->tc->rodata->kk_public_ifindex = 1;
	g->tc->rodata->kk_tunnel_ifindex = 1;
	g->tc->rodata->kk_skb_summed = kk_summed_prepare(g->tc->obj);
	g->tc->data->kk_edge_here = place->tc;
	assert_int_equal(kk_tables_size(g->tc->obj, SLOTS, &err), 0);
	assert_int_equal(kk_tc__load(g->tc), 0);
	if (place->xdp)
		load_xdp(g, w);
	g->host.obj = g->tc->obj;
	fill_edge(&g->host, w);
	for (size_t i = 0; i < w->n_sockets; i++)
		g->sockets[g->n_sockets++] = socket_at(w->sockets[i].protocol, w->sockets[i].port);
}

static void gateway_clean(struct gateway *g)
{
	for (size_t i = 0; i < g->n_sockets; i++)
		close(g->sockets[i]);
	host_clean(&g->host);
	kk_xdp__destroy(g->xdp);
	kk_tc__destroy(g->tc);
}

static int tc_action_of(enum kk_verdict verdict)
{
	switch (verdict) {
	case KK_PASS:
		return TC_ACT_UNSPEC;
	case KK_DROP:
		return TC_ACT_SHOT;
	default:
		return TC_ACT_REDIRECT;
	}
}

/* From outside: at XDP, and if it goes on there, at tc. */
static void run_inbound(struct gateway *g, const struct packet *in, struct outcome *ret)
{
	uint32_t action;

	if (g->xdp) {
		xdp_run(&g->host, g->xdp->progs.kk_xdp, in, ret);
		if (ret->reason != KK_REASON_MAX)
			return;
		assert_true(same_packet(in, &ret->packet));
	}
	test_run(bpf_program__fd(g->tc->progs.kk_tc_public), in, &ret->packet, &action);
	outcome_of(&g->host, ret);
	assert_int_equal((int)action, tc_action_of(ret->verdict));
}

/* Out of the tunnel, without a link header; what goes to the client gets room for one. */
static void run_outbound(struct gateway *g, const struct packet *in, struct outcome *ret)
{
	static uint8_t out[PACKET_MAX + ETH_HLEN];
	struct bpf_test_run_opts opts = {
		.sz = sizeof(opts),
		.data_in = in->data,
		.data_size_in = in->len,
		.data_out = out,
		.data_size_out = sizeof(out),
	};
	uint32_t link;

	if (bpf_prog_test_run_opts(bpf_program__fd(g->tc->progs.kk_tc_tunnel), &opts) < 0) {
		print_packet("in  ", in);
		fail_msg("BPF_PROG_TEST_RUN: %s", strerror(errno));
	}
	link = opts.retval == TC_ACT_REDIRECT ? ETH_HLEN : 0;
	assert_true(opts.data_size_out >= link && opts.data_size_out - link <= PACKET_MAX);
	ret->packet.len = opts.data_size_out - link;
	memcpy(ret->packet.data, out + link, ret->packet.len);
	outcome_of(&g->host, ret);
	assert_int_equal((int)opts.retval, tc_action_of(ret->verdict));
}

/* See test_bpf_packets.c: what the kernel takes for an Ethernet header, and what has to follow it. */
static bool can_run(enum kk_direction direction, const struct packet *in)
{
	if (direction == KK_INBOUND)
		return in->len >= 20;
	if (in->len <= ETH_HLEN)
		return false;
	return !(in->data[12] == 0x08 && in->data[13] == 0x00) &&
	       !(in->data[12] == 0x86 && in->data[13] == 0xdd);
}

static void run_packet(struct gateway *g, struct kk_user *user, enum kk_direction direction,
		       const struct packet *in, uint32_t seen[KK_REASON_MAX])
{
	static struct outcome theirs, ours, edge;

	if (direction == KK_INBOUND) {
		run_inbound(g, in, &theirs);
		user_both(user, in, &edge, &ours);
	} else {
		run_outbound(g, in, &theirs);
		user_run(user, direction, in, &ours);
	}
	seen[ours.reason]++;
	if (edge_same(&theirs, &ours))
		return;
	print_packet("in  ", in);
	print_packet("bpf ", &theirs.packet);
	print_packet("user", &ours.packet);
	fail_msg("%s, %s: %s, in user space %s", g->place->name,
		 direction == KK_INBOUND ? "inbound" : "outbound", edge_reason_name(theirs.reason),
		 kk_reason_name(ours.reason));
}

static void run_world(struct stream *s, const struct place *place, uint32_t seen[KK_REASON_MAX])
{
	static struct edge_world world;
	uint32_t often = draw(s, (uint32_t)s->n);
	struct gateway gateway;
	struct kk_user *user;

	random_world(s, &world);
	gateway_init(&gateway, place, &world);
	user = edge_user_new(&world);
	for (int i = 0; i < PACKETS_WORLD; i++) {
		static struct packet p;
		enum kk_direction direction = random_next(s, &world, often, &p);

		p.gso_size = 0; /* XDP has none */
		if (can_run(direction, &p))
			run_packet(&gateway, user, direction, &p, seen);
	}
	edge_user_free(user);
	gateway_clean(&gateway);
}

static void test_random_worlds(void **state)
{
	const char *wanted = getenv("KK_STREAM_PACKETS");
	long packets = wanted ? atol(wanted) : getenv("KK_VM") ? PACKETS_VM : PACKETS;
	uint32_t seen[KK_REASON_MAX] = {0};
	struct stream stream = {0};
	int met = 0;
	json_t *doc = load_cases(), *edge = load_edge_cases();

	(void)state;
	stream_init_all(&stream, doc, edge);
	for (long i = 0; i < packets / PACKETS_WORLD; i++)
		run_world(&stream, &places[(size_t)i % ARRAY_SIZE(places)], seen);
	for (int i = 0; i < KK_REASON_MAX; i++) {
		print_message("%8u %s\n", seen[i], kk_reason_name(i));
		met += seen[i] > 0;
	}
	assert_int_equal(seen[KK_REASON_HOST], 0);
	assert_true(met > KK_REASON_MAX / 2);
	free(stream.cases);
	json_decref(edge);
	json_decref(doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_worlds),
	};

	return kk_run_group_as_root("loads BPF programs", tests, own_namespace, NULL);
}
