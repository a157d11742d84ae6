// SPDX-License-Identifier: MIT
/*
 * Super-packets through both ends: from a socket that stands for the interface of one, sealed, over UDP on loopback, opened, to a
 * socket that stands for the other's. How many sends and writes it takes, and that every byte comes in its place.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <unistd.h>
#include <sys/socket.h>

#include "../wg_test.h"

#include "kkwg/inbound.h"
#include "kkwg/offload.h"
#include "kkwg/outbound.h"
#include "wg/device.h"
#include "wg/noise.h"

#define MTU	 1420
#define HEADERS	 52 /* IPv4, and TCP with timestamps */
#define SIZE	 (MTU - HEADERS)
#define SEGMENTS 47 /* of the longest super-packet */
#define PAYLOAD	 (SEGMENTS * SIZE)
#define LONGEST	 ((UDP_PAYLOAD_MAX) / (MTU + WG_DATA_OVERHEAD)) /* segments of one send */

#define NOW 1000000000000ull

struct end {
	struct wg_device *dev;
	struct wg_peer *peer;
	struct tun tun;
	int host; /* the other side of its interface */
	struct udp udp;
};

static struct end a, b;
static struct outbound out;
static struct inbound in;

static void env_random(void *ctx, void *buf, size_t len)
{
	static uint8_t n;

	(void)ctx;
	memset(buf, ++n, len);
}

static uint64_t env_realtime(void *ctx)
{
	(void)ctx;
	return 1700000000000000000ull;
}

static uint8_t wire[256];
static size_t wire_len;

static void env_transmit(void *ctx, struct wg_endpoint *to, const void *data, size_t len,
			 uint8_t ecn)
{
	(void)ctx;
	(void)to;
	(void)ecn;
	assert_true(len <= sizeof(wire));
	memcpy(wire, data, len);
	wire_len = len;
}

static void nothing_between(void *ctx)
{
	(void)ctx;
}

