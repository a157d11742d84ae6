// SPDX-License-Identifier: MIT
/* What the engine's socket may answer, recorded and hostile; and what we write to it. */
#include "wgctl/uapi.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"

#define PRIVATE "e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a"
#define PEER_A	"b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33"
#define PEER_B	"58402e695ba1772b1cc9309755f043251ea77fdcf10fbe63989ceb7e19321376"

static int parse(const char *text, struct wgctl_device *device, struct kk_err *err)
{
	*device = (struct wgctl_device){0};
	*err = (struct kk_err){0};
	return uapi_parse_get(text, device, err);
}

/* As the specification shows it and wireguard-go answers it. */
static void test_whole_answer(void **state)
{
	struct wgctl_device d;
	struct kk_err err;
	uint8_t key[KK_KEY_LEN], public_key[KK_KEY_LEN];

	(void)state;
	assert_int_equal(
		parse("private_key=" PRIVATE "\nlisten_port=12912\nfwmark=1\n"
		      "public_key=" PEER_A "\n"
		      "preshared_key=" PRIVATE "\n"
		      "protocol_version=1\n"
		      "endpoint=198.51.100.7:51820\n"
		      "last_handshake_time_sec=1700000000\n"
		      "last_handshake_time_nsec=5\n"
		      "tx_bytes=38333\nrx_bytes=18446744073709551615\n"
		      "persistent_keepalive_interval=25\n"
		      "allowed_ip=10.1.0.0/24\nallowed_ip=10.2.0.0/24\n"
		      "public_key=" PEER_B "\n"
		      "endpoint=[fe80::1%2]:123\nallowed_ip=fd00::/8\nallowed_ip=0.0.0.0/0\n"
		      "some_later_key=whatever\n"
		      "errno=0\n\n",
		      &d, &err),
		0);
	kk_unhex(PRIVATE, key, KK_KEY_LEN);
	assert_memory_equal(d.private_key, key, KK_KEY_LEN);
	assert_int_equal(wgctl_pubkey(key, public_key), 0);
	assert_memory_equal(d.public_key, public_key, KK_KEY_LEN);
	assert_int_equal(d.listen_port, 12912);
	assert_int_equal(d.n_peers, 2);
	kk_unhex(PEER_A, key, KK_KEY_LEN);
	assert_memory_equal(d.peers[0].public_key, key, KK_KEY_LEN);
	assert_int_equal(ntohs(d.peers[0].endpoint.v4.sin_port), 51820);
	assert_int_equal(d.peers[0].endpoint.v4.sin_addr.s_addr, inet_addr("198.51.100.7"));
	assert_int_equal(d.peers[0].last_handshake, 1700000000);
	assert_true(d.peers[0].tx_bytes == 38333 && d.peers[0].rx_bytes == UINT64_MAX);
	assert_int_equal(d.peers[0].keepalive, 25);
	assert_int_equal(d.peers[0].n_allowed, 2);
	assert_int_equal(d.peers[0].allowed[1].addr.s_addr, inet_addr("10.2.0.0"));
	assert_int_equal(d.peers[0].allowed[1].len, 24);
	assert_false(d.peers[0].allowed_other);
	assert_int_equal(d.peers[1].endpoint.any.sa_family, AF_INET6);
	assert_int_equal(kk_sockaddr_port(&d.peers[1].endpoint), 123);
	assert_int_equal(d.peers[1].n_allowed, 1);
	assert_int_equal(d.peers[1].n_allowed6, 1);
	assert_int_equal(d.peers[1].allowed6[0].addr.bytes[0], 0xfd);
	assert_int_equal(d.peers[1].allowed6[0].len, 8);
	assert_false(d.peers[1].allowed_other);
	wgctl_device_free(&d);
}

/* A device without a key, as an engine has it right after its start. */
static void test_fresh_device(void **state)
{
	static const uint8_t none[KK_KEY_LEN];
	struct wgctl_device d;
	struct kk_err err;

	(void)state;
	assert_int_equal(parse("errno=0\n\n", &d, &err), 0);
	assert_memory_equal(d.private_key, none, KK_KEY_LEN);
	assert_memory_equal(d.public_key, none, KK_KEY_LEN);
	assert_int_equal(d.n_peers, 0);
	wgctl_device_free(&d);
}

