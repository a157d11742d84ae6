// SPDX-License-Identifier: MIT
/*
 * agent_bring against real interfaces, a real engine and the real relay, in namespaces of the test's own:
 * what is made, what a change touches, what a new daemon adopts, what is mended, and that nothing is left.
 * Needs root and /dev/net/tun.
 */
#include "agentd/agent.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/net.h"
#include "tests/unit/kk_test.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/json.h"
#include "wgctl/wgctl.h"

static char run_dir[64], netns[32], ifname[16], engine[PATH_MAX];
static struct agent_options options = {
	.run_dir = run_dir,
	.tunnel = {.netns = netns, .ifname = ifname, .engine = engine},
};
static pid_t relay_pid;
static bool able;

/* Programs lie two folders above this one: build/unit/agentd/test_bring. */
static void find_program(const char *name, char out[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 32);

	assert_true(n > 0);
	out[n] = '\0';
	for (int i = 0; i < 3; i++)
		*strrchr(out, '/') = '\0';
	sprintf(out + strlen(out), "/%s", name);
}

static void start_relay(void)
{
	char program[PATH_MAX], path[128];

	find_program("kkrelay", program);
	snprintf(path, sizeof(path), "%s/relay.sock", run_dir);
	relay_pid = fork();
	if (relay_pid == 0) {
		execl(program, program, "--socket", path, NULL);
		_exit(127);
	}
	for (int i = 0; i < 500 && access(path, F_OK) < 0; i++)
		usleep(10000);
}

static int set_up(void **state)
{
	(void)state;
	snprintf(run_dir, sizeof(run_dir), "/run/kk-test-%d", (int)getpid());
	snprintf(netns, sizeof(netns), "kk-test-%d", (int)getpid());
	snprintf(ifname, sizeof(ifname), "kt%x", (unsigned int)getpid() & 0xfffff);
	find_program("kkwg", engine);
	/* The "host" is a namespace of our own, too. */
	if (geteuid() != 0 || access("/dev/net/tun", R_OK | W_OK) < 0 ||
	    unshare(CLONE_NEWNET) < 0) {
		print_message("skipped: needs root and /dev/net/tun\n");
		return 0;
	}
	if (kk_mkdir_p(run_dir, 0755) < 0)
		return -1;
	able = true;
	start_relay();
	return 0;
}

static int tear_down(void **state)
{
	struct kk_err err = {0};
	char path[128];

	(void)state;
	if (!able)
		return 0;
	kill(relay_pid, SIGTERM);
	waitpid(relay_pid, NULL, 0);
	if (tunnel_destroy(&options.tunnel, &err) < 0)
		print_message("%s\n", err.msg);
	snprintf(path, sizeof(path), "%s/relay.sock", run_dir);
	unlink(path);
	strcat(path, ".lock");
	unlink(path);
	return rmdir(run_dir);
}

/* Two gateways of which the second has no key yet, and two services. */
struct world {
	struct kk_config config;
	struct kk_gateway gateways[2];
	struct kk_service services[2];
};

static void world_init(struct world *w)
{
	*w = (struct world){.config = {.generation = 1, .n_gateways = 2, .n_services = 2}};
	w->config.gateways = w->gateways;
	w->config.services = w->services;
	w->config.self.subnet = (struct kk_prefix4){{htonl(0x0a070000)}, 24};
	for (unsigned int i = 0; i < 2; i++) {
		w->gateways[i] = (struct kk_gateway){.id = 11 + i, .index = (uint8_t)(1 + i)};
		w->gateways[i].endpoint.v4 =
			(struct sockaddr_in){.sin_family = AF_INET,
					     .sin_port = htons(51820),
					     .sin_addr.s_addr = htonl(0xc6336401 + i)};
		snprintf(w->gateways[i].name, sizeof(w->gateways[i].name), "gw%u", i + 1);
		memset(w->gateways[i].public_key, 0x40 + (int)i, KK_KEY_LEN);
		w->services[i] = (struct kk_service){.id = 21 + i,
						     .protocol = i ? IPPROTO_UDP : IPPROTO_TCP,
						     .port = (uint16_t)(2222 + i),
						     .last_port = (uint16_t)(2222 + i),
						     .agent_port = (uint16_t)(2222 + i)};
		snprintf(w->services[i].name, sizeof(w->services[i].name), "s%u", i);
		snprintf(w->services[i].target, KK_TARGET_MAX, "127.0.0.1:%u", 22 + i);
	}
	w->gateways[0].has_key = true;
}

static void agent_begin(struct agent *a)
{
	struct kk_err err = {0};

	*a = (struct agent){.run_dir = run_dir, .relay.fd = -1};
	if (relayctl_init(&a->relay, run_dir, &err) < 0 || relayctl_connect(&a->relay, &err) < 0 ||
	    tunnel_new(&options.tunnel, &a->tunnel, &err) < 0)
		fail_msg("%s", err.msg);
}

