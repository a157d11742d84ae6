// SPDX-License-Identifier: MIT
/*
 * The tc programs under BPF_PROG_TEST_RUN: the packet cases, and a stream of mutated packets that
 * has to fare there as in user space, byte for byte. Needs root.
 */
#include "bpf_host.h"
#include "packet_stream.h"

#include <stdbool.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include "bpf/summed.h"
#include "kk_tc.skel.h"

#ifndef BPF_F_TEST_SKB_CHECKSUM_COMPLETE
#define BPF_F_TEST_SKB_CHECKSUM_COMPLETE (1U << 2) /* younger than some headers */
#endif

#define STREAM_PACKETS	  1000000 /* or as KK_STREAM_PACKETS says */
#define STREAM_PACKETS_VM 100000  /* an emulated processor takes ten times as long */

struct tc_host {
	struct bpf_host base;
	struct kk_tc *skel;
};

/* @helper: checksums are left to the kernel's helper, as where the kernel does not tell what has become of them. */
static void tc_init(struct tc_host *host, struct packet_world *world, bool helper)
{
	struct kk_err err = {0};

	host->skel = kk_tc__open();
	assert_non_null(host->skel);
	host->skel->rodata->kk_settings = world->settings;
	host->skel->rodata->kk_public_ifindex = 1;
	host->skel->rodata->kk_tunnel_ifindex = 1;
	if (!helper)
		host->skel->rodata->kk_skb_summed = kk_summed_prepare(host->skel->obj);
	host->skel->data->kk_edge_here = 0; /* test_bpf_xdp.c has it */
	assert_int_equal(kk_tables_size(host->skel->obj, SLOTS, &err), 0);
	assert_int_equal(kk_tc__load(host->skel), 0);
	host->base.obj = host->skel->obj;
	fill(&host->base, world);
}

static void tc_clean(struct tc_host *host)
{
	host_clean(&host->base);
	kk_tc__destroy(host->skel);
}

/* The program gives an action, the counters the reason; they must agree. */
static int action_of(enum kk_verdict verdict)
{
	switch (verdict) {
	case KK_PASS:
		return TC_ACT_UNSPEC;
	case KK_TO_TUNNEL:
	case KK_TO_NIC:
		return TC_ACT_REDIRECT;
	default:
		return TC_ACT_SHOT;
	}
}

/* The protocol in the Ethernet header of a packet, by its first byte. */
static const char *ether_type(const uint8_t *data, uint32_t len)
{
	return len && data[0] >> 4 == 6 ? "\x86\xdd" : "\x08\x00";
}

/*
 * The kernel takes 14 bytes for an Ethernet header. The public program gets one, of the right
 * protocol and addressed to the device (lo: zero). The tunnel's program gets its packet bare, as
 * from a layer-3 device.
 */
static int test_run(struct tc_host *host, enum kk_direction direction, const struct packet *in,
		    uint8_t *out, uint32_t *out_len, uint32_t *action, uint32_t flags)
{
	const struct bpf_program *prog = direction == KK_INBOUND ? host->skel->progs.kk_tc_public
								 : host->skel->progs.kk_tc_tunnel;
	uint32_t link = direction == KK_INBOUND ? ETH_HLEN : 0;
	uint8_t frame[PACKET_MAX + ETH_HLEN] = {0};
	struct __sk_buff ctx = {.gso_size = in->gso_size};
	struct bpf_test_run_opts opts = {
		.sz = sizeof(opts),
		.data_in = frame,
		.data_size_in = link + in->len,
		.data_out = out,
		.data_size_out = PACKET_MAX + ETH_HLEN,
		.ctx_in = &ctx,
		.ctx_size_in = sizeof(ctx),
		.flags = flags,
	};

	if (link)
		memcpy(frame + 12, ether_type(in->data, in->len), 2);
	memcpy(frame + link, in->data, in->len);
	if (bpf_prog_test_run_opts(bpf_program__fd(prog), &opts) < 0)
		return -errno;
	*out_len = opts.data_size_out;
	*action = opts.retval;
	return 0;
}

static void tc_run(struct tc_host *host, enum kk_direction direction, const struct packet *in,
		   struct outcome *ret)
{
	struct kk_counter after[KK_REASON_MAX];
	uint8_t out[PACKET_MAX + ETH_HLEN];
	uint32_t len, action, link;
	int r;

	r = test_run(host, direction, in, out, &len, &action, 0);
	if (r < 0) {
		print_packet("in  ", in);
		fail_msg("BPF_PROG_TEST_RUN: %s", strerror(-r));
	}
	ret->reason = read_reason(&host->base, after);
	ret->verdict = kk_verdict(ret->reason);
	assert_int_equal((int)action, action_of(ret->verdict));
	link = direction == KK_INBOUND || ret->verdict == KK_TO_NIC ? ETH_HLEN : 0;
	assert_true(len >= link && len - link <= PACKET_MAX);
	if (link)
		assert_memory_equal(out + 12, ether_type(in->data, in->len), 2);
	ret->packet.len = len - link;
	memcpy(ret->packet.data, out + link, ret->packet.len);

