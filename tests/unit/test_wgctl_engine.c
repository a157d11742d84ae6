// SPDX-License-Identifier: MIT
/*
 * wgctl with a real engine (wireguard-go) and, where the kernel has it, with the kernel's WireGuard: the same
 * walk through both. In a network namespace of the test's own; needs root and /dev/net/tun.
 */
#include "wgctl/wgctl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/net.h"
#include "util/cleanup.h"
#include "util/file.h"

#define N_PEERS 200 /* several netlink requests, and several messages of a dump */

static char ifname[IFNAMSIZ], socket_path[64];
static bool able;

/*
 * A directory of engine sockets of our own: whoever runs `wg show` on this machine removes the sockets of dead
 * engines, also those that a test has just left there to be found.
 */
static bool hide_sockets(void)
{
	return unshare(CLONE_NEWNS) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       kk_mkdir_p("/var/run/wireguard", 0755) == 0 &&
	       mount("kkt", "/var/run/wireguard", "tmpfs", 0, "mode=755") == 0;
}

static int enter_fresh_netns(void **state)
{
	(void)state;
	snprintf(ifname, sizeof(ifname), "kkt%d", (int)getpid());
	snprintf(socket_path, sizeof(socket_path), "/var/run/wireguard/%s.sock", ifname);
	able = unshare(CLONE_NEWNET) == 0 && hide_sockets();
	if (!able)
		print_message("skipped: no namespaces of our own: %s\n", strerror(errno));
	return 0;
}

static void require(bool kernel)
{
	struct kk_err err = {0};
	int r;

	if (!able)
		skip();
	if (!kernel) {
		if (access("/dev/net/tun", R_OK | W_OK) == 0)
			return;
		print_message("skipped: no /dev/net/tun here\n");
		skip();
	}
	r = kk_net_link_add(ifname, "wireguard", &err);
	if (r == -EOPNOTSUPP) {
		print_message("skipped: this kernel has no WireGuard\n");
		skip();
	}
	assert_int_equal(r, 0);
	assert_int_equal(kk_net_link_del(ifname, &err), 0);
}

static struct wgctl *open_tunnel(enum wgctl_kind kind, bool adopted)
{
	struct wgctl *wg = NULL;
	struct kk_err err = {0};
	bool is_adopted = !adopted;

	if (wgctl_open(ifname, kind, "wireguard-go", &wg, &is_adopted, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(is_adopted, adopted);
	return wg;
}

static void destroy(struct wgctl *wg)
{
	struct kk_err err = {0};
	struct stat st;

	if (wgctl_destroy(wg, &err) < 0)
		fail_msg("%s", err.msg);
	wgctl_close(wg);
	assert_int_equal(kk_net_ifindex(ifname), -ENODEV);
	assert_int_equal(stat(socket_path, &st), -1);
}

/* The process that answers at the socket. */
static pid_t engine_pid(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	KK_CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct ucred cred = {0};
	socklen_t len = sizeof(cred);

	strcpy(address.sun_path, socket_path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len), 0);
	return cred.pid;
}

/* Its end is seen once its parent, init, has collected it. */
static void assert_ends(pid_t pid)
{
	for (int i = 0; i < 500; i++) {
		if (kill(pid, 0) < 0)
			return;
		usleep(10000);
	}
	fail_msg("process %d is still there", (int)pid);
}

static struct wgctl_device get(struct wgctl *wg)
{
	struct wgctl_device d = {0};
	struct kk_err err = {0};

	if (wgctl_get(wg, &d, &err) < 0)
		fail_msg("%s", err.msg);
	return d;
}

static struct wgctl_peer make_peer(unsigned int i)
{
	struct wgctl_peer peer = {.keepalive = 25, .n_allowed = 2};

