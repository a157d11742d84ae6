// SPDX-License-Identifier: MIT
/*
 * wgctl's kernel back end against the kernel's WireGuard, with wg(8) as the witness: what wgctl sets, wg shows,
 * and what wg sets, wgctl reads. In a network namespace of the test's own; needs root.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/kk_test.h"

#include "net/net.h"
#include "util/cleanup.h"
#include "wgctl/wgctl.h"

#define IFNAME	"kkvm0"
#define OTHER	"kkvm1"
#define N_MANY	1000
#define N_READS 100
#define WAIT_MS 20000

/* Fails the test with what @err says. */
#define assert_ok(call, err)                                                                       \
	do {                                                                                       \
		int r_ = (call);                                                                   \
		if (r_ < 0)                                                                        \
			fail_msg("%d: %s", r_, (err)->msg);                                        \
	} while (0)

static int enter_fresh_netns(void **state)
{
	(void)state;
	return unshare(CLONE_NEWNET);
}

/* What a command of wg(8) or ip(8) writes, to be freed; the test fails if it does. */
__attribute__((format(printf, 1, 2))) static char *shell(const char *fmt, ...)
{
	char command[512], *text = NULL;
	size_t len = 0;
	va_list args;
	FILE *pipe;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	if (getdelim(&text, &len, '\0', pipe) < 0) {
		free(text);
		text = strdup("");
	}
	assert_non_null(text);
	if (pclose(pipe) != 0)
		fail_msg("%s: failed: %s", command, text);
	return text;
}

#define SHELL(...) free(shell(__VA_ARGS__))

/* `wg show INTERFACE dump` without its first line, sorted. */
static char *dump(const char *ifname)
{
	return shell("wg show %s dump | tail -n +2 | sort", ifname);
}

static struct wgctl *open_tunnel(const char *ifname, bool adopted)
{
	struct wgctl *wg = NULL;
	struct kk_err err = {0};
	bool is_adopted = !adopted;

	assert_ok(wgctl_open(ifname, WGCTL_KERNEL, NULL, &wg, &is_adopted, &err), &err);
	assert_int_equal(is_adopted, adopted);
	assert_int_equal(wgctl_kind(wg), WGCTL_KERNEL);
	return wg;
}

static void end(struct wgctl *wg)
{
	struct kk_err err = {0};

	assert_ok(wgctl_destroy(wg, &err), &err);
	wgctl_close(wg);
}

/* A peer whose key is of no use but to name it. */
static struct wgctl_peer peer_number(unsigned int i)
{
	struct wgctl_peer peer = {
		.endpoint.v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(1024 + i))},
		.keepalive = (uint16_t)(i % 60),
		.n_allowed = 1 + i % WGCTL_ALLOWED_MAX,
	};

	memcpy(peer.public_key, &i, sizeof(i));
	peer.public_key[KK_KEY_LEN - 1] = 1;
	peer.endpoint.v4.sin_addr.s_addr = htonl(0xc6336400 + i % 250);
	for (size_t a = 0; a < peer.n_allowed; a++) {
		peer.allowed[a].addr.s_addr = htonl(0x0a000000 | i << 8 | (uint32_t)a << 4);
		peer.allowed[a].len = (uint8_t)(a ? 28 + a % 5 : 32);
	}
	return peer;
}

static int compare_prefixes(const void *a, const void *b)
{
	const struct kk_prefix4 *x = a, *y = b;
	uint32_t left = ntohl(x->addr.s_addr), right = ntohl(y->addr.s_addr);

	if (left != right)
		return left < right ? -1 : 1;
	return (int)x->len - (int)y->len;
}

/* The line of `wg show dump` for @peer before its first handshake, allowed IPs sorted. */
static void expected_line(const struct wgctl_peer *peer, char *out, size_t len)
{
	char key[KK_KEY_BASE64_LEN + 1], address[INET_ADDRSTRLEN], keepalive[8] = "off";
	struct kk_prefix4 allowed[WGCTL_ALLOWED_MAX];
	size_t at;

	kk_key_format(peer->public_key, key);
	inet_ntop(AF_INET, &peer->endpoint.v4.sin_addr, address, sizeof(address));
	at = (size_t)snprintf(out, len, "%s\t(none)\t%s:%u\t", key, address,
			      ntohs(peer->endpoint.v4.sin_port));
	memcpy(allowed, peer->allowed, sizeof(allowed));
	qsort(allowed, peer->n_allowed, sizeof(*allowed), compare_prefixes);
	for (size_t i = 0; i < peer->n_allowed; i++) {
		inet_ntop(AF_INET, &allowed[i].addr, address, sizeof(address));
		at += (size_t)snprintf(out + at, len - at, "%s%s/%u", i ? "," : "", address,
				       allowed[i].len);
	}
	if (peer->keepalive)
		snprintf(keepalive, sizeof(keepalive), "%u", peer->keepalive);
	snprintf(out + at, len - at, "%s\t0\t0\t0\t%s", peer->n_allowed ? "" : "(none)", keepalive);
}