	assert_counted(host->base.before, after, ret->reason, ret->packet.len);
	memcpy(host->base.before, after, sizeof(after));
}

/*
 * What the kernel lets BPF_PROG_TEST_RUN have: a byte behind what it takes for the Ethernet header,
 * and a whole header of the protocol that it finds there. With a bare packet that is part of the
 * source address.
 */
static bool can_run(enum kk_direction direction, const struct packet *in)
{
	if (direction == KK_INBOUND)
		return in->len >= (in->len && in->data[0] >> 4 == 6 ? sizeof(struct kk_ip6)
								    : sizeof(struct kk_ip4));
	if (in->len <= ETH_HLEN)
		return false;
	return !(in->data[12] == 0x08 && in->data[13] == 0x00) &&
	       !(in->data[12] == 0x86 && in->data[13] == 0xdd);
}

static size_t run_cases(bool helper)
{
	json_t *doc = load_cases(), *world_obj, *obj;
	size_t i, j, n = 0;

	json_array_foreach(json_object_get(doc, "worlds"), i, world_obj) {
		struct packet_world world = world_of(world_obj);
		struct tc_host host;

		tc_init(&host, &world, helper);
		json_array_foreach(json_object_get(world_obj, "cases"), j, obj) {
			static struct packet_case c;
			static struct outcome got;

			case_of(world_obj, obj, &c);
			if (!can_run(c.direction, &c.in)) {
				assert_non_null(strstr(c.name, "cut within the header"));
				continue;
			}
			tc_run(&host, c.direction, &c.in, &got);
			assert_case(&c, &got);
			n++;
		}
		tc_clean(&host);
	}
	json_decref(doc);
	return n;
}

static void test_cases(void **state)
{
	size_t n = run_cases(false);

	(void)state;
	print_message("%zu cases\n", n);
	assert_true(n > 100);
	assert_int_equal(run_cases(true), n);
}

/* The traffic of all services together, inbound. */
static struct kk_counter inbound_of(const struct tc_host *host)
{
	KK_CLEANUP_FREE struct kk_datapath_service *list = NULL;
	struct kk_counter sum = {0};
	struct kk_err err = {0};
	int n = kk_tables_services(&host->base.tables, &list, &err);

	assert_true(n > 0);
	for (int i = 0; i < n; i++) {
		sum.packets += list[i].in_packets;
		sum.bytes += list[i].in_bytes;
	}
	return sum;
}

/* Words of traffic that are about to run over are moved to the totals, and nothing is lost. */
static void test_traffic_moves(void **state)
{
	const __u64 before_full = ((1ULL << 19) - 2) << KK_TRAFFIC_SHIFT | 1000;
	json_t *doc = load_cases();
	const json_t *world_obj = json_array_get(json_object_get(doc, "worlds"), 0), *obj;
	struct packet_world world = world_of(world_obj);
	struct kk_counter before, after;
	struct tc_host host;
	uint64_t packets = 0, bytes = 0, moved = 0;
	size_t i;

	(void)state;
	tc_init(&host, &world, false);
	for (__u32 cpu = 0; cpu < host.base.tables.n_traffic; cpu++)
		for (__u32 slot = 1; slot < 100; slot++)
			host.base.tables.traffic[kk_traffic_index(cpu, KK_INBOUND, slot)] =
				before_full;
	before = inbound_of(&host);
	json_array_foreach(json_object_get(world_obj, "cases"), i, obj) {
		static struct packet_case c;
		static struct outcome got;

		case_of(world_obj, obj, &c);
		if (!can_run(c.direction, &c.in) || strcmp(c.verdict, "tunnel") != 0)
			continue;
		for (int k = 0; k < 3; k++) {
			tc_run(&host, c.direction, &c.in, &got);
			if (got.verdict != KK_TO_TUNNEL)
				continue;
			packets++;
			bytes += got.packet.len;
		}
	}
	after = inbound_of(&host);
	assert_int_equal(after.packets - before.packets, packets);
	assert_int_equal(after.bytes - before.bytes, bytes);
	for (__u32 slot = 1; slot < 100; slot++)
		moved += host.base.tables.totals[kk_total_index(KK_INBOUND, slot)].packets;
	assert_true(moved >= 1u << 19);
	tc_clean(&host);
	json_decref(doc);
}