	memset(peer.public_key, 0x40, KK_KEY_LEN);
	peer.public_key[0] = (uint8_t)(i >> 8);
	peer.public_key[1] = (uint8_t)i;
	peer.endpoint.v4.sin_family = AF_INET;
	peer.endpoint.v4.sin_addr.s_addr = htonl(0xc6336401); /* 198.51.100.1 */
	peer.endpoint.v4.sin_port = htons((uint16_t)(1000 + i));
	peer.allowed[0] = (struct kk_prefix4){{htonl(0x0a000000 + ((i + 1) << 8))}, 24};
	peer.allowed[1] = (struct kk_prefix4){{htonl(0xc0000200 + i)}, 32};
	return peer;
}

static const struct wgctl_peer *find(const struct wgctl_device *d, const uint8_t *key)
{
	for (size_t i = 0; i < d->n_peers; i++)
		if (memcmp(d->peers[i].public_key, key, KK_KEY_LEN) == 0)
			return &d->peers[i];
	return NULL;
}

static bool allows(const struct wgctl_peer *peer, const struct kk_prefix4 *prefix)
{
	for (size_t i = 0; i < peer->n_allowed; i++)
		if (peer->allowed[i].addr.s_addr == prefix->addr.s_addr &&
		    peer->allowed[i].len == prefix->len)
			return true;
	return false;
}

static void assert_has_peer(const struct wgctl_device *d, const struct wgctl_peer *wanted)
{
	const struct wgctl_peer *peer = find(d, wanted->public_key);

	assert_non_null(peer);
	assert_int_equal(peer->keepalive, wanted->keepalive);
	assert_int_equal(peer->endpoint.v4.sin_port, wanted->endpoint.v4.sin_port);
	assert_int_equal(peer->endpoint.v4.sin_addr.s_addr, wanted->endpoint.v4.sin_addr.s_addr);
	assert_int_equal(peer->n_allowed, wanted->n_allowed);
	for (size_t i = 0; i < wanted->n_allowed; i++)
		assert_true(allows(peer, &wanted->allowed[i]));
	assert_int_equal(peer->last_handshake, 0);
}

/* Key, port, many peers at once, one changed, one removed; closed and adopted again in between. */
static void walk(enum wgctl_kind kind)
{
	struct wgctl_peer peers[N_PEERS];
	uint8_t key[KK_KEY_LEN], public_key[KK_KEY_LEN];
	struct kk_err err = {0};
	struct wgctl_device d;
	struct wgctl *wg = open_tunnel(kind, false);

	assert_int_equal(wgctl_kind(wg), kind);
	assert_true(kk_net_ifindex(ifname) > 0);
	assert_int_equal(wgctl_genkey(key), 0);
	assert_int_equal(wgctl_pubkey(key, public_key), 0);
	assert_int_equal(kk_net_link_set(ifname, true, 1420, &err), 0);
	assert_int_equal(wgctl_set_device(wg, key, 51999, &err), 0);
	for (unsigned int i = 0; i < N_PEERS; i++)
		peers[i] = make_peer(i);
	assert_int_equal(wgctl_set_peers(wg, peers, N_PEERS, &err), 0);
	wgctl_close(wg);

	wg = open_tunnel(WGCTL_AUTO, true);
	d = get(wg);
	assert_memory_equal(d.private_key, key, KK_KEY_LEN);
	assert_memory_equal(d.public_key, public_key, KK_KEY_LEN);
	assert_int_equal(d.listen_port, 51999);
	assert_int_equal(d.n_peers, N_PEERS);
	for (unsigned int i = 0; i < N_PEERS; i++)
		assert_has_peer(&d, &peers[i]);
	wgctl_device_free(&d);

	/* A prefix moves from one peer to another, and the last one goes. */
	peers[0].allowed[1] = peers[1].allowed[0];
	peers[0].keepalive = 0;
	assert_int_equal(wgctl_set_peers(wg, &peers[0], 1, &err), 0);
	assert_int_equal(wgctl_remove_peer(wg, peers[N_PEERS - 1].public_key, &err), 0);
	assert_int_equal(wgctl_remove_peer(wg, peers[N_PEERS - 1].public_key, &err), 0);
	d = get(wg);
	assert_int_equal(d.n_peers, N_PEERS - 1);
	assert_has_peer(&d, &peers[0]);
	assert_int_equal(find(&d, peers[1].public_key)->n_allowed, 1);
	assert_null(find(&d, peers[N_PEERS - 1].public_key));
	assert_has_peer(&d, &peers[N_PEERS - 2]);
	wgctl_device_free(&d);
	destroy(wg);
}

static void test_userspace(void **state)
{
	(void)state;
	require(false);
	walk(WGCTL_USERSPACE);
}

static void test_kernel(void **state)
{
	(void)state;
	require(true);
	walk(WGCTL_KERNEL);
}

static void test_port_taken(void **state)
{
	KK_CLEANUP_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(51998)};
	uint8_t key[KK_KEY_LEN];
	struct kk_err err = {0};
	struct wgctl_device d = {0};
	struct wgctl *wg;

	(void)state;
	require(false);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	wg = open_tunnel(WGCTL_USERSPACE, false);
	assert_int_equal(wgctl_genkey(key), 0);
	assert_int_equal(kk_net_link_set(ifname, true, 0, &err), 0);
	/* The engine binds once it has seen its interface up. */
	for (int i = 0; i < 200 && !d.listen_port; i++) {
		usleep(10000);
		d = get(wg);
		wgctl_device_free(&(struct wgctl_device){.peers = d.peers});
	}
	assert_int_not_equal(d.listen_port, 0);
	assert_int_equal(wgctl_set_device(wg, key, 51998, &err), -EADDRINUSE);
	assert_non_null(strstr(err.msg, "51998"));
	destroy(wg);
}

