// SPDX-License-Identifier: MIT
/*
 * The core at XDP under BPF_PROG_TEST_RUN, and the edge at XDP and at tc: the packet cases, and streams of mutated packets
 * that have to fare there as in user space, byte for byte. Needs root.
 */
#include "edge_cases.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <bpf/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include "bpf/sieve.h"
#include "bpf/tables.h"
#include "kk_tc.skel.h"
#include "kk_xdp.skel.h"
#include "kk_xdp_forward.skel.h"
#include "net/net.h"

#define SLOTS 4 /* two addresses of each family */

#define STREAM_PACKETS	  1000000 /* or as KK_STREAM_PACKETS says */
#define STREAM_PACKETS_VM 50000	  /* an emulated processor takes ten times as long */

/* ---- programs and their tables ---- */

struct bpf_host {
	const char *name;
	struct bpf_object *obj;
	struct kk_tables tables;
	struct kk_counter *per_cpu;
	struct kk_counter before[KK_REASON_MAX];
};

static void put(struct bpf_object *obj, const char *map, const void *key, const void *value)
{
	int fd = bpf_object__find_map_fd_by_name(obj, map);

	assert_true(fd >= 0);
	if (bpf_map_update_elem(fd, key, value, BPF_ANY) < 0)
		fail_msg("%s: %s", map, strerror(errno));
}

static void fill(struct bpf_host *host, struct packet_world *world)
{
	const struct kk_datapath_tables wanted = tables_of(world);
	struct kk_err err = {0};

	host->tables = (struct kk_tables){0};
	assert_int_equal(kk_tables_init(&host->tables, host->obj, &err), 0);
	host->tables.settings = world->settings;
	if (kk_tables_set(&host->tables, &wanted, &err) < 0)
		fail_msg("%s", err.msg);
	host->per_cpu = calloc((size_t)host->tables.n_cpus * KK_REASON_MAX, sizeof(*host->per_cpu));
	assert_non_null(host->per_cpu);
	memset(host->before, 0, sizeof(host->before));
}

/* The guarded services' words and slots, as the loader would have them. */
static void fill_policies(struct bpf_host *host, const struct edge_world *w)
{
	for (size_t i = 0; i < w->n_policies; i++) {
		uint32_t number = (uint32_t)i + 1, slot = 0;

		put(host->obj, "kk_policies", &number, &w->policies[i].policy);
		for (uint32_t s = 1; s < KK_SERVICES_MAX && !slot; s++)
			if (host->tables.services[s].id == w->policies[i].service)
				slot = s;
		assert_true(slot);
		host->tables.services[slot].policy = (uint16_t)number;
		for (size_t j = 0; j < KK_LISTENERS_PER_ADDRESS; j++)
			if (kk_listener_service(host->tables.listeners[j]) == slot)
				host->tables.listeners[j] |= KK_LISTENER_GUARDED;
	}
}

static void fill_edge(struct bpf_host *host, struct edge_world *w)
{
	const uint32_t zero = 0;

	fill(host, &w->base);
	put(host->obj, "kk_features", &zero, &w->features);
	for (size_t i = 0; i < w->n_relays; i++)
		put(host->obj, "kk_relays", &w->relays[i].key, &w->relays[i].value);
	for (size_t i = 0; i < w->n_verified; i++)
		put(host->obj, "kk_verified", &w->verified[i].source, &w->verified[i].until);
	for (size_t i = 0; i < w->n_bans; i++)
		put(host->obj, "kk_bans", &w->bans[i].key, &w->bans[i].until);
	for (size_t i = 0; i < w->n_lists; i++)
		put(host->obj, "kk_lists", &w->lists[i].key, &w->lists[i].value);
	assert_int_equal(kk_sieve_make(&host->tables, NULL), 0);
	fill_policies(host, w);
}

static void host_clean(struct bpf_host *host)
{
	free(host->per_cpu);
	kk_tables_clean(&host->tables);
}

static void read_counters(struct bpf_host *host, struct kk_counter counters[KK_REASON_MAX])
{
	__u32 keys[KK_REASON_MAX], n = KK_REASON_MAX, token;

	if (bpf_map_lookup_batch(host->tables.counters_fd, NULL, &token, keys, host->per_cpu, &n,
				 NULL) < 0)
		assert_int_equal(errno, ENOENT);
	assert_int_equal(n, KK_REASON_MAX);
	memset(counters, 0, KK_REASON_MAX * sizeof(*counters));
	for (__u32 i = 0; i < n; i++)
		for (int cpu = 0; cpu < host->tables.n_cpus; cpu++) {
			const struct kk_counter *c =
				&host->per_cpu[i * (__u32)host->tables.n_cpus + (__u32)cpu];

			counters[keys[i]].packets += c->packets;
			counters[keys[i]].bytes += c->bytes;
		}
}

/* ---- running ---- */

