// SPDX-License-Identifier: MIT
/*
 * The kernel module as a host of the forwarding core: the packet cases, by KK_CMD_TRY, have to fare there as in the
 * other hosts, byte for byte. The module must be loaded; needs root.
 */
#include "tests/unit/packet_cases.h"

#include "tests/unit/datapath_world.h"

#include "genl/module.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_cases, enter_fresh_netns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