static void test_engines_error(void **state)
{
	struct wgctl_device d;
	struct kk_err err;

	(void)state;
	assert_int_equal(parse("errno=5\n\n", &d, &err), -EIO);
	assert_string_equal(err.field, "tunnel");
	assert_int_equal(parse("errno=-98\n\n", &d, &err), -EADDRINUSE);
	wgctl_device_free(&d);
}

static void test_hostile_answers(void **state)
{
	static const char *const cases[] = {
		"",
		"\n",
		"\n\n",
		"errno=0",
		"errno=0\nprivate_key=" PRIVATE "\n\n",
		"errno=\n\n",
		"errno=zero\n\n",
		"errno=99999999999\n\n",
		"errno=--5\n\n",
		"listen_port=1\n\n",
		"listen_port=65536\nerrno=0\n\n",
		"listen_port=-1\nerrno=0\n\n",
		"listen_port=0x10\nerrno=0\n\n",
		"listen_port\nerrno=0\n\n",
		"private_key=abcd\nerrno=0\n\n",
		"private_key=" PRIVATE "00\nerrno=0\n\n",
		"private_key=g84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a\nerrno=0\n\n",
		"public_key=\nerrno=0\n\n",
		"public_key=" PEER_A "\nendpoint=198.51.100.7\nerrno=0\n\n",
		"public_key=" PEER_A "\nendpoint=198.51.100.7:\nerrno=0\n\n",
		"public_key=" PEER_A "\nendpoint=198.51.100.256:1\nerrno=0\n\n",
		"public_key=" PEER_A "\nendpoint=[::1:1\nerrno=0\n\n",
		"public_key=" PEER_A "\nendpoint=[zz]:1\nerrno=0\n\n",
		"public_key=" PEER_A "\nendpoint=:1\nerrno=0\n\n",
		"public_key=" PEER_A "\nallowed_ip=10.0.0.0\nerrno=0\n\n",
		"public_key=" PEER_A "\nallowed_ip=10.0.0.0/33\nerrno=0\n\n",
		"public_key=" PEER_A "\nallowed_ip=/8\nerrno=0\n\n",
		"public_key=" PEER_A "\nallowed_ip=fd00::/129\nerrno=0\n\n",
		"public_key=" PEER_A "\nrx_bytes=18446744073709551616\nerrno=0\n\n",
		"public_key=" PEER_A "\nlast_handshake_time_sec=9223372036854775808\nerrno=0\n\n",
		"public_key=" PEER_A "\npersistent_keepalive_interval=65536\nerrno=0\n\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct wgctl_device d;
		struct kk_err err;
		int r = parse(cases[i], &d, &err);

		if (r != -EBADMSG)
			fail_msg("case %zu was taken (%d): %s", i, r, cases[i]);
		assert_string_equal(err.field, "tunnel");
		assert_null(strstr(err.msg, "84b5a6d2717c1003a13b4315")); /* no key is shown */
		wgctl_device_free(&d);
	}
}

static void test_endless_line(void **state)
{
	char text[1024] = "public_key=";
	struct wgctl_device d;
	struct kk_err err;

	(void)state;
	memset(text + 11, 'a', 900);
	strcpy(text + 911, "\nerrno=0\n\n");
	assert_int_equal(parse(text, &d, &err), -EBADMSG);
	wgctl_device_free(&d);
}

/* Every beginning of a good answer is refused, and read without going past its end. */
static void test_every_truncation(void **state)
{
	static const char whole[] = "private_key=" PRIVATE "\nlisten_port=1\npublic_key=" PEER_A
				    "\nendpoint=1.2.3.4:5\nallowed_ip=10.1.0.0/24\nerrno=0\n\n";

	(void)state;
	for (size_t len = 0; len + 2 < sizeof(whole); len++) {
		char *part = strndup(whole, len);
		struct wgctl_device d;
		struct kk_err err;
		int r;

		assert_non_null(part);
		r = parse(part, &d, &err);
		/* Without only the last, empty line it is whole enough. */
		assert_int_equal(r, len == sizeof(whole) - 2 ? 0 : -EBADMSG);
		wgctl_device_free(&d);
		free(part);
	}
}