/* The engine is its own: another session, and the interface may move without it being lost. */
static void test_moved_to_another_netns(void **state)
{
	KK_CLEANUP_CLOSE int first = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	struct wgctl_peer peer = make_peer(7);
	struct kk_err err = {0};
	struct wgctl_device d;
	struct wgctl *wg;
	pid_t pid;

	(void)state;
	require(false);
	wg = open_tunnel(WGCTL_USERSPACE, false);
	pid = engine_pid();
	assert_int_equal(getsid(pid), getpgid(pid));
	assert_int_not_equal(getsid(pid), getsid(0));
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	{
		KK_CLEANUP_CLOSE int second =
			open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
		KK_CLEANUP_NETNS int back = kk_netns_enter(first);

		assert_true(back >= 0);
		assert_int_equal(kk_net_link_move(ifname, second, &err), 0);
		assert_int_equal(wgctl_set_peers(wg, &peer, 1, &err), 0);
		wgctl_close(wg);
		wg = open_tunnel(WGCTL_AUTO, true);
		d = get(wg);
		assert_has_peer(&d, &peer);
		wgctl_device_free(&d);
	}
	assert_int_equal(engine_pid(), pid);
	assert_true(kk_net_ifindex(ifname) > 0);
	destroy(wg);
	assert_ends(pid);
	assert_int_equal(setns(first, CLONE_NEWNET), 0);
}

static void test_dead_engine(void **state)
{
	struct kk_err err = {0};
	struct wgctl_device d = {0};
	struct wgctl *wg;
	struct stat st;
	pid_t pid;

	(void)state;
	require(false);
	wg = open_tunnel(WGCTL_USERSPACE, false);
	pid = engine_pid();
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_ends(pid);
	assert_int_equal(stat(socket_path, &st), 0); /* it left its socket */
	assert_int_equal(wgctl_get(wg, &d, &err), -ECONNREFUSED);
	assert_non_null(strstr(err.msg, "is gone"));
	wgctl_close(wg);
	wg = open_tunnel(WGCTL_USERSPACE, false);
	assert_int_not_equal(engine_pid(), pid);
	destroy(wg);
}

/* A stopped engine cannot notice that its interface was deleted, but we can. */
static void test_vanished_interface(void **state)
{
	struct kk_err err = {0};
	struct wgctl *wg;
	pid_t pid;

	(void)state;
	require(false);
	wg = open_tunnel(WGCTL_USERSPACE, false);
	pid = engine_pid();
	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_int_equal(kk_net_link_del(ifname, &err), 0);
	wgctl_close(wg);
	wg = open_tunnel(WGCTL_USERSPACE, false);
	assert_ends(pid);
	assert_true(kk_net_ifindex(ifname) > 0);
	destroy(wg);
}

static void test_name_taken(void **state)
{
	struct wgctl *wg = NULL;
	struct kk_err err = {0};
	bool adopted;

	(void)state;
	require(false);
	assert_int_equal(kk_net_link_add(ifname, "bridge", &err), 0);
	assert_int_equal(wgctl_open(ifname, WGCTL_AUTO, NULL, &wg, &adopted, &err), -EEXIST);
	assert_non_null(strstr(err.msg, "bridge"));
	assert_string_equal(err.field, "interface");
	assert_int_equal(kk_net_link_del(ifname, &err), 0);

	kk_err_reset(&err);
	wg = open_tunnel(WGCTL_USERSPACE, false);
	wgctl_close(wg);
	assert_int_equal(wgctl_open(ifname, WGCTL_KERNEL, NULL, &wg, &adopted, &err), -EEXIST);
	assert_non_null(strstr(err.msg, "userspace"));
	destroy(open_tunnel(WGCTL_AUTO, true));
}

static void test_bad_engine(void **state)
{
	struct wgctl *wg = NULL;
	struct kk_err err = {0};
	bool adopted;

	(void)state;
	require(false);
	assert_int_equal(
		wgctl_open(ifname, WGCTL_USERSPACE, "/nowhere/engine", &wg, &adopted, &err),
		-ENOENT);
	assert_string_equal(err.field, "engine");
	kk_err_reset(&err);
	assert_int_equal(
		wgctl_open(ifname, WGCTL_USERSPACE, "kk-no-such-engine", &wg, &adopted, &err),
		-ENOENT);
	kk_err_reset(&err);
	assert_int_equal(wgctl_open(ifname, WGCTL_USERSPACE, "/bin/false", &wg, &adopted, &err),
			 -ECHILD);
	assert_non_null(strstr(err.msg, "/false"));
	kk_err_reset(&err);
	/* Executable, but not a program of any form. */
	assert_int_equal(wgctl_open(ifname, WGCTL_USERSPACE, "/etc", &wg, &adopted, &err), -EACCES);
	kk_err_reset(&err);
	assert_int_equal(wgctl_open("../x", WGCTL_USERSPACE, NULL, &wg, &adopted, &err), -EINVAL);
	assert_string_equal(err.field, "interface");
	kk_err_reset(&err);
	assert_int_equal(wgctl_open("", WGCTL_USERSPACE, NULL, &wg, &adopted, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_userspace),   cmocka_unit_test(test_kernel),
		cmocka_unit_test(test_port_taken),  cmocka_unit_test(test_moved_to_another_netns),
		cmocka_unit_test(test_dead_engine), cmocka_unit_test(test_vanished_interface),
		cmocka_unit_test(test_name_taken),  cmocka_unit_test(test_bad_engine),
	};

	return cmocka_run_group_tests(tests, enter_fresh_netns, NULL);
}