/* The same line with the comma-separated prefixes of its fourth field sorted as expected_line has them. */
static void sort_allowed(char *line, char *out, size_t len)
{
	struct kk_prefix4 prefixes[WGCTL_ALLOWED_MAX] = {0};
	char *fields[8], *save = NULL, address[INET_ADDRSTRLEN];
	struct kk_err err = {0};
	size_t n = 0, at;

	for (size_t i = 0; i < 8; i++)
		assert_non_null(fields[i] = strsep(&line, "\t"));
	at = (size_t)snprintf(out, len, "%s\t%s\t%s\t", fields[0], fields[1], fields[2]);
	for (char *one = strtok_r(fields[3], ",", &save); one && strcmp(one, "(none)") != 0;
	     one = strtok_r(NULL, ",", &save)) {
		assert_true(n < WGCTL_ALLOWED_MAX);
		assert_ok(kk_parse_prefix4("", one, &prefixes[n++], &err), &err);
	}
	qsort(prefixes, n, sizeof(*prefixes), compare_prefixes);
	for (size_t i = 0; i < n; i++) {
		inet_ntop(AF_INET, &prefixes[i].addr, address, sizeof(address));
		at += (size_t)snprintf(out + at, len - at, "%s%s/%u", i ? "," : "", address,
				       prefixes[i].len);
	}
	snprintf(out + at, len - at, "%s\t%s\t%s\t%s\t%s", n ? "" : "(none)", fields[4], fields[5],
		 fields[6], fields[7]);
}

/* What wg shows is @peers, in any order, and so is what wgctl_get reads. */
static void assert_peers(struct wgctl *wg, const struct wgctl_peer *peers, size_t n)
{
	KK_CLEANUP_FREE char *text = dump(IFNAME);
	struct wgctl_device device = {0};
	char *rest = text, *line;
	struct kk_err err = {0};
	size_t shown = 0;

	for (; (line = strsep(&rest, "\n")) && *line; shown++) {
		char want[1024] = "", got[1024];
		uint8_t key[KK_KEY_LEN];
		char text_key[KK_KEY_BASE64_LEN + 1];

		snprintf(text_key, sizeof(text_key), "%s", line);
		assert_int_equal(kk_key_parse(text_key, key), 0);
		for (size_t i = 0; i < n; i++)
			if (memcmp(peers[i].public_key, key, KK_KEY_LEN) == 0)
				expected_line(&peers[i], want, sizeof(want));
		sort_allowed(line, got, sizeof(got));
		assert_string_equal(got, want);
	}
	assert_int_equal(shown, n);

	assert_ok(wgctl_get(wg, &device, &err), &err);
	assert_int_equal(device.n_peers, n);
	for (size_t i = 0; i < n; i++) {
		char want[1024], got[1024] = "";

		for (size_t d = 0; d < n; d++)
			if (memcmp(peers[i].public_key, device.peers[d].public_key, KK_KEY_LEN) ==
			    0) {
				expected_line(&device.peers[d], got, sizeof(got));
				assert_false(device.peers[d].allowed_other);
				assert_int_equal(device.peers[d].last_handshake, 0);
			}
		expected_line(&peers[i], want, sizeof(want));
		assert_string_equal(got, want);
	}
	wgctl_device_free(&device);
}

static void test_device(void **state)
{
	struct wgctl *wg = open_tunnel(IFNAME, false);
	uint8_t key[KK_KEY_LEN], public_key[KK_KEY_LEN];
	char key_text[KK_KEY_BASE64_LEN + 1], public_text[KK_KEY_BASE64_LEN + 1], want[256];
	struct wgctl_device device;
	struct kk_err err = {0};
	char *shown;

	(void)state;
	assert_int_equal(wgctl_genkey(key), 0);
	assert_int_equal(wgctl_pubkey(key, public_key), 0);
	kk_key_format(key, key_text);
	kk_key_format(public_key, public_text);
	assert_ok(wgctl_set_device(wg, key, 51820, &err), &err);

	snprintf(want, sizeof(want), "%s\t%s\t51820\toff\n", key_text, public_text);
	shown = shell("wg show " IFNAME " dump");
	assert_string_equal(shown, want);
	free(shown);

	assert_ok(wgctl_get(wg, &device, &err), &err);
	assert_memory_equal(device.private_key, key, KK_KEY_LEN);
	assert_memory_equal(device.public_key, public_key, KK_KEY_LEN);
	assert_int_equal(device.listen_port, 51820);
	assert_int_equal(device.n_peers, 0);
	wgctl_device_free(&device);
	end(wg);
	shown = shell("ip -o link show type wireguard");
	assert_string_equal(shown, "");
	free(shown);
}

