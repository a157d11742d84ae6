// SPDX-License-Identifier: MIT
/* Super-packets: cut as the sender does and joined as the receiver does, they are what they were. */
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../wg_test.h"

#include "kkwg/coalesce.h"
#include "kkwg/codel.h"
#include "kkwg/offload.h"
#include "util/cleanup.h"
#include "wg/packet.h"

#define ROOM 64

static uint64_t seed = 42;

static uint32_t rnd(void)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33);
}

/* A TUN device that is a socket: every write comes out as one message. */
static int wire[2];
static struct tun tun = {.vnet = true, .tso = true, .uso = true};

static int setup(void **state)
{
	int size = 1 << 20;

	(void)state;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, wire) < 0)
		return -1;
	setsockopt(wire[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	tun.fd = wire[0];
	return 0;
}

/* The next written packet. Returns its length, or 0. */
static size_t written(tun_header *hdr, uint8_t *packet)
{
	static uint8_t buf[70000];
	ssize_t n = recv(wire[1], buf, sizeof(buf), 0);

	if (n < (ssize_t)sizeof(*hdr))
		return 0;
	memcpy(hdr, buf, sizeof(*hdr));
	memcpy(packet, buf + sizeof(*hdr), (size_t)n - sizeof(*hdr));
	return (size_t)n - sizeof(*hdr);
}

static bool checksum_good(const uint8_t *p, size_t len)
{
	bool ip6 = p[0] >> 4 == 6;
	size_t l4 = ip6 ? 40 : 20;
	uint8_t protocol = ip6 ? p[6] : p[9];

	if (!ip6 && wg_sum_fold(wg_sum(p, 20, 0)) != 0xffff)
		return false;
	return wg_sum_fold(wg_sum(p + l4, len - l4,
				  offload_pseudo_sum(p, ip6, protocol, len - l4))) == 0xffff;
}

/* A super-packet as the kernel gives it: the checksum field holds the pseudo header's sum. */
static size_t super_packet(uint8_t *p, tun_header *hdr, bool ip6, bool tcp, size_t payload,
			   size_t size)
{
	size_t l4 = ip6 ? 40 : 20, headers = l4 + (tcp ? 32 : 8), len = headers + payload;
	uint16_t pseudo;

	memset(p, 0, headers);
	for (size_t i = headers; i < len; i++)
		p[i] = (uint8_t)rnd();
	if (ip6) {
		p[0] = 0x60;
		store_be16(p + 4, len - 40);
		p[6] = tcp ? IPPROTO_TCP : IPPROTO_UDP;
		p[8] = p[24] = 0xfd;
		p[39] = 1;
	} else {
		p[0] = 0x45;
		store_be16(p + 2, len);
		store_be16(p + 4, 0xfffe); /* wraps on the way */
		p[8] = 64;
		p[9] = tcp ? IPPROTO_TCP : IPPROTO_UDP;
		p[12] = p[16] = 10;
		p[19] = 1;
		offload_ip4_checksum(p, 20);
	}
	store_be16(p + l4, 1000);
	store_be16(p + l4 + 2, 2000);
	if (tcp) {
		store_be32(p + l4 + 4, 0xfffff000u); /* wraps as well */
		p[l4 + 12] = 0x80;
		p[l4 + 13] = 0x18;
		p[l4 + 20] = 1;
		p[l4 + 21] = 1;
		p[l4 + 22] = 8;
		p[l4 + 23] = 10;
	} else {
		store_be16(p + l4 + 4, len - l4);
	}
	pseudo = wg_sum_fold(offload_pseudo_sum(p, ip6, tcp ? IPPROTO_TCP : IPPROTO_UDP, len - l4));
	memcpy(p + l4 + (tcp ? 16 : 6), &pseudo, 2);
	*hdr = (tun_header){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = !tcp  ? VIRTIO_NET_HDR_GSO_UDP_L4
			    : ip6 ? VIRTIO_NET_HDR_GSO_TCPV6
				  : VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = (uint16_t)size,
		.hdr_len = (uint16_t)headers,
		.csum_start = (uint16_t)l4,
		.csum_offset = tcp ? 16 : 6,
	};
	return len;
}

static void round_trip(bool ip6, bool tcp, size_t payload, size_t size)
{
	static uint8_t original[70000], segments[140000], out[70000];
	struct coalesce c = {.tun = &tun};
	tun_header hdr, got;
	struct offload o;
	size_t len = super_packet(original, &hdr, ip6, tcp, payload, size), used = ROOM, n;
	unsigned int count = 0;

	assert_int_equal(offload_parse(&hdr, original, len, &o), 0);
	for (size_t at = 0, i = 0; at < payload; at += size, i++, count++) {
		size_t part = payload - at < size ? payload - at : size;
		uint8_t *s = segments + used;
		struct wg_packet parsed;

		memcpy(s, original, o.headers);
		memcpy(s + o.headers, original + o.headers + at, part);
		offload_finish(&o, s, part, i, at, at + part == payload);
		assert_int_equal(wg_packet_parse(s, o.headers + part, &parsed), 0);
		assert_int_equal(parsed.len, o.headers + part);
		assert_true(checksum_good(s, parsed.len));
		coalesce_add(&c, s, parsed.len);
		used += parsed.len + ROOM;
	}
	coalesce_flush(&c);
	assert_int_equal(c.lost, 0);
	n = written(&got, out);
	if (count == 1) {
		assert_int_equal(n, len);
		assert_true(checksum_good(out, n));
		return;
	}
	/* At most COALESCE_MAX are joined. */
	if (count <= COALESCE_MAX) {
		assert_int_equal(n, len);
		assert_memory_equal(out, original, len);
		assert_memory_equal(&got, &hdr, sizeof(hdr));
	}
	while (written(&got, out))
		assert_true(count > COALESCE_MAX);
}

static void round_trips(void **state)
{
	(void)state;
	for (int kind = 0; kind < 4; kind++) {
		for (int i = 0; i < 200; i++) {
			size_t size = 1 + rnd() % 1400, payload = 1 + rnd() % (size * 70);

			round_trip(kind & 1, kind & 2, payload > 64000 ? 64000 : payload, size);
		}
		round_trip(kind & 1, kind & 2, 45 * 1368, 1368);
		round_trip(kind & 1, kind & 2, 1, 1);
	}
}

/* What differs in anything that matters is not joined; every packet comes out, in order. */
static void not_joined(void **state)
{
	static uint8_t a[2000], b[2000], out[70000];
	tun_header hdr, got;
	struct offload o;

	(void)state;
	/* Offsets into an IPv4 TCP header: class, lifetime, addresses, ports, ack, flags, window, option. */
	static const size_t at[] = {1, 8, 15, 19, 21, 23, 31, 33, 35, 44};

	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		struct coalesce c = {.tun = &tun};
		size_t len = super_packet(a + ROOM, &hdr, false, true, 400, 200);
		uint16_t pseudo;

		assert_int_equal(offload_parse(&hdr, a + ROOM, len, &o), 0);
		memcpy(b + ROOM, a + ROOM, o.headers);
		memcpy(b + ROOM + o.headers, a + ROOM + o.headers + 200, 200);
		offload_finish(&o, b + ROOM, 200, 1, 200, true);
		offload_finish(&o, a + ROOM, 200, 0, 0, false);
		b[ROOM + at[i]] ^= 4;
		/* Sums that fit again, so that they are not the reason. */
		offload_ip4_checksum(b + ROOM, 20);
		memset(b + ROOM + 36, 0, 2);
		pseudo = (uint16_t)~wg_sum_fold(wg_sum(
			b + ROOM + 20, 232, offload_pseudo_sum(b + ROOM, false, IPPROTO_TCP, 232)));
		memcpy(b + ROOM + 36, &pseudo, 2);
		coalesce_add(&c, a + ROOM, 252);
		coalesce_add(&c, b + ROOM, 252);
		coalesce_flush(&c);
		assert_int_equal(written(&got, out), 252);
		assert_int_equal(got.gso_type, 0);
		assert_int_equal(written(&got, out), 252);
		assert_memory_equal(out, b + ROOM, 252);
	}
}

