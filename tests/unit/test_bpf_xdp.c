// SPDX-License-Identifier: MIT
/*
 * The core at XDP under BPF_PROG_TEST_RUN, and the edge at XDP and at tc: the packet cases, and streams of mutated packets
 * that have to fare there as in user space, byte for byte. Needs root.
 */
#include "bpf_hosts.h"

#include <linux/pkt_cls.h>

#include "kk_tc.skel.h"
#include "kk_xdp.skel.h"
#include "kk_xdp_forward.skel.h"

#define STREAM_PACKETS	  1000000 /* or as KK_STREAM_PACKETS says */
#define STREAM_PACKETS_VM 50000	  /* an emulated processor takes ten times as long */

/* ---- a stream of packets that are nearly right ---- */

struct stream {
	struct packet *packets;
	enum kk_direction *directions;
	size_t n;
	uint64_t random; /* xorshift64: the same stream on every machine */
};

static uint32_t draw(struct stream *s, uint32_t below)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	return (uint32_t)(s->random >> 33) % below;
}

static void stream_add(struct stream *s, const struct packet *packet, enum kk_direction direction)
{
	s->packets = reallocarray(s->packets, s->n + 1, sizeof(*s->packets));
	s->directions = reallocarray(s->directions, s->n + 1, sizeof(*s->directions));
	assert_true(s->packets && s->directions);
	s->packets[s->n] = *packet;
	s->directions[s->n++] = direction;
}

static void stream_free(struct stream *s)
{
	free(s->packets);
	free(s->directions);
}

/* Words that decide something where they happen to land. */
static void mutate(struct stream *s, struct packet *p)
{
	static const uint16_t words[] = {22,	 53,	 80,	 2222,	 3478,	 3479,
					 27015,	 51820,	 4500,	 40000,	 0,	 1,
					 0xffff, 0x4500, 0x5002, 0x5004, 0x5010, 0xc633,
					 0x6401, 0x0a01, 0xcb00, 0x7132, 0x2000, 0x4000};

	for (uint32_t n = draw(s, 4); n > 0; n--) {
		uint32_t at = draw(s, p->len < 64 ? p->len : 64);
		uint16_t word = words[draw(s, ARRAY_SIZE(words))];

		switch (draw(s, 5)) {
		case 0:
			p->data[at] ^= (uint8_t)(1u << draw(s, 8));
			break;
		case 1:
			if (p->len > 21)
				p->len = draw(s, 4) ? p->len : 20 + draw(s, p->len - 20);
			break;
		case 2:
			p->len += p->len + 8 <= PACKET_MAX ? draw(s, 8) : 0;
			break;
		case 3:
			p->data[8] = (uint8_t)draw(s, 3);
			break;
		default:
			at &= ~1u;
			if (at + 2 <= p->len) {
				p->data[at] = (uint8_t)(word >> 8);
				p->data[at + 1] = (uint8_t)word;
			}
		}
	}
}

static long stream_length(void)
{
	const char *wanted = getenv("KK_STREAM_PACKETS");

	return wanted ? atol(wanted) : getenv("KK_VM") ? STREAM_PACKETS_VM : STREAM_PACKETS;
}

static void differ(const char *host, const struct packet *in, const struct outcome *theirs,
		   const struct outcome *ours)
{
	print_packet("in  ", in);
	print_packet("bpf ", &theirs->packet);
	print_packet("user", &ours->packet);
	fail_msg("%s at %s, %s in user space", edge_reason_name(theirs->reason), host,
		 edge_reason_name(ours->reason));
}

/* ---- forwarding ---- */

static struct kk_xdp_forward *forward_load(struct bpf_host *host, struct packet_world *world)
{
	struct kk_xdp_forward *skel = kk_xdp_forward__open();
	struct kk_err err = {0};

	assert_non_null(skel);
	skel->rodata->kk_settings = world->settings;
	skel->rodata->kk_public_ifindex = 1;
	skel->rodata->kk_tunnel_ifindex = 1;
	assert_int_equal(kk_tables_size(skel->obj, SLOTS, &err), 0);
	assert_int_equal(kk_xdp_forward__load(skel), 0);
	host->obj = skel->obj;
	fill(host, world);
	return skel;
}

/* XDP has no packets of segments, and an Ethernet header in front of something. */
static bool can_run(const struct packet *in)
{
	return !in->gso_size && in->len >= 1;
}

static void forward_run(struct bpf_host *host, struct kk_xdp_forward *skel,
			enum kk_direction direction, const struct packet *in, struct outcome *ret)
{
	const struct bpf_program *prog =
		direction == KK_INBOUND ? skel->progs.kk_xdp_public : skel->progs.kk_xdp_tunnel;
	uint32_t action;