static void agent_finish(struct agent *a)
{
	relayctl_close(&a->relay);
	tunnel_free(a->tunnel);
}

static void bring(struct agent *a, const struct world *w)
{
	struct kk_err err = {0};

	if (agent_bring(a, &w->config, &err) < 0)
		fail_msg("%s", err.msg);
}

/* "21 22": what the relay serves, each on the Agent's address. */
static void assert_listeners(struct agent *a, const char *wanted)
{
	KK_CLEANUP_FREE struct relay_listener *list = NULL;
	struct kk_err err = {0};
	char text[256] = "";
	size_t n;

	if (relayctl_list(&a->relay, &list, &n, &err) < 0)
		fail_msg("%s", err.msg);
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(text);

		assert_int_equal(list[i].addresses[0].v4.s_addr, htonl(0x0a070064));
		snprintf(text + len, sizeof(text) - len, "%s%d", len ? " " : "",
			 (int)list[i].service);
	}
	assert_string_equal(text, wanted);
}

static int in_namespace(int (*what)(const char *), const char *argument)
{
	struct kk_err err = {0};
	bool made;
	KK_CLEANUP_CLOSE int fd = kk_netns_open(netns, &made, &err);
	KK_CLEANUP_NETNS int back = kk_netns_enter(fd);

	assert_true(back >= 0);
	return what(argument);
}

static int index_now(void)
{
	return in_namespace(kk_net_ifindex, ifname);
}

/* "11=198.51.100.1:51820 ...": the peers of the report. */
static void assert_peers(struct agent *a, const struct world *w, const char *wanted)
{
	KK_CLEANUP_JSON json_t *peers = tunnel_peers_json(a->tunnel, &w->config);
	char text[256] = "";
	size_t i;
	json_t *p;

	json_array_foreach(peers, i, p) {
		size_t len = strlen(text);

		snprintf(text + len, sizeof(text) - len, "%s%d=%s", len ? " " : "",
			 (int)json_integer_value(json_object_get(p, "gateway")),
			 json_string_value(json_object_get(p, "endpoint")));
	}
	assert_string_equal(text, wanted);
}

#define GW1 "11=198.51.100.1:51820"
#define GW2 "12=198.51.100.2:51820"

static size_t count_peers(void)
{
	KK_CLEANUP(wgctl_closep) struct wgctl *wg = NULL;
	struct wgctl_device device;
	struct kk_err err = {0};
	size_t n;

	/* By its socket, from the host's namespace, where no link has the name. */
	if (wgctl_adopt(ifname, &wg, &err) < 0 || wgctl_get(wg, &device, &err) < 0)
		fail_msg("%s", err.msg);
	n = device.n_peers;
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(device.peers[i].keepalive, 25);
		assert_int_equal(device.peers[i].n_allowed, 1);
		assert_int_equal(device.peers[i].allowed[0].len, 0);
	}
	wgctl_device_free(&device);
	return n;
}

static void test_make_change_and_adopt(void **state)
{
	uint8_t key[KK_KEY_LEN];
	struct world w, again;
	struct agent a;
	int first;

	(void)state;
	if (!able)
		skip();
	world_init(&w);
	agent_begin(&a);
	bring(&a, &w);
	assert_listeners(&a, "21 22");
	assert_peers(&a, &w, GW1);
	first = index_now();
	assert_true(first > 0);

	/* The second gateway says hello: another peer, and nothing else. */
	w.gateways[1].has_key = true;
	bring(&a, &w);
	assert_listeners(&a, "21 22");
	assert_peers(&a, &w, GW1 " " GW2);
	assert_int_equal(count_peers(), 2);

	/* A daemon that starts anew finds key, interface, peers and listeners. */
	memcpy(key, tunnel_public_key(a.tunnel), KK_KEY_LEN);
	agent_finish(&a);
	agent_begin(&a);
	assert_memory_equal(tunnel_public_key(a.tunnel), key, KK_KEY_LEN);
	assert_int_equal(count_peers(), 2);
	bring(&a, &w);
	assert_int_equal(index_now(), first);

	/* Ports change places; one listener's socket must go before the other's comes. */
	w.services[1].protocol = IPPROTO_TCP;
	bring(&a, &w);
	w.services[0].port = w.services[0].last_port = w.services[0].agent_port = 2223;
	w.services[1].port = w.services[1].last_port = w.services[1].agent_port = 2222;
	bring(&a, &w);
	assert_listeners(&a, "21 22");

	/* Gateway and service go. */
	again = w;
	again.config.gateways = again.gateways;
	again.config.services = again.services;
	again.config.n_gateways = again.config.n_services = 1;
	bring(&a, &again);
	assert_listeners(&a, "21");
	assert_peers(&a, &w, GW1);
	assert_int_equal(count_peers(), 1);

	again.config.n_gateways = again.config.n_services = 0;
	bring(&a, &again);
	assert_listeners(&a, "");
	assert_int_equal(count_peers(), 0);
	assert_int_equal(index_now(), first);
	agent_finish(&a);
}

