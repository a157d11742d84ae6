/* SPDX-License-Identifier: MIT */
/*
 * A peer and its transport keys. Everything is single-threaded per device: a pointer to a peer or key
 * pair stays valid until the next call that removes peers or lets time pass.
 */
#ifndef WG_PEER_H
#define WG_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "wg/allowedips.h"
#include "wg/cookie.h"
#include "wg/endpoint.h"
#include "wg/noise.h"
#include "wg/replay.h"
#include "wg/stage.h"

struct wg_device;

/* Keys of one completed handshake. Exists only while the session may live. */
struct wg_keypair {
	struct wg_peer *peer;
	struct wg_cipher *send, *recv;
	uint64_t counter; /* of the next packet to be sent */
	uint64_t birth;	  /* ns */
	uint32_t local_index, remote_index;
	bool initiator; /* we began the handshake */
	struct wg_replay replay;
};

enum wg_timer {
	WG_TIMER_RETRANSMIT,	/* the initiation was not answered */
	WG_TIMER_KEEPALIVE,	/* data came in and nothing went out */
	WG_TIMER_NEW_HANDSHAKE, /* data went out and nothing came in */
	WG_TIMER_ZERO_KEYS,	/* nothing new for three lifetimes */
	WG_TIMER_PERSISTENT,
	WG_TIMER_COUNT,
};

struct wg_peer {
	struct wg_device *dev;
	struct wg_peer *next, **prev; /* all peers of the device, in order of addition */
	struct wg_peer *hash_next;
	struct wg_handshake handshake;
	struct wg_cookie_maker cookie;
	/* Pending: made as responder, not yet confirmed by a packet of the other side. */
	struct wg_keypair *current, *previous, *pending;
	struct wg_endpoint endpoint;
	struct wg_allowed *allowed;
	struct wg_stage_queue staged;
	uint64_t rx_bytes, tx_bytes;	  /* of whole messages that were authentic */
	uint64_t standing;		  /* see wg_peer_publish() */
	uint64_t last_handshake_realtime; /* ns since 1970; 0 never */
	uint64_t last_initiation_sent;	  /* ns; 0 never */
	uint64_t timers[WG_TIMER_COUNT];  /* ns when due; 0 off */
	uint64_t wake; /* not after the earliest of them; place in the device's heap */
	uint32_t heap_index;
	uint32_t id;		       /* from 1, smallest that is free within the device */
	uint16_t persistent_keepalive; /* s; 0 off */
	uint8_t attempts;	       /* initiations sent again */
	uint8_t unanswered;    /* initiations since the last handshake, as far as we count */
	bool keepalive_again;  /* data came in while the keepalive timer ran */
	bool sent_last_minute; /* a new handshake was begun because the session ends soon */
};

/* Used by the device only; @p is zeroed memory of calloc(). */
void wg_peer_init(struct wg_peer *p, struct wg_device *dev, const uint8_t public[WG_KEY_LEN]);
/* Zeroes and frees; the device has unlinked it. */
void wg_peer_free(struct wg_peer *p);

/* Forgets all key pairs. */
void wg_peer_clear_sessions(struct wg_peer *p);
/* Forgets all key pairs and the handshake under way. */
void wg_peer_clear_keys(struct wg_peer *p);
/* Drops one of the peer's key pairs and sets its place to NULL. */
void wg_keypair_drop(struct wg_keypair **kp);

/* Makes a key pair of the completed handshake. Returns 0 or -ENOMEM. */
int wg_peer_begin_session(struct wg_peer *p, uint64_t now);
/* The first packet under the pending key pair came: it becomes current. */
void wg_peer_confirm(struct wg_peer *p);

/*
 * Other shards' threads choose between peers as well: what they may know for that is one word, written and read as a
 * whole. When the latest session began, ns less its low bits, which say what holds now.
 */
#define WG_STANDING_ENDPOINT 1ull /* we know where it is */
#define WG_STANDING_SESSION  2ull /* it has a session */
#define WG_STANDING_TRYING   4ull /* it left initiations unanswered */
#define WG_STANDING_FLAGS    7ull
/* After one of these has changed. */
void wg_peer_publish(struct wg_peer *p);
static inline uint64_t wg_peer_standing(const struct wg_peer *p)
{
	return __atomic_load_n(&p->standing, __ATOMIC_RELAXED);
}

/* Sets where the peer is to be found. */
void wg_peer_set_endpoint(struct wg_peer *p, const struct wg_endpoint *e);
/* Sets the endpoint of an authentic message, without its source address where that is the same. */
void wg_peer_roam(struct wg_peer *p, const struct wg_endpoint *from);

/* The session that may send at @now, or NULL. */
static inline struct wg_keypair *wg_peer_session(const struct wg_peer *p, uint64_t now);

/* Sends an initiation unless one went out less than wg_timers_patience() ago. @retry: the timer asks again. */
void wg_peer_initiate(struct wg_peer *p, bool retry, uint64_t now);
/* Sends an empty data message, or begins a handshake where there is no session. */
void wg_peer_keepalive(struct wg_peer *p, uint64_t now);
/* Sends what waits for a session, or begins a handshake. */
void wg_peer_send_staged(struct wg_peer *p, uint64_t now);

#include "wg/constants.h"

static inline bool wg_keypair_usable(const struct wg_keypair *kp, uint64_t now)
{
	return kp && now - kp->birth < WG_REJECT_AFTER_TIME &&
	       kp->counter < WG_REJECT_AFTER_MESSAGES;
}

static inline struct wg_keypair *wg_peer_session(const struct wg_peer *p, uint64_t now)
{
	return wg_keypair_usable(p->current, now) ? p->current : NULL;
}

#endif