static void open_end(struct end *e, uint8_t last)
{
	const struct wg_env env = {
		.random = env_random, .realtime = env_realtime, .transmit = env_transmit};
	uint8_t secret[WG_KEY_LEN] = {last};
	struct kk_err err = {0};
	int fds[2], size = 4 << 20;

	e->dev = wg_device_new(&env);
	assert_non_null(e->dev);
	assert_int_equal(wg_device_set_secret(e->dev, secret), 0);
	assert_int_equal(udp_open(&e->udp, 0, 0, &err), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0);
	for (int i = 0; i < 2; i++)
		if (setsockopt(fds[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
			setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	e->tun = (struct tun){.fd = fds[0], .vnet = true, .tso = true};
	e->host = fds[1];
}

static void join(struct end *e, struct end *other, uint8_t last)
{
	const uint8_t address[4] = {10, 0, 0, last};

	assert_int_equal(wg_device_add_peer(e->dev, other->dev->identity.public, &e->peer), 0);
	e->peer->endpoint.in = (struct sockaddr_in){.sin_family = AF_INET,
						    .sin_port = htons(other->udp.port),
						    .sin_addr = {htonl(INADDR_LOOPBACK)}};
	assert_int_equal(wg_allowedips_add(&e->dev->allowedips, address, 4, 32, e->peer), 0);
	wg_device_up(e->dev, NOW);
}

/* Hands over the last handshake message. */
static void pass(struct end *to)
{
	uint8_t msg[WG_AEAD_HEADROOM + sizeof(wire) + WG_AEAD_TAILROOM],
		text[WG_AEAD_HEADROOM + sizeof(wire) + WG_AEAD_TAILROOM];
	struct wg_peer *p;

	memcpy(msg + WG_AEAD_HEADROOM, wire, wire_len);
	wg_device_receive(to->dev, &to->peer->endpoint, 0, msg + WG_AEAD_HEADROOM, wire_len,
			  text + WG_AEAD_HEADROOM, &p, NOW);
}

static int set_up(void **state)
{
	(void)state;
	assert_int_equal(wg_crypto_init(), 0);
	wg_noise_init();
	memset(&out, 0, sizeof(out));
	memset(&in, 0, sizeof(in));
	open_end(&a, 1);
	open_end(&b, 2);
	join(&a, &b, 2);
	join(&b, &a, 1);
	wg_peer_initiate(a.peer, false, NOW);
	pass(&b);
	pass(&a);
	pass(&b);
	assert_non_null(wg_peer_session(a.peer, NOW));
	assert_non_null(wg_peer_session(b.peer, NOW));
	out.dev = a.dev;
	out.udp = &a.udp;
	out.mtu = MTU;
	in.dev = b.dev;
	in.coalesce.tun = &b.tun;
	out.between = in.between = nothing_between;
	return 0;
}

static void close_end(struct end *e)
{
	wg_device_free(e->dev);
	udp_close(&e->udp);
	close(e->tun.fd);
	close(e->host);
}

static int tear_down(void **state)
{
	(void)state;
	close_end(&a);
	close_end(&b);
	return 0;
}

/* Byte number @at of the stream. */
static uint8_t byte_at(size_t at)
{
	return (uint8_t)(at * 2654435761u >> 13);
}

/* The host of @a sends super-packet number @n of a TCP stream. */
static void host_sends(uint32_t n)
{
	static uint8_t frame[sizeof(tun_header) + HEADERS + PAYLOAD];
	const tun_header hdr = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
				.hdr_len = HEADERS,
				.gso_size = SIZE,
				.csum_start = 20,
				.csum_offset = 16};
	static const uint8_t ip[20] = {0x45, 0, 0,  0, 0, 0, 0x40, 0, 64, 6,
				       0,    0, 10, 0, 0, 1, 10,   0, 0,  2};
	static const uint8_t tcp[32] = {0x9c, 0x40, 0, 80, 0, 0, 0, 0, 0, 0, 0, 1, 0x80, 0x10};
	uint8_t *p = frame + sizeof(hdr);

	memcpy(frame, &hdr, sizeof(hdr));
	memcpy(p, ip, sizeof(ip));
	memcpy(p + 20, tcp, sizeof(tcp));
	store_be16(p + 2, HEADERS + PAYLOAD);
	store_be32(p + 24, n * PAYLOAD);
	for (size_t i = 0; i < PAYLOAD; i++)
		p[HEADERS + i] = byte_at(n * PAYLOAD + i);
	assert_int_equal(write(a.host, frame, sizeof(frame)), sizeof(frame));
}

/* How many messages lie in the socket, which keeps them. */
static unsigned int messages_waiting(void)
{
	static uint8_t buffers[UDP_BATCH][INBOUND_MESSAGE];
	struct udp_received batch[UDP_BATCH];
	int n;

	for (int i = 0; i < UDP_BATCH; i++)
		batch[i] = (struct udp_received){.data = buffers[i], .max = INBOUND_MESSAGE};
	n = udp_receive(b.udp.fd4, batch, UDP_BATCH);
	assert_true(n > 0);
	for (int i = 0; i < n; i++) {
		assert_int_equal(batch[i].segment, MTU + WG_DATA_OVERHEAD);
		/* Once more, for the other end to take. */
		udp_send(&a.udp,
			 &(struct udp_send){.to = &a.peer->endpoint,
					    .data = batch[i].data,
					    .len = batch[i].len,
					    .segment = (uint16_t)batch[i].segment,
					    .count = (uint16_t)(batch[i].len / batch[i].segment)},
			 1);
	}
	return (unsigned int)n;
}

/* Takes in all that lies in the socket; the stream has to come out. Returns how many writes that took. */
static unsigned int host_receives(size_t bytes)
{
	static uint8_t frame[sizeof(tun_header) + TUN_PACKET_MAX];
	uint8_t *p = frame + sizeof(tun_header);
	unsigned int writes = 0;
	size_t got = 0;
	ssize_t n;

	while (inbound_receive(&in, b.udp.fd4, NOW))
		while (inbound_work(&in, NOW))
			;
	while ((n = read(b.host, frame, sizeof(frame))) > 0) {
		size_t len = (size_t)n - sizeof(tun_header);

		assert_int_equal(load_be16(p + 2), len);
		assert_int_equal(load_be32(p + 24), got);
		for (size_t i = HEADERS; i < len; i++, got++)
			if (p[i] != byte_at(got))
				fail_msg("byte %zu", got);
		writes++;
	}
	assert_int_equal(got, bytes);
	return writes;
}

static void need_offload(void)
{
	if (a.udp.gso && b.udp.gro)
		return;
	print_message("the kernel has no UDP_SEGMENT or no UDP_GRO\n");
	skip();
}

/* Sockets have to keep all @bytes, which by default only root may have them do. */
static void need_room(size_t bytes)
{
	socklen_t len = sizeof(int);
	int in_room = 0, out_room = 0;

	getsockopt(b.udp.fd4, SOL_SOCKET, SO_RCVBUF, &in_room, &len);
	getsockopt(b.tun.fd, SOL_SOCKET, SO_SNDBUF, &out_room, &len);
	/* The kernel counts its own structures as well. */
	if ((size_t)in_room >= 3 * bytes && (size_t)out_room >= 3 * bytes)
		return;
	print_message("skipped: buffers of %d and %d bytes are too small: must be root\n", in_room,
		      out_room);
	skip();
}

/* Too long for one send: two, and one write again. */
static void one(void **state)
{
	(void)state;
	need_offload();
	host_sends(0);
	assert_int_equal(outbound_read(&out, &a.tun, NOW), 0);
	assert_false(outbound_work(&out, NOW));
	assert_int_equal(messages_waiting(), 2);
	assert_int_equal(host_receives(PAYLOAD), 1);
}

/* The rest of each goes with the next one. */
static void in_a_row(void **state)
{
	const unsigned int packets = KKWG_AHEAD, segments = packets * SEGMENTS;

	(void)state;
	need_offload();
	need_room((size_t)packets * PAYLOAD);
	for (uint32_t i = 0; i < packets; i++)
		host_sends(i);
	assert_int_equal(outbound_read(&out, &a.tun, NOW), 0);
	while (outbound_work(&out, NOW))
		;
	assert_int_equal(messages_waiting(), (segments + LONGEST - 1) / LONGEST);
	/* Where the arena of opened packets ends makes no difference. */
	assert_int_equal(host_receives((size_t)packets * PAYLOAD), packets);
}

/* Where somebody is in a hurry each is sent by itself, and what comes in has its turn between two. */
static void in_a_hurry(void **state)
{
	(void)state;
	need_offload();
	for (uint32_t i = 0; i < 2; i++)
		host_sends(i);
	out.last_short = NOW;
	assert_int_equal(outbound_read(&out, &a.tun, NOW), 0);
	assert_int_equal(out.count, 2);
	assert_true(outbound_work(&out, NOW));
	assert_int_equal(out.count, 1);
	assert_false(outbound_work(&out, NOW));
	assert_int_equal(messages_waiting(), 4);
	host_receives((size_t)2 * PAYLOAD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one, set_up, tear_down),
		cmocka_unit_test_setup_teardown(in_a_row, set_up, tear_down),
		cmocka_unit_test_setup_teardown(in_a_hurry, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
