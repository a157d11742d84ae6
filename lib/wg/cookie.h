/* SPDX-License-Identifier: MIT */
/* MAC1, MAC2 and cookie replies (paper sections 5.3, 5.4.4 and 5.4.7). */
#ifndef WG_COOKIE_H
#define WG_COOKIE_H

#include <stdbool.h>
#include <stdint.h>

#include "wg/endpoint.h"
#include "wg/message.h"

/* Our side of messages that come in; one per device. */
struct wg_cookie_checker {
	uint8_t mac1_key[WG_KEY_LEN], cookie_key[WG_KEY_LEN];
	uint8_t secret[WG_KEY_LEN];
	uint64_t secret_birth; /* ns; 0 none yet */
};

/* Towards one peer. */
struct wg_cookie_maker {
	uint8_t mac1_key[WG_KEY_LEN], cookie_key[WG_KEY_LEN];
	uint8_t cookie[WG_COOKIE_LEN];
	uint64_t cookie_birth; /* ns; 0 none */
	uint8_t last_mac1[WG_COOKIE_LEN];
	bool sent; /* last_mac1 was sent and no cookie came for it yet */
};

void wg_cookie_checker_init(struct wg_cookie_checker *c, const uint8_t our_public[WG_KEY_LEN]);
void wg_cookie_maker_init(struct wg_cookie_maker *m, const uint8_t their_public[WG_KEY_LEN]);

/* @msg is a whole initiation or response of @len bytes. */
bool wg_cookie_check_mac1(const struct wg_cookie_checker *c, const void *msg, size_t len);
/* Whether the second mac carries the cookie that we gave @from less than 120 s before @now. */
bool wg_cookie_check_mac2(const struct wg_cookie_checker *c, const struct wg_endpoint *from,
			  const void *msg, size_t len, uint64_t now);
/*
 * The reply that hands @from a cookie for @msg. @random: WG_KEY_LEN + WG_XNONCE_LEN fresh bytes, of
 * which the first become the secret where that is older than 120 s.
 */
void wg_cookie_reply(struct wg_cookie_checker *c, const struct wg_endpoint *from, const void *msg,
		     size_t len, const uint8_t random[WG_KEY_LEN + WG_XNONCE_LEN], uint64_t now,
		     struct wg_msg_cookie *ret);

/* Fills in both macs of an outgoing initiation or response. */
void wg_cookie_sign(struct wg_cookie_maker *m, void *msg, size_t len, uint64_t now);
/* Takes a reply. Returns 0, -EBADMSG, or -EALREADY where none was asked for. */
int wg_cookie_accept(struct wg_cookie_maker *m, const struct wg_msg_cookie *msg, uint64_t now);

#endif