static void test_peer(void **state)
{
	struct world w;
	struct agent a;

	(void)state;
	if (!able)
		skip();
	world_init(&w);
	agent_begin(&a);
	bring(&a, &w);
	assert_peers(&a, &w, GW1);
	/* The gateway was started anew, elsewhere: its old key is no peer any more. */
	memset(w.gateways[0].public_key, 0x50, KK_KEY_LEN);
	w.gateways[0].endpoint.v4.sin_addr.s_addr = htonl(0xc6336409);
	bring(&a, &w);
	assert_peers(&a, &w, "11=198.51.100.9:51820");
	assert_int_equal(count_peers(), 1);
	/* It only moved. */
	w.gateways[0].endpoint.v4.sin_port = htons(51821);
	bring(&a, &w);
	assert_peers(&a, &w, "11=198.51.100.9:51821");
	agent_finish(&a);
}

/* Another subnet: every socket on the old address is replaced. */
static void test_subnet(void **state)
{
	struct world w;
	struct agent a;

	(void)state;
	if (!able)
		skip();
	world_init(&w);
	agent_begin(&a);
	w.config.self.subnet.addr.s_addr = htonl(0x0a090000);
	bring(&a, &w);
	world_init(&w);
	bring(&a, &w);
	assert_listeners(&a, "21 22");
	agent_finish(&a);
}

static int delete_link(const char *name)
{
	return kk_net_link_del(name, NULL);
}

static void test_mending(void **state)
{
	struct world w;
	struct agent a;
	int before;

	(void)state;
	if (!able)
		skip();
	world_init(&w);
	agent_begin(&a);
	bring(&a, &w);
	assert_true(tunnel_check(a.tunnel));
	before = index_now();
	assert_int_equal(in_namespace(delete_link, ifname), 0);
	assert_false(tunnel_check(a.tunnel));
	bring(&a, &w);
	assert_true(index_now() > 0 && index_now() != before);
	assert_listeners(&a, "21 22");
	assert_peers(&a, &w, GW1);
	assert_true(tunnel_check(a.tunnel));
	agent_finish(&a);
}

static void test_port_that_is_taken(void **state)
{
	struct kk_err err = {0};
	struct world w;
	struct agent a;

	(void)state;
	if (!able)
		skip();
	world_init(&w);
	agent_begin(&a);
	bring(&a, &w);
	/* Two services on one port: Control would not say so, and it must not pass in silence. */
	w.services[1].protocol = IPPROTO_TCP;
	w.services[1].port = w.services[1].last_port = w.services[1].agent_port = 2222;
	assert_int_equal(agent_bring(&a, &w.config, &err), -EADDRINUSE);
	assert_err(&err, "agent_port", "cannot listen on tcp port 2222");
	agent_finish(&a);
}

/* Without reply to ingress answers would leave by any gateway: better none. */
static void test_engine_that_cannot(void **state)
{
	struct tunnel_options other = options.tunnel;
	struct tunnel *tunnel = NULL;
	struct kk_err err = {0};

	(void)state;
	if (!able)
		skip();
	other.engine = "wireguard-go";
	if (tunnel_destroy(&options.tunnel, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(tunnel_new(&other, &tunnel, &err), -EOPNOTSUPP);
	assert_err(&err, "engine", "cannot reply to ingress");
	assert_int_equal(kk_net_ifindex(ifname), -ENODEV);
	assert_int_equal(index_now(), -ENODEV);
}

static int read_setting(const char *path)
{
	KK_CLEANUP_FREE char *text = NULL;

	assert_int_equal(kk_file_read(path, 64, &text, NULL), 0);
	return atoi(text);
}

static void test_namespace_passes_nothing_on(void **state)
{
	struct world w;
	struct agent a;

	(void)state;
	if (!able)
		skip();
	world_init(&w);
	agent_begin(&a);
	bring(&a, &w);
	assert_int_equal(in_namespace(read_setting, "/proc/sys/net/ipv4/ip_forward"), 0);
	assert_int_equal(in_namespace(read_setting, "/proc/sys/net/ipv4/conf/all/rp_filter"), 0);
	assert_int_equal(in_namespace(read_setting, "/proc/sys/net/ipv4/conf/all/route_localnet"),
			 0);
	assert_int_equal(in_namespace(read_setting, "/proc/sys/net/ipv6/conf/all/forwarding"), 0);
	assert_int_equal(in_namespace(read_setting, "/proc/sys/net/ipv6/conf/default/accept_ra"),
			 0);
	agent_finish(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_make_change_and_adopt),
		cmocka_unit_test(test_peer),
		cmocka_unit_test(test_subnet),
		cmocka_unit_test(test_mending),
		cmocka_unit_test(test_port_that_is_taken),
		cmocka_unit_test(test_namespace_passes_nothing_on),
		cmocka_unit_test(test_engine_that_cannot),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