	test_run(bpf_program__fd(prog), in, &ret->packet, &action);
	outcome_of(host, ret);
	assert_int_equal(action, xdp_action_of(ret->verdict));
}

static void test_forward_cases(void **state)
{
	json_t *doc = load_cases(), *world_obj, *obj;
	size_t i, j, n = 0;

	(void)state;
	json_array_foreach(json_object_get(doc, "worlds"), i, world_obj) {
		static struct packet_world world;
		struct bpf_host host = {.name = "xdp"};
		struct kk_xdp_forward *skel;

		world = world_of(world_obj);
		skel = forward_load(&host, &world);
		json_array_foreach(json_object_get(world_obj, "cases"), j, obj) {
			static struct packet_case c;
			static struct outcome got;

			case_of(world_obj, obj, &c);
			if (!can_run(&c.in))
				continue;
			forward_run(&host, skel, c.direction, &c.in, &got);
			assert_case(&c, &got);
			n++;
		}
		host_clean(&host);
		kk_xdp_forward__destroy(skel);
	}
	json_decref(doc);
	print_message("%zu cases\n", n);
	assert_true(n > 100);
}

static void test_forward_stream(void **state)
{
	json_t *doc = load_cases();
	const json_t *world_obj = json_array_get(json_object_get(doc, "worlds"), 0), *obj;
	static struct packet_world world;
	struct stream stream = {.random = 0x9e3779b97f4a7c15};
	struct bpf_host host = {.name = "xdp"};
	struct kk_xdp_forward *skel;
	struct kk_user *user;
	size_t i;

	(void)state;
	world = world_of(world_obj);
	skel = forward_load(&host, &world);
	user = user_new(&world);
	json_array_foreach(json_object_get(world_obj, "cases"), i, obj) {
		static struct packet_case c;

		case_of(world_obj, obj, &c);
		if (can_run(&c.in))
			stream_add(&stream, &c.in, c.direction);
	}
	for (long k = stream_length() / 2; k > 0; k--) {
		static struct outcome theirs, ours;
		static struct packet p;
		size_t which = draw(&stream, (uint32_t)stream.n);

		p = stream.packets[which];
		if (p.len >= 20)
			mutate(&stream, &p);
		forward_run(&host, skel, stream.directions[which], &p, &theirs);
		user_run(user, stream.directions[which], &p, &ours);
		if (theirs.reason != ours.reason || !same_packet(&theirs.packet, &ours.packet))
			differ("xdp", &p, &theirs, &ours);
	}
	stream_free(&stream);
	host_clean(&host);
	kk_xdp_forward__destroy(skel);
	kk_user_free(user);
	json_decref(doc);
}

/* ---- the edge ---- */

struct edge_hosts {
	struct bpf_host xdp, tc, both;
	struct kk_xdp *xdp_skel;
	struct kk_xdp_forward *both_skel;
	struct kk_tc *tc_skel;
	int sockets[EDGE_MAX];
	size_t n_sockets;
};

static void edge_init(struct edge_hosts *h, struct edge_world *w)
{
	struct kk_err err = {0};

	*h = (struct edge_hosts){
		.xdp = {.name = "xdp"}, .tc = {.name = "tc"}, .both = {.name = "both at xdp"}};
	EDGE_LOAD(h->xdp_skel, kk_xdp, w);
	EDGE_LOAD(h->tc_skel, kk_tc, w);
	EDGE_LOAD(h->both_skel, kk_xdp_forward, w);
	h->xdp.obj = h->xdp_skel->obj;
	h->tc.obj = h->tc_skel->obj;
	fill_edge(&h->xdp, w);
	h->both.obj = h->both_skel->obj;
	fill_edge(&h->tc, w);
	fill_edge(&h->both, w);
	for (size_t i = 0; i < w->n_sockets; i++)
		h->sockets[h->n_sockets++] = socket_at(w->sockets[i].protocol, w->sockets[i].port);
}

static void edge_clean(struct edge_hosts *h)
{
	for (size_t i = 0; i < h->n_sockets; i++)
		close(h->sockets[i]);
	host_clean(&h->xdp);
	host_clean(&h->tc);
	host_clean(&h->both);
	kk_xdp_forward__destroy(h->both_skel);
	kk_xdp__destroy(h->xdp_skel);
	kk_tc__destroy(h->tc_skel);
}

/* The same in one program at XDP. */
static void edge_both_run(struct edge_hosts *h, const struct packet *in, struct outcome *ret)
{
	uint32_t action;

	test_run(bpf_program__fd(h->both_skel->progs.kk_xdp_both), in, &ret->packet, &action);
	outcome_of(&h->both, ret);
	assert_int_equal(action, xdp_action_of(ret->verdict));
}