static void test_many_allowed_and_peers(void **state)
{
	struct wgctl_device d;
	struct kk_err err;
	char *text;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	for (int i = 0; i < 1000; i++) {
		fprintf(f, "public_key=%064x\n", i + 1);
		for (int j = 0; j < i % 20; j++)
			fprintf(f, "allowed_ip=10.%d.%d.0/24\n", j, i % 256);
	}
	fputs("errno=0\n\n", f);
	fclose(f);
	assert_int_equal(parse(text, &d, &err), 0);
	assert_int_equal(d.n_peers, 1000);
	for (int i = 0; i < 1000; i++) {
		int n = i % 20;

		assert_int_equal(d.peers[i].public_key[31], (i + 1) % 256);
		assert_int_equal(d.peers[i].n_allowed,
				 n < WGCTL_ALLOWED_MAX ? n : WGCTL_ALLOWED_MAX);
		assert_int_equal(d.peers[i].allowed_other, n > WGCTL_ALLOWED_MAX);
	}
	wgctl_device_free(&d);
	free(text);
}

static void test_set_answers(void **state)
{
	(void)state;
	assert_int_equal(uapi_parse_set("errno=0\n\n"), 0);
	assert_int_equal(uapi_parse_set("errno=-98\n\n"), -EADDRINUSE);
	assert_int_equal(uapi_parse_set("errno=98\n\n"), -EADDRINUSE);
	assert_int_equal(uapi_parse_set("errno=0\n"), -EBADMSG);
	assert_int_equal(uapi_parse_set("errno=0\n\nmore\n\n"), -EBADMSG);
	assert_int_equal(uapi_parse_set("\n\n"), -EBADMSG);
	assert_int_equal(uapi_parse_set(""), -EBADMSG);
}

static void test_write_peer(void **state)
{
	struct wgctl_peer peer = {.keepalive = 25, .n_allowed = 1};
	char *text;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	kk_unhex(PEER_A, peer.public_key, KK_KEY_LEN);
	peer.endpoint.v4.sin_family = AF_INET;
	peer.endpoint.v4.sin_port = htons(51820);
	peer.endpoint.v4.sin_addr.s_addr = inet_addr("198.51.100.7");
	peer.allowed[0].addr.s_addr = inet_addr("10.1.0.0");
	peer.allowed[0].len = 24;
	uapi_write_peer(f, &peer);
	fclose(f);
	assert_string_equal(text, "public_key=" PEER_A "\nendpoint=198.51.100.7:51820\n"
				  "persistent_keepalive_interval=25\nreplace_allowed_ips=true\n"
				  "allowed_ip=10.1.0.0/24\n");
	free(text);
}

/* The pair was made with "wg pubkey". */
static void test_keys(void **state)
{
	uint8_t private_key[KK_KEY_LEN], other[KK_KEY_LEN], public_key[KK_KEY_LEN];
	char hex[2 * KK_KEY_LEN + 1];

	(void)state;
	kk_unhex(PRIVATE, private_key, KK_KEY_LEN);
	assert_int_equal(wgctl_pubkey(private_key, public_key), 0);
	kk_hex(public_key, KK_KEY_LEN, hex);
	assert_string_equal(hex,
			    "c1532e1b3d3508fc7ebc354fa679620f33f287149542e684c67b7b0d81362b29");
	assert_int_equal(wgctl_genkey(private_key), 0);
	assert_int_equal(wgctl_genkey(other), 0);
	assert_memory_not_equal(private_key, other, KK_KEY_LEN);
	assert_int_equal(private_key[0] & 7, 0);
	assert_int_equal(private_key[31] & 192, 64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_answer),
		cmocka_unit_test(test_fresh_device),
		cmocka_unit_test(test_engines_error),
		cmocka_unit_test(test_hostile_answers),
		cmocka_unit_test(test_endless_line),
		cmocka_unit_test(test_every_truncation),
		cmocka_unit_test(test_many_allowed_and_peers),
		cmocka_unit_test(test_set_answers),
		cmocka_unit_test(test_write_peer),
		cmocka_unit_test(test_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