static void test_run(int prog_fd, const struct packet *in, struct packet *out, uint32_t *action)
{
	static uint8_t frame[PACKET_MAX + ETH_HLEN], back[PACKET_MAX + 2 * ETH_HLEN];
	struct bpf_test_run_opts opts = {
		.sz = sizeof(opts),
		.data_in = frame,
		.data_size_in = ETH_HLEN + in->len,
		.data_out = back,
		.data_size_out = sizeof(back),
	};
	bool ip6;

	/* The kernel wants a whole header of what the frame says. */
	ip6 = in->data[0] >> 4 == 6 && in->len >= 40;
	memset(frame, 0, ETH_HLEN);
	frame[12] = ip6 ? ETH_P_IPV6 >> 8 : ETH_P_IP >> 8;
	frame[13] = ip6 ? ETH_P_IPV6 & 0xff : 0;
	memcpy(frame + ETH_HLEN, in->data, in->len);
	if (bpf_prog_test_run_opts(prog_fd, &opts) < 0) {
		print_packet("in  ", in);
		fail_msg("BPF_PROG_TEST_RUN: %s", strerror(errno));
	}
	*action = opts.retval;
	assert_true(opts.data_size_out >= ETH_HLEN && opts.data_size_out - ETH_HLEN <= PACKET_MAX);
	out->len = opts.data_size_out - ETH_HLEN;
	out->gso_size = 0;
	memcpy(out->data, back + ETH_HLEN, out->len);
}

/* The reason is the one that was counted; KK_REASON_MAX: none. */
static void outcome_of(struct bpf_host *host, struct outcome *ret)
{
	struct kk_counter after[KK_REASON_MAX];

	read_counters(host, after);
	ret->reason = KK_REASON_MAX;
	for (int i = 0; i < KK_REASON_MAX; i++)
		if (after[i].packets != host->before[i].packets)
			ret->reason = i;
	ret->verdict = ret->reason == KK_REASON_MAX ? KK_PASS : kk_verdict(ret->reason);
	assert_counted(host->before, after, ret->reason, ret->packet.len);
	memcpy(host->before, after, sizeof(after));
}

static uint32_t xdp_action_of(enum kk_verdict verdict)
{
	switch (verdict) {
	case KK_PASS:
		return XDP_PASS;
	case KK_TO_TUNNEL:
		return XDP_REDIRECT;
	case KK_TO_NIC:
	case KK_BACK:
		return XDP_TX;
	default:
		return XDP_DROP;
	}
}

static void xdp_run(struct bpf_host *host, const struct bpf_program *prog, const struct packet *in,
		    struct outcome *ret)
{
	uint32_t action;

	test_run(bpf_program__fd(prog), in, &ret->packet, &action);
	outcome_of(host, ret);
	assert_int_equal(action, xdp_action_of(ret->verdict));
}

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

#define EDGE_LOAD(skel, prefix, w)                                                                 \
	do {                                                                                       \
		(skel) = prefix##__open();                                                         \
		assert_non_null(skel);                                                             \
		(skel)->rodata->kk_settings = (w)->base.settings;                                  \
		(skel)->rodata->kk_edge_settings = (w)->settings;                                  \
		(skel)->rodata->kk_now = (w)->now;                                                 \
		(skel)->rodata->kk_public_ifindex = 1;                                             \
		(skel)->rodata->kk_tunnel_ifindex = 1;                                             \
		assert_int_equal(kk_tables_size((skel)->obj, SLOTS, &err), 0);                     \
		assert_int_equal(prefix##__load(skel), 0);                                         \
	} while (0)

static int socket_at(uint8_t protocol, uint16_t port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int fd =
		socket(AF_INET6, (protocol == KK_TCP ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
	if (protocol == KK_TCP)
		assert_int_equal(listen(fd, 1), 0);
	return fd;
}

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

/* What comes after the edge at tc, in user space. */
static void user_both(struct kk_user *user, const struct packet *in, struct outcome *edge,
		      struct outcome *both)
{
	edge_user_run(user, in, edge);
	if (edge->reason == KK_REASON_MAX)
		user_run(user, KK_INBOUND, in, both);
	else
		*both = *edge;
}

static bool edge_same(const struct outcome *theirs, const struct outcome *ours)
{
	if (theirs->reason != ours->reason)
		return false;
	return ours->reason == KK_REASON_SYN_CHALLENGE
		       ? edge_same_packet(&theirs->packet, &ours->packet)
		       : same_packet(&theirs->packet, &ours->packet);
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

/* In a namespace of its own, whose lo is the device of the test runs. */
static int setup(void **state)
{
	struct kk_err err = {0};

	(void)state;
	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	return kk_net_link_set("lo", true, 0, &err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forward_cases),
		cmocka_unit_test(test_edge_cases),
		cmocka_unit_test(test_forward_stream),
		cmocka_unit_test(test_edge_stream),
	};

	return kk_run_group_as_root("loads BPF programs", tests, setup, NULL);
}
