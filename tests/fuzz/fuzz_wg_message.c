// SPDX-License-Identifier: MIT
/*
 * Any datagram into an engine with a live session. The first byte of the input chooses: as it is; with
 * a first mac that is right, so that the handshake itself is reached; or as the packet inside an
 * authentic data message.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wg/constants.h"
#include "wg/device.h"

#define MESSAGE_MAX 2048

static struct wg_device *fm_a, *fm_b; /* the one under test, and its peer */
static uint64_t fm_now = WG_SEC, fm_rand = 1;

static void fm_random(void *ctx, void *buf, size_t len)
{
	(void)ctx;
	for (size_t i = 0; i < len; i++) {
		fm_rand = fm_rand * 6364136223846793005ull + 1442695040888963407ull;
		((uint8_t *)buf)[i] = (uint8_t)(fm_rand >> 56);
	}
}

static uint64_t fm_realtime(void *ctx)
{
	(void)ctx;
	return fm_now;
}

/* Straight into the other engine while the session is made, nowhere later. */
static uint8_t fm_wire[256];
static size_t fm_wire_len;

static void fm_transmit(void *ctx, struct wg_endpoint *to, const void *data, size_t len,
			uint8_t ecn)
{
	(void)ctx;
	(void)to;
	(void)ecn;
	fm_wire_len = len <= sizeof(fm_wire) ? len : 0;
	memcpy(fm_wire, data, fm_wire_len);
}

static struct wg_endpoint fm_endpoint(uint8_t last)
{
	struct wg_endpoint e = {.in = {.sin_family = AF_INET, .sin_port = 1}};

	e.in.sin_addr.s_addr = last;
	return e;
}

static size_t fm_receive(struct wg_device *d, const void *data, size_t len)
{
	static uint8_t in[WG_AEAD_HEADROOM + MESSAGE_MAX + WG_AEAD_TAILROOM],
		out[WG_AEAD_HEADROOM + MESSAGE_MAX + WG_AEAD_TAILROOM];
	struct wg_endpoint from = fm_endpoint(9);
	struct wg_peer *p;

	memcpy(in + WG_AEAD_HEADROOM, data, len);
	return wg_device_receive(d, &from, (uint8_t)(len & 3), in + WG_AEAD_HEADROOM, len,
				 out + WG_AEAD_HEADROOM, &p, fm_now);
}

static void fm_pass(struct wg_device *to)
{
	uint8_t copy[sizeof(fm_wire)];
	size_t len = fm_wire_len;

	memcpy(copy, fm_wire, len);
	fm_receive(to, copy, len);
}

static void fm_init(void)
{
	const struct wg_env env = {
		.random = fm_random, .realtime = fm_realtime, .transmit = fm_transmit};
	uint8_t secret[32] = {1}, any[16] = {0};
	struct wg_peer *pa, *pb;

	wg_crypto_init();
	wg_noise_init();
	fm_a = wg_device_new(&env);
	fm_b = wg_device_new(&env);
	wg_device_set_secret(fm_a, secret);
	secret[0] = 77;
	wg_device_set_secret(fm_b, secret);
	wg_device_set_reply_to_ingress(fm_a, true);
	wg_device_add_peer(fm_a, fm_b->identity.public, &pa);
	wg_device_add_peer(fm_b, fm_a->identity.public, &pb);
	wg_allowedips_add(&fm_a->allowedips, any, 4, 0, pa);
	wg_allowedips_add(&fm_a->allowedips, any, 16, 0, pa);
	pb->endpoint = fm_endpoint(1);
	wg_device_up(fm_a, fm_now);
	wg_device_up(fm_b, fm_now);
	wg_peer_initiate(pb, false, fm_now);
	fm_pass(fm_a);
	fm_pass(fm_b);
	fm_pass(fm_a);
	assert(pa->current && pb->current);
}

static void fm_inner(const uint8_t *data, size_t len)
{
	static uint8_t in[WG_AEAD_HEADROOM + MESSAGE_MAX + WG_AEAD_TAILROOM],
		msg[WG_AEAD_HEADROOM + MESSAGE_MAX + 64 + WG_AEAD_TAILROOM];
	struct wg_keypair *kp = fm_b->peers->current;
	struct wg_flow_key key;
	size_t n;

	/* The session does not end for our purpose. */
	kp->birth = fm_now;
	for (struct wg_peer *p = fm_a->peers; p; p = p->next)
		if (p->current)
			p->current->birth = fm_now;
	memcpy(in + WG_AEAD_HEADROOM, data, len);
	n = wg_keypair_seal(kp, in + WG_AEAD_HEADROOM, len, msg + WG_AEAD_HEADROOM);
	wg_device_peek(fm_a, msg + WG_AEAD_HEADROOM, n, &key);
	if (fm_receive(fm_a, msg + WG_AEAD_HEADROOM, n))
		wg_device_route(fm_a, data, len, fm_now);
}

static void fm_with_mac(const uint8_t *data, size_t len)
{
	uint8_t msg[WG_HANDSHAKE_MAX];
	uint32_t type = wg_message_type(data, len);

	if (type != WG_MSG_INITIATION && type != WG_MSG_RESPONSE)
		return;
	memcpy(msg, data, len);
	wg_mac(msg + len - 32, fm_a->checker.mac1_key, 32, msg, len - 32);
	fm_receive(fm_a, msg, len);
}

int fuzz_wg_message(const uint8_t *data, size_t len)
{
	struct wg_keypair *before;

	if (!fm_a)
		fm_init();
	if (len < 1 || len > MESSAGE_MAX - 64)
		return 0;
	before = fm_a->peers->current;
	fm_now += WG_MS;
	if (data[0] % 3 == 0)
		assert(fm_receive(fm_a, data + 1, len - 1) == 0);
	else if (data[0] % 3 == 1)
		fm_with_mac(data + 1, len - 1);
	else
		fm_inner(data + 1, len - 1);
	/* Nothing that a stranger says touches the session. */
	assert(fm_a->peers->current == before);
	return 0;
}

#ifdef KK_FUZZ
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	return fuzz_wg_message(data, len);
}
#endif
