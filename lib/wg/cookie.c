// SPDX-License-Identifier: MIT
#include "wg/cookie.h"

#include <errno.h>
#include <string.h>

#include "wg/constants.h"

static void label_key(uint8_t key[WG_KEY_LEN], const char label[8],
		      const uint8_t public[WG_KEY_LEN])
{
	wg_hash(key, label, 8, public, WG_KEY_LEN);
}

static const struct wg_macs *macs_of(const void *msg, size_t len)
{
	return (const struct wg_macs *)((const uint8_t *)msg + len - sizeof(struct wg_macs));
}

void wg_cookie_checker_init(struct wg_cookie_checker *c, const uint8_t our_public[WG_KEY_LEN])
{
	memset(c, 0, sizeof(*c));
	label_key(c->mac1_key, "mac1----", our_public);
	label_key(c->cookie_key, "cookie--", our_public);
}

void wg_cookie_maker_init(struct wg_cookie_maker *m, const uint8_t their_public[WG_KEY_LEN])
{
	memset(m, 0, sizeof(*m));
	label_key(m->mac1_key, "mac1----", their_public);
	label_key(m->cookie_key, "cookie--", their_public);
}

bool wg_cookie_check_mac1(const struct wg_cookie_checker *c, const void *msg, size_t len)
{
	uint8_t mac[WG_COOKIE_LEN];

	wg_mac(mac, c->mac1_key, WG_KEY_LEN, msg, len - sizeof(struct wg_macs));
	return wg_equal(mac, macs_of(msg, len)->mac1, WG_COOKIE_LEN);
}

/* The cookie of a source: a mac of its address and port under a secret that changes. */
static void make_cookie(const struct wg_cookie_checker *c, const struct wg_endpoint *from,
			uint8_t cookie[WG_COOKIE_LEN])
{
	uint8_t bytes[18];
	size_t n = wg_endpoint_bytes(from, bytes);

	wg_mac(cookie, c->secret, WG_KEY_LEN, bytes, n);
}

bool wg_cookie_check_mac2(const struct wg_cookie_checker *c, const struct wg_endpoint *from,
			  const void *msg, size_t len, uint64_t now)
{
	uint8_t cookie[WG_COOKIE_LEN], mac[WG_COOKIE_LEN];

	if (!c->secret_birth || now - c->secret_birth >= WG_COOKIE_LIFETIME)
		return false;
	make_cookie(c, from, cookie);
	wg_mac(mac, cookie, WG_COOKIE_LEN, msg, len - WG_COOKIE_LEN);
	return wg_equal(mac, macs_of(msg, len)->mac2, WG_COOKIE_LEN);
}

void wg_cookie_reply(struct wg_cookie_checker *c, const struct wg_endpoint *from, const void *msg,
		     size_t len, const uint8_t random[WG_KEY_LEN + WG_XNONCE_LEN], uint64_t now,
		     struct wg_msg_cookie *ret)
{
	uint8_t cookie[WG_COOKIE_LEN];

	if (!c->secret_birth || now - c->secret_birth >= WG_COOKIE_LIFETIME) {
		memcpy(c->secret, random, WG_KEY_LEN);
		c->secret_birth = now;
	}
	make_cookie(c, from, cookie);
	ret->type = htole32(WG_MSG_COOKIE);
	/* Sender index of both handshake messages lies at the same place. */
	memcpy(&ret->receiver, (const uint8_t *)msg + 4, 4);
	memcpy(ret->nonce, random + WG_KEY_LEN, WG_XNONCE_LEN);
	wg_xaead_seal(c->cookie_key, ret->nonce, macs_of(msg, len)->mac1, WG_COOKIE_LEN, cookie,
		      WG_COOKIE_LEN, ret->encrypted_cookie);
	wg_zero(cookie, sizeof(cookie));
}

void wg_cookie_sign(struct wg_cookie_maker *m, void *msg, size_t len, uint64_t now)
{
	struct wg_macs *macs = (struct wg_macs *)((uint8_t *)msg + len - sizeof(*macs));

	wg_mac(macs->mac1, m->mac1_key, WG_KEY_LEN, msg, len - sizeof(*macs));
	memcpy(m->last_mac1, macs->mac1, WG_COOKIE_LEN);
	m->sent = true;
	if (m->cookie_birth && now - m->cookie_birth < WG_COOKIE_LIFETIME - WG_COOKIE_LATENCY)
		wg_mac(macs->mac2, m->cookie, WG_COOKIE_LEN, msg, len - WG_COOKIE_LEN);
	else
		memset(macs->mac2, 0, WG_COOKIE_LEN);
}

int wg_cookie_accept(struct wg_cookie_maker *m, const struct wg_msg_cookie *msg, uint64_t now)
{
	uint8_t cookie[WG_COOKIE_LEN];

	if (!m->sent)
		return -EALREADY;
	if (wg_xaead_open(m->cookie_key, msg->nonce, m->last_mac1, WG_COOKIE_LEN,
			  msg->encrypted_cookie, sizeof(msg->encrypted_cookie), cookie) < 0)
		return -EBADMSG;
	memcpy(m->cookie, cookie, WG_COOKIE_LEN);
	m->cookie_birth = now;
	m->sent = false;
	return 0;
}
