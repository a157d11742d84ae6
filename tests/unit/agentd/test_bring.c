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

static char run_dir[64], netns[32], prefix[16];
static struct agent_options options = {
	.run_dir = run_dir,
	.tunnel = {.netns = netns, .prefix = prefix, .kind = WGCTL_USERSPACE},
};
static pid_t relay_pid;
static bool able;

/* The relay lies two folders above this program: build/unit/agentd/test_bring. */
static void start_relay(void)
{
	char program[PATH_MAX], path[128];
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);

	assert_true(n > 0);
	program[n] = '\0';
	for (int i = 0; i < 3; i++)
		*strrchr(program, '/') = '\0';
	strcat(program, "/kkrelay");
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
	snprintf(prefix, sizeof(prefix), "kt%xx", (unsigned int)getpid() & 0xfffff);
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
		w->gateways[i].endpoint =
			(struct sockaddr_in){.sin_family = AF_INET,
					     .sin_port = htons(51820),
					     .sin_addr.s_addr = htonl(0xc6336401 + i)};
		snprintf(w->gateways[i].name, sizeof(w->gateways[i].name), "gw%u", i + 1);
		memset(w->gateways[i].public_key, 0x40 + (int)i, KK_KEY_LEN);
		w->services[i] = (struct kk_service){.id = 21 + i,
						     .protocol = i ? IPPROTO_UDP : IPPROTO_TCP,
						     .port = (uint16_t)(2222 + i),
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

/* "21@11 22@11": what the relay serves, each with its interface in place. */
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

		assert_non_null(strstr(list[i].device, prefix));
		snprintf(text + len, sizeof(text) - len, "%s%d@%d", len ? " " : "",
			 (int)list[i].service, (int)list[i].gateway);
	}
	assert_string_equal(text, wanted);
}

static int in_namespace(int (*what)(const char *), const char *ifname)
{
	struct kk_err err = {0};
	bool made;
	KK_CLEANUP_CLOSE int fd = kk_netns_open(netns, &made, &err);
	KK_CLEANUP_NETNS int back = kk_netns_enter(fd);

	assert_true(back >= 0);
	return what(ifname);
}

static int index_of(uint8_t gateway)
{
	char ifname[32];

	snprintf(ifname, sizeof(ifname), "%s%u", prefix, gateway);
	return in_namespace(kk_net_ifindex, ifname);
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
	assert_listeners(&a, "21@11 22@11");
	first = index_of(1);
	assert_true(first > 0);
	assert_true(index_of(2) < 0);

	/* The second gateway says hello: the first one's interface is the same as before. */
	w.gateways[1].has_key = true;
	bring(&a, &w);
	assert_listeners(&a, "21@11 21@12 22@11 22@12");
	assert_int_equal(index_of(1), first);

	/* A daemon that starts anew finds key, interfaces and listeners. */
	memcpy(key, tunnel_public_key(a.tunnel), KK_KEY_LEN);
	agent_finish(&a);
	agent_begin(&a);
	assert_memory_equal(tunnel_public_key(a.tunnel), key, KK_KEY_LEN);
	assert_true(tunnel_is_up(a.tunnel, 1) && tunnel_is_up(a.tunnel, 2));
	bring(&a, &w);
	assert_int_equal(index_of(1), first);

	/* Ports change places; one listener's socket must go before the other's comes. */
	w.services[1].protocol = IPPROTO_TCP;
	bring(&a, &w);
	w.services[0].port = w.services[0].agent_port = 2223;
	w.services[1].port = w.services[1].agent_port = 2222;
	bring(&a, &w);
	assert_listeners(&a, "21@11 21@12 22@11 22@12");

	/* Gateway and service go. */
	again = w;
	again.config.gateways = again.gateways;
	again.config.services = again.services;
	again.config.n_gateways = again.config.n_services = 1;
	bring(&a, &again);
	assert_listeners(&a, "21@11");
	assert_true(index_of(2) < 0);
	assert_int_equal(index_of(1), first);

	again.config.n_gateways = 0;
	bring(&a, &again);
	assert_listeners(&a, "");
	assert_true(index_of(1) < 0);
	agent_finish(&a);
}

static void test_peer(void **state)
{
	KK_CLEANUP_JSON json_t *peer = NULL;
	struct world w;
	struct agent a;

	(void)state;
	if (!able)
		skip();
	world_init(&w);
	agent_begin(&a);
	bring(&a, &w);
	peer = tunnel_peer_json(a.tunnel, 1);
	assert_string_equal(json_string_value(json_object_get(peer, "endpoint")),
			    "198.51.100.1:51820");
	json_decref(peer);
	/* The gateway was started anew, elsewhere: its old key is no peer any more. */
	memset(w.gateways[0].public_key, 0x50, KK_KEY_LEN);
	w.gateways[0].endpoint.sin_addr.s_addr = htonl(0xc6336409);
	bring(&a, &w);
	peer = tunnel_peer_json(a.tunnel, 1);
	assert_string_equal(json_string_value(json_object_get(peer, "endpoint")),
			    "198.51.100.9:51820");
	agent_finish(&a);
}

static int delete_link(const char *ifname)
{
	return kk_net_link_del(ifname, NULL);
}

static void test_mending(void **state)
{
	struct world w;
	struct agent a;
	char ifname[32];
	int before;

	(void)state;
	if (!able)
		skip();
	world_init(&w);
	agent_begin(&a);
	bring(&a, &w);
	assert_true(tunnel_check(a.tunnel));
	before = index_of(1);
	snprintf(ifname, sizeof(ifname), "%s1", prefix);
	assert_int_equal(in_namespace(delete_link, ifname), 0);
	assert_false(tunnel_check(a.tunnel));
	bring(&a, &w);
	assert_true(index_of(1) > 0 && index_of(1) != before);
	assert_listeners(&a, "21@11 22@11");
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
	w.services[1].port = w.services[1].agent_port = 2222;
	assert_int_equal(agent_bring(&a, &w.config, &err), -EADDRINUSE);
	assert_err(&err, "agent_port", "cannot listen on tcp port 2222");
	agent_finish(&a);
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
	assert_int_equal(in_namespace(read_setting, "/proc/sys/net/ipv6/conf/all/disable_ipv6"), 1);
	agent_finish(&a);
}

/* The same with kernel WireGuard, where there is one (make check-vm). */
static int set_up_kernel(void **state)
{
	struct kk_err err = {0};
	int r = set_up(state);

	if (r < 0 || !able)
		return r;
	options.tunnel.kind = WGCTL_KERNEL;
	if (kk_net_link_add("kktprobe", "wireguard", &err) == 0)
		return kk_net_link_del("kktprobe", &err);
	print_message("skipped: %s\n", err.msg);
	r = tear_down(state);
	able = false;
	return r;
}

int main(void)
{
	const struct CMUnitTest userspace[] = {
		cmocka_unit_test(test_make_change_and_adopt),
		cmocka_unit_test(test_peer),
		cmocka_unit_test(test_mending),
		cmocka_unit_test(test_port_that_is_taken),
		cmocka_unit_test(test_namespace_passes_nothing_on),
	};
	const struct CMUnitTest kernel[] = {
		cmocka_unit_test(test_make_change_and_adopt),
		cmocka_unit_test(test_peer),
		cmocka_unit_test(test_mending),
	};
	int failed = cmocka_run_group_tests(userspace, set_up, tear_down);

	return failed + cmocka_run_group_tests(kernel, set_up_kernel, tear_down);
}