/* Adds, changes, takes an allowed IP from one for the other, removes. */
static void test_peers(void **state)
{
	struct wgctl *wg = open_tunnel(IFNAME, false);
	struct wgctl_peer peers[3] = {peer_number(5), peer_number(6), peer_number(7)};
	struct wgctl_peer change;
	struct kk_err err = {0};

	(void)state;
	assert_ok(wgctl_set_peers(wg, peers, 3, &err), &err);
	assert_peers(wg, peers, 3);

	/* No endpoint given: it stays. The allowed IPs are replaced, not added to. */
	peers[1].keepalive = 0;
	peers[1].n_allowed = 1;
	peers[1].allowed[0] = peers[0].allowed[2];
	change = peers[1];
	change.endpoint.v4.sin_family = 0;
	assert_ok(wgctl_set_peers(wg, &change, 1, &err), &err);
	peers[0].allowed[2] = peers[0].allowed[--peers[0].n_allowed];
	assert_peers(wg, peers, 3);

	peers[2].n_allowed = 0;
	peers[2].endpoint.v4.sin_port = htons(9);
	assert_ok(wgctl_set_peers(wg, &peers[2], 1, &err), &err);
	assert_peers(wg, peers, 3);

	assert_ok(wgctl_remove_peer(wg, peers[0].public_key, &err), &err);
	assert_peers(wg, peers + 1, 2);
	end(wg);
}

static void test_many_peers(void **state)
{
	KK_CLEANUP_FREE struct wgctl_peer *peers = calloc(N_MANY, sizeof(*peers));
	struct wgctl *wg = open_tunnel(IFNAME, false);
	struct kk_err err = {0};

	(void)state;
	assert_non_null(peers);
	for (unsigned int i = 0; i < N_MANY; i++)
		peers[i] = peer_number(i);
	assert_ok(wgctl_set_peers(wg, peers, N_MANY, &err), &err);
	assert_peers(wg, peers, N_MANY);
	for (unsigned int i = 0; i < N_MANY; i++)
		peers[i].keepalive = 25;
	assert_ok(wgctl_set_peers(wg, peers, N_MANY, &err), &err);
	assert_peers(wg, peers, N_MANY);
	end(wg);
}

/* What another set up with wg(8), with what wgctl has no place for: IPv6, and 500 allowed IPs over many messages. */
static void test_adopt(void **state)
{
	char key_text[KK_KEY_BASE64_LEN + 1];
	struct wgctl_peer ours = peer_number(2);
	struct wgctl_device device;
	struct kk_err err = {0};
	struct wgctl *wg;
	size_t met = 0;

	(void)state;
	SHELL("ip link add " IFNAME " type wireguard");
	SHELL("wg set " IFNAME " listen-port 4500 private-key /dev/stdin <<E\n"
	      "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\nE");
	SHELL("wg set " IFNAME " peer xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg= "
	      "persistent-keepalive 7 endpoint '[2001:db8::1]:99' allowed-ips 2001:db8:1::/64,192.0.2.9/32");
	SHELL("wg set " IFNAME " peer TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0= "
	      "allowed-ips $(seq -s, -f '10.9.%%.0f.0/24' 0 255),$(seq -s, -f '10.10.%%.0f.0/24' 0 243)");

	wg = open_tunnel(IFNAME, true);
	assert_ok(wgctl_set_peers(wg, &ours, 1, &err), &err);
	assert_ok(wgctl_get(wg, &device, &err), &err);
	assert_int_equal(device.listen_port, 4500);
	assert_int_equal(device.n_peers, 3);
	kk_key_format(device.private_key, key_text);
	assert_string_equal(key_text, "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=");
	for (size_t i = 0; i < device.n_peers; i++) {
		const struct wgctl_peer *peer = &device.peers[i];

		kk_key_format(peer->public_key, key_text);
		if (key_text[0] == 'x') {
			met |= 1;
			assert_int_equal(peer->keepalive, 7);
			assert_int_equal(peer->endpoint.any.sa_family, AF_INET6);
			assert_int_equal(kk_sockaddr_port(&peer->endpoint), 99);
			assert_false(peer->allowed_other);
			assert_int_equal(peer->n_allowed6, 1);
			assert_int_equal(peer->allowed6[0].len, 64);
			assert_int_equal(peer->n_allowed, 1);
			assert_int_equal(peer->allowed[0].addr.s_addr, inet_addr("192.0.2.9"));
		} else if (key_text[0] == 'T') {
			met |= 2;
			assert_true(peer->allowed_other);
			assert_int_equal(peer->n_allowed, WGCTL_ALLOWED_MAX);
			assert_int_equal(peer->endpoint.v4.sin_family, 0);
		} else {
			met |= 4;
			assert_false(peer->allowed_other);
			assert_int_equal(peer->n_allowed, ours.n_allowed);
		}
	}
	assert_int_equal(met, 7);
	wgctl_device_free(&device);

	/* A second opening finds it as it is. */
	wgctl_close(wg);
	wg = open_tunnel(IFNAME, true);
	assert_ok(wgctl_get(wg, &device, &err), &err);
	assert_int_equal(device.n_peers, 3);
	wgctl_device_free(&device);
	end(wg);
}

