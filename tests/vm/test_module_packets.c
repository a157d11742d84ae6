// SPDX-License-Identifier: MIT
/*
 * The kernel module as a host of the forwarding core: the packet cases and the stream of mutated packets, by KK_CMD_TRY,
 * have to fare there as in the other hosts, byte for byte. The module must be loaded; needs root.
 */
#include "tests/unit/packet_stream.h"

#include "tests/unit/datapath_world.h"

#include "genl/module.h"

#define STREAM_PACKETS 60000 /* or as KK_STREAM_PACKETS says: an emulated processor is slow */

struct module_host {
	struct kk_module module;
	struct kk_module_settings settings;
};

static int enter_fresh_netns(void **state)
{
	struct kk_err err = {0};

	(void)state;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_ok(kk_net_link_add(WORLD_PUBLIC, "veth", &err), &err);
	assert_true(world_tun(WORLD_TUNNEL) >= 0);
	return 0;
}

/* The module has neither groups nor translated flows nor guards, and says so itself (test_module_netlink). */
static bool is_of_the_module(const struct packet_world *world)
{
	for (size_t i = 0; i < world->n_listeners; i++)
		if (world->listeners[i].group || world->listeners[i].snat)
			return false;
	return true;
}

static void host_load(struct module_host *host, const struct packet_world *world)
{
	struct kk_err err = {0};

	host->settings = (struct kk_module_settings){
		.core = world->settings,
		.public_ifindex = if_nametoindex(WORLD_PUBLIC),
		.tunnel_ifindex = if_nametoindex(WORLD_TUNNEL),
	};
	assert_ok(kk_module_replace(&host->module, &host->settings, world->listeners,
				    world->n_listeners, &err),
		  &err);
}

static void host_run(struct module_host *host, enum kk_direction direction, const struct packet *in,
		     struct outcome *ret)
{
	struct kk_module_trial trial = {
		.direction = direction,
		.gso_size = (uint16_t)in->gso_size,
		.data = (uint8_t *)in->data,
		.len = in->len,
	};
	struct kk_err err = {0};

	assert_ok(kk_module_try(&host->module, &trial, &err), &err);
	ret->reason = trial.reason;
	ret->verdict = kk_verdict(trial.reason);
	assert_true(trial.len <= PACKET_MAX);
	ret->packet.len = trial.len;
	memcpy(ret->packet.data, trial.data, trial.len);
	free(trial.data);
}

static void test_cases(void **state)
{
	json_t *doc = load_cases(), *world_obj, *obj;
	struct module_host host;
	struct kk_err err = {0};
	size_t i, j, n = 0;

	(void)state;
	assert_ok(kk_module_open(&host.module, &err), &err);
	json_array_foreach(json_object_get(doc, "worlds"), i, world_obj) {
		struct packet_world world = world_of(world_obj);

		if (!is_of_the_module(&world)) {
			print_message("%s: has what the module has not\n",
				      text_of(world_obj, "name"));
			continue;
		}
		host_load(&host, &world);
		json_array_foreach(json_object_get(world_obj, "cases"), j, obj) {
			static struct packet_case c;
			static struct outcome got;

			case_of(world_obj, obj, &c);
			host_run(&host, c.direction, &c.in, &got);
			assert_case(&c, &got);
			n++;
		}
	}
	kk_module_close(&host.module);
	json_decref(doc);
	print_message("%zu cases\n", n);
	assert_true(n > 100);
}

static void compare(struct module_host *host, struct kk_user *user, enum kk_direction direction,
		    const struct packet *in, uint32_t seen[KK_REASON_MAX])
{
	static struct outcome theirs, ours;

	host_run(host, direction, in, &theirs);
	user_run(user, direction, in, &ours);
	seen[ours.reason]++;
	if (theirs.reason == ours.reason && same_packet(&theirs.packet, &ours.packet))
		return;
	print_packet("in    ", in);
	print_packet("module", &theirs.packet);
	print_packet("user  ", &ours.packet);
	fail_msg("%s: %s in the module, %s in user space",
		 direction == KK_INBOUND ? "inbound" : "outbound", kk_reason_name(theirs.reason),
		 kk_reason_name(ours.reason));
}

static void run_stream(struct module_host *host, const json_t *world_obj, long packets,
		       uint32_t seen[KK_REASON_MAX])
{
	struct packet_world world = world_of(world_obj);
	struct kk_user *user = user_new(&world);
	struct stream stream = {0};

	stream_init(&stream, world_obj);
	host_load(host, &world);
	for (size_t i = 0; i < stream.n + (size_t)packets; i++) {
		static struct packet p;
		enum kk_direction direction = stream_next(&stream, i, &p);

		/* The path gets what the stack took for a packet. */
		if (p.len >= (is_ip6(&p) ? sizeof(struct kk_ip6) : sizeof(struct kk_ip4)))
			compare(host, user, direction, &p, seen);
	}
	free(stream.cases);
	kk_user_free(user);
}

static void test_mutated_stream(void **state)
{
	const char *wanted = getenv("KK_STREAM_PACKETS");
	long packets = wanted ? atol(wanted) : STREAM_PACKETS;
	uint32_t seen[KK_REASON_MAX] = {0};
	json_t *doc = load_cases();
	const json_t *worlds = json_object_get(doc, "worlds");
	struct module_host host;
	struct kk_err err = {0};

	(void)state;
	assert_ok(kk_module_open(&host.module, &err), &err);
	run_stream(&host, json_array_get(worlds, 0), packets / 2, seen);
	run_stream(&host, json_array_get(worlds, 1), packets / 2, seen);
	stream_check(seen, (uint32_t)packets / 10000);
	kk_module_close(&host.module);
	json_decref(doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_cases, enter_fresh_netns),
		cmocka_unit_test_setup(test_mutated_stream, enter_fresh_netns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
