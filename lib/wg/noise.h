/* SPDX-License-Identifier: MIT */
/*
 * The Noise_IKpsk2 handshake (paper section 5.4): states of one handshake per peer, and the four steps
 * that move them. Nothing here knows addresses or timers.
 */
#ifndef WG_NOISE_H
#define WG_NOISE_H

#include <stdbool.h>
#include <stdint.h>

#include "wg/message.h"

/* Our static key pair. */
struct wg_identity {
	uint8_t secret[WG_KEY_LEN];
	uint8_t public[WG_KEY_LEN];
	bool set;
};

enum wg_handshake_state {
	WG_HANDSHAKE_NONE,
	WG_HANDSHAKE_INITIATION_SENT,
	WG_HANDSHAKE_INITIATION_RECEIVED,
	WG_HANDSHAKE_RESPONSE_SENT,
	WG_HANDSHAKE_RESPONSE_RECEIVED,
};

struct wg_handshake {
	/* Lasting: belong to the peer. */
	uint8_t remote_static[WG_KEY_LEN];
	/* DH of both static keys; all zero makes every handshake fail. */
	uint8_t static_static[WG_KEY_LEN];
	uint8_t psk[WG_KEY_LEN];
	uint8_t last_timestamp[WG_TIMESTAMP_LEN];
	uint64_t last_initiation; /* when one was last accepted, ns; 0 never */
	/* Of the handshake under way; zeroed after it. */
	enum wg_handshake_state state;
	uint32_t local_index, remote_index;
	uint8_t hash[WG_HASH_LEN], chain[WG_HASH_LEN];
	uint8_t ephemeral[WG_KEY_LEN];	      /* our secret */
	uint8_t remote_ephemeral[WG_KEY_LEN]; /* their public */
};

/* What an initiation reveals before its peer is known. */
struct wg_noise_draft {
	uint8_t hash[WG_HASH_LEN], chain[WG_HASH_LEN];
	uint8_t remote_static[WG_KEY_LEN];
	uint8_t remote_ephemeral[WG_KEY_LEN];
};

/* Computes the hashes that every handshake starts from; wg_crypto_init() first. */
void wg_noise_init(void);

/* Clamps @secret and derives the public key; an all-zero @secret unsets the identity. 0 or -EINVAL. */
int wg_identity_set(struct wg_identity *id, const uint8_t secret[WG_KEY_LEN]);

/* Sets up @hs for a peer. An identity change is followed by wg_handshake_identity(). */
void wg_handshake_init(struct wg_handshake *hs, const struct wg_identity *id,
		       const uint8_t remote_static[WG_KEY_LEN]);
/* Computes static-static anew and forgets the handshake under way. */
void wg_handshake_identity(struct wg_handshake *hs, const struct wg_identity *id);
/* Zeroes what belongs to the handshake under way. */
void wg_handshake_clear(struct wg_handshake *hs);

/*
 * First message, up to its macs. @index is ours, @ephemeral 32 random bytes (cleared), @timestamp
 * TAI64N. Returns 0 or -EINVAL (no identity, or a peer key of low order).
 */
int wg_noise_initiation_make(struct wg_handshake *hs, const struct wg_identity *id, uint32_t index,
			     uint8_t ephemeral[WG_KEY_LEN],
			     const uint8_t timestamp[WG_TIMESTAMP_LEN],
			     struct wg_msg_initiation *msg);
/* Reads the sender's static key. Returns 0, or -EBADMSG for a forged or broken message. */
int wg_noise_initiation_open(const struct wg_identity *id, const struct wg_msg_initiation *msg,
			     struct wg_noise_draft *ret);
/*
 * Second half, once @hs of the sender is found. Returns 0, -EBADMSG, -EALREADY for a timestamp not
 * newer than the last, or -EBUSY where the last one came less than @min_gap ns before @now. @hs is
 * untouched on failure.
 */
int wg_noise_initiation_accept(struct wg_handshake *hs, const struct wg_noise_draft *draft,
			       const struct wg_msg_initiation *msg, uint64_t now, uint64_t min_gap);
/* Second message, up to its macs, for an accepted initiation. Returns 0 or -EINVAL. */
int wg_noise_response_make(struct wg_handshake *hs, uint32_t index, uint8_t ephemeral[WG_KEY_LEN],
			   struct wg_msg_response *msg);
/* Takes the answer to our initiation. Returns 0 or -EBADMSG with @hs untouched. */
int wg_noise_response_accept(struct wg_handshake *hs, const struct wg_identity *id,
			     const struct wg_msg_response *msg);
/*
 * Transport keys of a completed handshake (state RESPONSE_SENT or RESPONSE_RECEIVED), seen from our
 * side; clears the handshake. The caller zeroes the keys after use.
 */
void wg_noise_keys(struct wg_handshake *hs, uint8_t send[WG_KEY_LEN], uint8_t recv[WG_KEY_LEN]);

#endif