static struct wgctl_peer only_peer(struct wgctl *wg)
{
	struct wgctl_device device;
	struct wgctl_peer peer;
	struct kk_err err = {0};

	assert_ok(wgctl_get(wg, &device, &err), &err);
	assert_int_equal(device.n_peers, 1);
	peer = device.peers[0];
	wgctl_device_free(&device);
	return peer;
}

/* Two tunnels shake hands over loopback; changing everything about them later keeps the session. */
static void test_session(void **state)
{
	struct wgctl *wgs[2] = {open_tunnel(IFNAME, false), open_tunnel(OTHER, false)};
	const char *const names[2] = {IFNAME, OTHER};
	uint8_t keys[2][KK_KEY_LEN];
	struct wgctl_peer peers[2] = {0}, now;
	struct kk_err err = {0};
	int64_t handshake;

	(void)state;
	SHELL("ip link set lo up");
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(wgctl_genkey(keys[i]), 0);
		assert_int_equal(wgctl_pubkey(keys[i], peers[!i].public_key), 0);
		peers[!i].endpoint.v4 = (struct sockaddr_in){
			.sin_family = AF_INET,
			.sin_port = htons((uint16_t)(51820 + i)),
			.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		};
		peers[!i].keepalive = 1;
		assert_ok(wgctl_set_device(wgs[i], keys[i], (uint16_t)(51820 + i), &err), &err);
		assert_ok(kk_net_link_set(names[i], true, 0, &err), &err);
	}
	for (size_t i = 0; i < 2; i++)
		assert_ok(wgctl_set_peers(wgs[i], &peers[i], 1, &err), &err);

	for (int ms = 0;; ms += 100) {
		now = only_peer(wgs[1]);
		if (now.last_handshake && now.rx_bytes && now.tx_bytes)
			break;
		if (ms >= WAIT_MS)
			fail_msg("no handshake in %d ms", WAIT_MS);
		usleep(100000);
	}
	handshake = now.last_handshake;
	assert_true(handshake <= time(NULL) + 1 && handshake > time(NULL) - 60);

	peers[1].keepalive = 0;
	peers[1].n_allowed = 1;
	peers[1].allowed[0] = (struct kk_prefix4){.addr.s_addr = htonl(0x0a010000), .len = 24};
	assert_ok(wgctl_set_peers(wgs[1], &peers[1], 1, &err), &err);
	assert_ok(wgctl_set_device(wgs[1], keys[1], 51821, &err), &err);
	now = only_peer(wgs[1]);
	assert_int_equal(now.last_handshake, handshake);
	assert_int_equal(now.keepalive, 0);
	assert_true(now.rx_bytes >= 148 - 56 && now.tx_bytes > 0);
	end(wgs[0]);
	end(wgs[1]);
}

/* Another process changes the tunnel for as long as it lives. */
static pid_t keep_changing(void)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	for (unsigned int i = 0; !pid; i++) {
		struct wgctl_peer peer = peer_number(N_MANY / 2);
		struct wgctl *wg = NULL;
		struct kk_err err = {0};
		bool adopted;

		peer.keepalive = (uint16_t)(1 + i % 9);
		if (wgctl_open(IFNAME, WGCTL_KERNEL, NULL, &wg, &adopted, &err) < 0 ||
		    wgctl_set_peers(wg, &peer, 1, &err) < 0)
			_exit(1);
		wgctl_close(wg);
		usleep(20000);
	}
	return pid;
}