/* A broken checksum is not hidden by joining. */
static void bad_checksum(void **state)
{
	static uint8_t a[2000], b[2000], out[70000];
	struct coalesce c = {.tun = &tun};
	tun_header hdr, got;
	struct offload o;
	size_t len = super_packet(a + ROOM, &hdr, true, true, 400, 200);

	(void)state;
	assert_int_equal(offload_parse(&hdr, a + ROOM, len, &o), 0);
	memcpy(b + ROOM, a + ROOM, o.headers);
	memcpy(b + ROOM + o.headers, a + ROOM + o.headers + 200, 200);
	offload_finish(&o, b + ROOM, 200, 1, 200, true);
	offload_finish(&o, a + ROOM, 200, 0, 0, false);
	b[ROOM + 100] ^= 1;
	coalesce_add(&c, a + ROOM, o.headers + 200);
	coalesce_add(&c, b + ROOM, o.headers + 200);
	coalesce_flush(&c);
	assert_int_equal(written(&got, out), o.headers + 200);
	assert_int_equal(written(&got, out), o.headers + 200);
	assert_int_equal(got.flags, 0);
	assert_int_equal(written(&got, out), 0);
}

/* Headers that lie. */
static void bad_headers(void **state)
{
	static uint8_t p[2000];
	tun_header hdr, bad;
	struct offload o;
	size_t len = super_packet(p, &hdr, false, true, 400, 200);

	(void)state;
	bad = hdr;
	bad.gso_size = 0;
	assert_true(offload_parse(&bad, p, len, &o) < 0);
	bad = hdr;
	bad.csum_start = 10;
	assert_true(offload_parse(&bad, p, len, &o) < 0);
	bad.csum_start = 60000;
	assert_true(offload_parse(&bad, p, len, &o) < 0);
	bad = hdr;
	bad.gso_type = VIRTIO_NET_HDR_GSO_UDP;
	assert_true(offload_parse(&bad, p, len, &o) < 0);
	p[20 + 12] = 0x10;
	assert_true(offload_parse(&hdr, p, len, &o) < 0);
	p[20 + 12] = 0xf0;
	assert_true(offload_parse(&hdr, p, 30, &o) < 0);
	hdr.gso_type = 0;
	hdr.csum_start = 60000;
	assert_true(offload_checksum(&hdr, p, len) < 0);
}

/* CoDel drops only what stands, and ever more often while it does. */
static void codel(void **state)
{
	const uint64_t ms = 1000000;
	struct codel c = {0};
	unsigned int drops = 0, first_half = 0;

	(void)state;
	for (uint64_t t = 1; t < 1000; t++)
		assert_false(codel_should_drop(&c, CODEL_TARGET - 1, t * ms));
	/* Bursts that clear within the interval. */
	for (uint64_t t = 1000; t < 2000; t++)
		assert_false(codel_should_drop(&c, t % 8 ? 10 * CODEL_TARGET : 0, t * ms));
	for (uint64_t t = 2000; t < 2200; t++) {
		drops += codel_should_drop(&c, 10 * CODEL_TARGET, t * ms);
		if (t == 2100)
			first_half = drops;
	}
	assert_true(first_half > 5 && drops - first_half > first_half);
	assert_false(codel_should_drop(&c, 0, 2200 * ms));
	assert_false(c.dropping);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trips),	cmocka_unit_test(not_joined),
		cmocka_unit_test(bad_checksum), cmocka_unit_test(bad_headers),
		cmocka_unit_test(codel),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
