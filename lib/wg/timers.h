/* SPDX-License-Identifier: MIT */
/* The timers of a peer (paper section 6). Events arm and disarm them; nothing is done per packet but stores. */
#ifndef WG_TIMERS_H
#define WG_TIMERS_H

#include <stdint.h>

struct wg_peer;

/* A data message with a packet inside was sent, or an authentic one came in. */
void wg_timers_data_sent(struct wg_peer *p, uint64_t now);
void wg_timers_data_received(struct wg_peer *p, uint64_t now);
/* Any authentic message at all: handshake, keepalive or data. */
void wg_timers_message_sent(struct wg_peer *p, uint64_t now);
void wg_timers_message_received(struct wg_peer *p, uint64_t now);

/* How long an initiation has to be waited for before the next, ns. */
uint64_t wg_timers_patience(const struct wg_peer *p);
void wg_timers_initiation_sent(struct wg_peer *p, uint64_t now);
void wg_timers_handshake_complete(struct wg_peer *p);
void wg_timers_session_begun(struct wg_peer *p, uint64_t now);

/* Disarms all. */
void wg_timers_stop(struct wg_peer *p);
/* Runs what is due for the peer and sets when it wants to be woken next. */
void wg_timers_run(struct wg_peer *p, uint64_t now);

#endif