/* A dump that another's change overtook is started again: never half of one, nor the same peer twice. */
static void test_read_while_written(void **state)
{
	KK_CLEANUP_FREE struct wgctl_peer *peers = calloc(N_MANY, sizeof(*peers));
	struct wgctl *wg = open_tunnel(IFNAME, false);
	struct kk_err err = {0};
	int done = 0, busy = 0, status;
	pid_t pid;

	(void)state;
	assert_non_null(peers);
	for (unsigned int i = 0; i < N_MANY; i++)
		peers[i] = peer_number(i);
	assert_ok(wgctl_set_peers(wg, peers, N_MANY, &err), &err);
	pid = keep_changing();
	for (int i = 0; i < N_READS; i++) {
		struct wgctl_device device;

		if (wgctl_get(wg, &device, &err) < 0) {
			assert_int_equal(err.code, EAGAIN);
			kk_err_reset(&err);
			busy++;
			continue;
		}
		assert_int_equal(device.n_peers, N_MANY);
		wgctl_device_free(&device);
		done++;
	}
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	print_message("read %d times, %d times overtaken by changes\n", done, busy);
	assert_true(done > 0);
	end(wg);
}

static void test_errors(void **state)
{
	struct wgctl *wg = open_tunnel(IFNAME, false), *other = open_tunnel(OTHER, false),
		     *none = NULL;
	struct wgctl_peer peer = peer_number(1);
	uint8_t key[KK_KEY_LEN];
	struct wgctl_device device;
	struct kk_err err = {0};
	bool adopted;

	(void)state;
	/* A port that is taken: said so, nothing changed. */
	assert_int_equal(wgctl_genkey(key), 0);
	assert_ok(wgctl_set_device(wg, key, 4501, &err), &err);
	assert_ok(kk_net_link_set(IFNAME, true, 0, &err), &err);
	assert_ok(kk_net_link_set(OTHER, true, 0, &err), &err);
	assert_int_equal(wgctl_set_device(other, key, 4501, &err), -EADDRINUSE);
	assert_err(&err, "tunnel", "4501");
	kk_err_reset(&err);
	assert_ok(wgctl_get(other, &device, &err), &err);
	assert_int_not_equal(device.listen_port, 4501);
	assert_memory_not_equal(device.private_key, key, KK_KEY_LEN);
	wgctl_device_free(&device);
	end(other);

	/* An interface that has gone. */
	SHELL("ip link del " IFNAME);
	assert_true(wgctl_set_peers(wg, &peer, 1, &err) < 0);
	assert_err(&err, "tunnel", IFNAME);
	kk_err_reset(&err);
	assert_true(wgctl_get(wg, &device, &err) < 0);
	assert_err(&err, "tunnel", IFNAME);
	kk_err_reset(&err);
	wgctl_close(wg);

	/* A name that is taken by something else. */
	SHELL("ip link add " IFNAME " type dummy");
	assert_int_equal(wgctl_open(IFNAME, WGCTL_KERNEL, NULL, &none, &adopted, &err), -EEXIST);
	assert_err(&err, "interface", IFNAME);
	assert_null(none);
	SHELL("ip link del " IFNAME);
}

static void test_auto(void **state)
{
	struct wgctl *wg = NULL;
	struct kk_err err = {0};
	bool adopted = true;

	(void)state;
	assert_ok(wgctl_open(IFNAME, WGCTL_AUTO, NULL, &wg, &adopted, &err), &err);
	assert_false(adopted);
	assert_int_equal(wgctl_kind(wg), WGCTL_KERNEL);
	assert_non_null(strstr(wgctl_reason(wg), "kernel"));
	end(wg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_device, enter_fresh_netns),
		cmocka_unit_test_setup(test_peers, enter_fresh_netns),
		cmocka_unit_test_setup(test_many_peers, enter_fresh_netns),
		cmocka_unit_test_setup(test_adopt, enter_fresh_netns),
		cmocka_unit_test_setup(test_session, enter_fresh_netns),
		cmocka_unit_test_setup(test_read_while_written, enter_fresh_netns),
		cmocka_unit_test_setup(test_errors, enter_fresh_netns),
		cmocka_unit_test_setup(test_auto, enter_fresh_netns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