/*
 * Of a packet without a checksum the kernel leaves the sum as it is, and no receiver looks at it;
 * with a packet that it shortens it forgets the sum. The test run looks all the same.
 */
static bool loses_its_sum(const char *name)
{
	return strstr(name, "without a checksum") || strstr(name, "padding");
}

/*
 * Packets whose checksum the device has summed up whole: the kernel itself checks that the sum is
 * still right.
 */
static size_t run_complete(const json_t *world_obj)
{
	struct packet_world world = world_of(world_obj);
	struct tc_host host;
	const json_t *obj;
	size_t i, n = 0;

	tc_init(&host, &world, false);
	json_array_foreach(json_object_get(world_obj, "cases"), i, obj) {
		static struct packet_case c;
		uint8_t out[PACKET_MAX + ETH_HLEN];
		uint32_t len, action;
		int r;

		case_of(world_obj, obj, &c);
		if (strcmp(c.verdict, "tunnel") != 0 || loses_its_sum(c.name))
			continue;
		r = test_run(&host, c.direction, &c.in, out, &len, &action,
			     BPF_F_TEST_SKB_CHECKSUM_COMPLETE);
		if (r == -EINVAL && n == 0)
			break;
		if (r < 0)
			fail_msg("%s: %s", c.name, strerror(-r));
		n++;
	}
	tc_clean(&host);
	return n;
}

static void test_checksum_complete(void **state)
{
	json_t *doc = load_cases(), *world_obj;
	size_t i, n = 0;

	(void)state;
	json_array_foreach(json_object_get(doc, "worlds"), i, world_obj)
		n += run_complete(world_obj);
	json_decref(doc);
	if (n == 0) {
		print_message("skipped: BPF_PROG_TEST_RUN here has no CHECKSUM_COMPLETE\n");
		skip();
	}
	assert_true(n > 20);
}

static void compare_hosts(struct tc_host *host, struct kk_user *user, enum kk_direction direction,
			  const struct packet *in, uint32_t seen[KK_REASON_MAX])
{
	static struct outcome theirs, ours;

	tc_run(host, direction, in, &theirs);
	user_run(user, direction, in, &ours);
	seen[ours.reason]++;
	if (theirs.reason == ours.reason && same_packet(&theirs.packet, &ours.packet))
		return;
	print_packet("in  ", in);
	print_packet("bpf ", &theirs.packet);
	print_packet("user", &ours.packet);
	fail_msg("%s: %s at tc, %s in user space", direction == KK_INBOUND ? "inbound" : "outbound",
		 kk_reason_name(theirs.reason), kk_reason_name(ours.reason));
}

/* The cases of one world, first as they are, and then @packets of the stream that is made of them. */
static void run_stream(const json_t *world_obj, long packets, uint32_t seen[KK_REASON_MAX])
{
	struct packet_world world = world_of(world_obj);
	struct kk_user *user = user_new(&world);
	struct stream stream = {0};
	struct tc_host host;

	stream_init(&stream, world_obj);
	tc_init(&host, &world, false);
	for (long i = 0; i < (long)stream.n + packets; i++) {
		bool first = i < (long)stream.n;
		const struct packet_case *c =
			&stream.cases[first ? (uint32_t)i : draw(&stream, (uint32_t)stream.n)];
		static struct packet p;

		p = c->in;
		if (!first)
			mutate(&stream, &p);
		if (can_run(c->direction, &p))
			compare_hosts(&host, user, c->direction, &p, seen);
	}
	tc_clean(&host);
	free(stream.cases);
	kk_user_free(user);
}

static void test_mutated_stream(void **state)
{
	const char *wanted = getenv("KK_STREAM_PACKETS");
	long packets = wanted ? atol(wanted) : getenv("KK_VM") ? STREAM_PACKETS_VM : STREAM_PACKETS;
	const json_t *worlds;
	uint32_t seen[KK_REASON_MAX] = {0};
	json_t *doc = load_cases();

	(void)state;
	worlds = json_object_get(doc, "worlds");
	run_stream(json_array_get(worlds, 0), packets / 2, seen);
	run_stream(json_array_get(worlds, 1), packets / 2, seen);
	/* A stream that never gets somewhere compares nothing there. */
	for (int i = 0; i < KK_REASON_MAX; i++) {
		print_message("%8u %s\n", seen[i], kk_reason_name(i));
		if (seen[i] < 100 && i != KK_REASON_HOST && !is_of_edge((enum kk_reason)i))
			fail_msg("only %u packets of the stream ended as %s", seen[i],
				 kk_reason_name(i));
	}
	json_decref(doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_traffic_moves),
		cmocka_unit_test(test_checksum_complete),
		cmocka_unit_test(test_mutated_stream),
	};

	return kk_run_group_as_root("loads BPF programs", tests, own_namespace, NULL);
}