/* At tc what the edge lets on is forwarded: *@ret_forwarded, else the outcome is the edge's. */
static void edge_tc_run(struct edge_hosts *h, const struct packet *in, struct outcome *ret)
{
	uint32_t action;

	test_run(bpf_program__fd(h->tc_skel->progs.kk_tc_public), in, &ret->packet, &action);
	outcome_of(&h->tc, ret);
	switch (ret->verdict) {
	case KK_PASS:
		assert_int_equal((int)action, TC_ACT_UNSPEC);
		break;
	case KK_DROP:
		assert_int_equal((int)action, TC_ACT_SHOT);
		break;
	default:
		assert_int_equal((int)action, TC_ACT_REDIRECT);
	}
}

static void test_edge_cases(void **state)
{
	json_t *doc = load_edge_cases(), *world_obj, *obj;
	size_t i, j;

	(void)state;
	json_array_foreach(json_object_get(doc, "worlds"), i, world_obj) {
		static struct edge_world world;
		struct edge_hosts hosts;

		edge_world_of(world_obj, &world);
		edge_init(&hosts, &world);
		json_array_foreach(json_object_get(world_obj, "cases"), j, obj) {
			static struct edge_case c;
			static struct outcome got;

			edge_case_of(obj, &c);
			xdp_run(&hosts.xdp, hosts.xdp_skel->progs.kk_xdp, &c.in, &got);
			assert_edge_case(world.name, "edge at XDP", &c, &got);
			edge_tc_run(&hosts, &c.in, &got);
			if (strcmp(c.reason, "on") != 0)
				assert_edge_case(world.name, "edge at tc", &c, &got);
		}
		edge_clean(&hosts);
	}
	json_decref(doc);
}

static void edge_stream_init(struct stream *s, const json_t *world_obj)
{
	const json_t *obj;
	size_t i;

	json_array_foreach(json_object_get(world_obj, "cases"), i, obj) {
		static struct edge_case c;

		edge_case_of(obj, &c);
		stream_add(s, &c.in, KK_INBOUND);
	}
}

/* Every world's packets mutated, through the edge at XDP, and with what comes after it at tc. */
static void test_edge_stream(void **state)
{
	json_t *doc = load_edge_cases(), *world_obj;
	uint32_t seen[KK_REASON_MAX + 1] = {0};
	size_t i, n = json_array_size(json_object_get(doc, "worlds"));

	(void)state;
	json_array_foreach(json_object_get(doc, "worlds"), i, world_obj) {
		static struct edge_world world;
		struct stream stream = {.random = 0x9e3779b97f4a7c15 + i};
		struct edge_hosts hosts;
		struct kk_user *user;

		edge_world_of(world_obj, &world);
		edge_init(&hosts, &world);
		user = edge_user_new(&world);
		edge_stream_init(&stream, world_obj);
		for (long k = stream_length() / 2 / (long)n; k > 0; k--) {
			static struct outcome theirs, ours, both;
			static struct packet p;

			p = stream.packets[draw(&stream, (uint32_t)stream.n)];
			mutate(&stream, &p);
			user_both(user, &p, &ours, &both);
			xdp_run(&hosts.xdp, hosts.xdp_skel->progs.kk_xdp, &p, &theirs);
			seen[ours.reason]++;
			if (!edge_same(&theirs, &ours))
				differ("xdp", &p, &theirs, &ours);
			edge_tc_run(&hosts, &p, &theirs);
			if (!edge_same(&theirs, &both))
				differ("tc", &p, &theirs, &both);
			edge_both_run(&hosts, &p, &theirs);
			if (!edge_same(&theirs, &both))
				differ("both at xdp", &p, &theirs, &both);
		}
		stream_free(&stream);
		edge_clean(&hosts);
		kk_user_free(user);
	}
	for (int r = 0; r <= KK_REASON_MAX; r++)
		if (seen[r])
			print_message("%8u %s\n", seen[r], edge_reason_name(r));
	assert_true(seen[KK_REASON_SYN_CHALLENGE] && seen[KK_REASON_RELAYED] &&
		    seen[KK_REASON_CLOSED_PORT] && seen[KK_REASON_MALFORMED]);
	json_decref(doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forward_cases),
		cmocka_unit_test(test_edge_cases),
		cmocka_unit_test(test_forward_stream),
		cmocka_unit_test(test_edge_stream),
	};

	return kk_run_group_as_root("loads BPF programs", tests, own_namespace, NULL);
}
