/* SPDX-License-Identifier: MIT */
/*
 * A WireGuard interface as an engine without I/O: bytes and time go in, datagrams and plaintext packets
 * come out. Time is monotonic nanoseconds that go on during suspend, and enters as @now; it never goes
 * back and is never 0. Nothing on the way of a packet allocates. One thread per device.
 *
 * The peers of one interface may be spread over several devices, its shards, each with a thread of its own. They have
 * allowed IPs and flows in common, kept by the first of them; a peer belongs to one. Only packets, time and
 * wg_device_find_peer() may go on in several threads at once: everything else needs that no other thread is in any of them.
 *
 * Outbound, for each plaintext packet or batch of packets of one flow:
 *	peer = wg_device_route(dev, packet, len, now);
 *	kp = wg_device_session(dev, peer, now);		NULL: wg_device_stage() each packet instead
 *	n = wg_keypair_seal(kp, in, padded, out);	for each; send to peer->endpoint
 *	wg_device_sent(dev, peer, bytes, now);		once a batch
 *
 * Inbound: wg_device_receive() for every datagram.
 */
#ifndef WG_DEVICE_H
#define WG_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wg/allowedips.h"
#include "wg/cookie.h"
#include "wg/flow.h"
#include "wg/index.h"
#include "wg/noise.h"
#include "wg/packet.h"
#include "wg/peer.h"
#include "wg/ratelimit.h"
#include "wg/stage.h"

/* What the engine needs from outside. Called from within the functions below; must not call back. */
struct wg_env {
	void *ctx;
	/* Fills @buf with random bytes fit for keys. */
	void (*random)(void *ctx, void *buf, size_t len);
	/* Wall clock, ns since 1970: for the timestamps of initiations. May jump. */
	uint64_t (*realtime)(void *ctx);
	/*
	 * Sends a datagram; @to is never none. Its source address may be forgotten where it is no longer
	 * ours. @ecn goes into the outer header.
	 */
	void (*transmit)(void *ctx, struct wg_endpoint *to, const void *data, size_t len,
			 uint8_t ecn);
	/*
	 * Takes an initiation that none of the device's own peers sent to the shard that knows its sender, for
	 * wg_handshake_continue() there. Returns whether one does. NULL: there are no other shards.
	 */
	bool (*elsewhere)(void *ctx, const struct wg_endpoint *from,
			  const struct wg_msg_initiation *msg, const struct wg_noise_draft *draft);
	/* Keeps other shards out of one of the WG_FLOW_STRIPES parts of the flow table. NULL: there are none. */
	void (*flows_lock)(void *ctx, uint32_t stripe);
	void (*flows_unlock)(void *ctx, uint32_t stripe);
};

/* Packets that went no further, by reason. */
struct wg_drops {
	uint64_t malformed;	/* no WireGuard message, or no IP packet in it */
	uint64_t mac;		/* first mac wrong */
	uint64_t load;		/* handshakes put off while under load */
	uint64_t handshake;	/* forged, replayed or unknown handshake messages */
	uint64_t unknown_index; /* data for no session of ours */
	uint64_t expired;	/* data for a session past its time */
	uint64_t forged;	/* data that does not authenticate */
	uint64_t replayed;
	uint64_t source;     /* inner source address not allowed for the peer */
	uint64_t congestion; /* marked outside, and the inner packet cannot be marked */
	uint64_t unroutable; /* outbound: no peer, or no endpoint */
};

struct wg_device {
	struct wg_env env;
	struct wg_device *
		first; /* keeps @allowedips, @flows and @ids of all shards; itself where there are no others */
	struct wg_identity identity;
	struct wg_cookie_checker checker;
	struct wg_ratelimit *ratelimit; /* made when first under load */
	struct wg_ratelimit *strangers; /* made in the first flood */
	struct wg_bucket load, replies, arrivals, looks;
	uint64_t load_until, flood_until; /* ns */
	struct wg_index_table indices;
	struct wg_keypair *last; /* of the last data message, so that a batch looks up once */
	struct wg_allowedips allowedips;
	struct wg_flow_table *flows; /* reply to ingress; NULL: off */
	struct {
		struct wg_flow_key key;
		uint32_t peer; /* 0: none */
		uint64_t now;
	} learnt; /* the last flow, so that a train teaches once; of use at @now only */
	struct wg_stage_pool stage;
	struct wg_peer *peers, **peers_end;
	struct wg_peer **buckets;   /* by public key */
	struct wg_peer **heap;	    /* by wake time */
	uint32_t n_peers, capacity; /* capacity: of the two tables above, a power of two */
	struct wg_peer **ids;	    /* by id - 1; NULL: free */
	uint32_t n_ids;		    /* size of @ids */
	struct wg_peer *spare; /* set aside by wg_device_reserve(), by next; of the first shard */
	uint32_t n_spare;
	uint32_t index_mask,
		index_bits; /* what a shard writes into its receiver indices, and where */
	struct wg_siphash_key hash_key;
	uint64_t rekey_after; /* ns: WG_REKEY_AFTER_TIME, unless a test is in a hurry */
	uint64_t jitter;      /* counts the random parts of timers that were drawn */
	uint64_t last_stamp;  /* last TAI64N given out, as ns since 1970 */
	bool up;
	bool eager; /* of the first shard */
	struct wg_drops drops;
	uint8_t scratch[WG_AEAD_HEADROOM + WG_STAGE_MTU + WG_PADDING + WG_DATA_OVERHEAD +
			WG_AEAD_TAILROOM];
};

/* wg_crypto_init() and wg_noise_init() first. @env is copied. NULL when out of memory. */
struct wg_device *wg_device_new(const struct wg_env *env);
/* Zeroes keys and frees all. The first shard goes last. */
void wg_device_free(struct wg_device *d);

#define WG_SHARDS      8  /* of an interface, at most */
#define WG_SHARD_SHIFT 24 /* where receiver indices have the number of the shard */
/*
 * Makes @d, fresh from wg_device_new(), shard number @shard of the interface whose shard 0 is @first (or @d itself).
 * All shards get the same identity and go up and down together.
 */
void wg_device_set_shard(struct wg_device *d, struct wg_device *first, uint32_t shard);
/* The shard that gave out the receiver index of a message; 0 for an initiation, which has none. */
uint32_t wg_message_shard(const uint8_t *msg, size_t len);

/*
 * A device that is down neither sends nor accepts anything. Going up sends keepalives to peers with a
 * persistent interval; going down forgets every session.
 */
void wg_device_up(struct wg_device *d, uint64_t now);
void wg_device_down(struct wg_device *d);

/* An all-zero @secret takes the identity away. Ends every session; drops the peer that is ourselves. */
int wg_device_set_secret(struct wg_device *d, const uint8_t secret[WG_KEY_LEN]);
/* The same with the identity made already; cannot fail. */
void wg_device_set_identity(struct wg_device *d, const struct wg_identity *id);
/*
 * Turns reply to ingress on or off. On: a prefix may belong to several peers, and a packet leaves by
 * the peer its flow last came from. Off: of the peers of a prefix the last added keeps it. 0 or -ENOMEM.
 * Said to any shard, it goes for all.
 */
int wg_device_set_reply_to_ingress(struct wg_device *d, bool on);

/*
 * On: initiations that nobody answers are sent again after WG_EAGER_FIRST to WG_EAGER_LAST rather than REKEY_TIMEOUT, and
 * to peers with a persistent interval without end. For a device that alone can begin (its peers do not know where it is),
 * and whose peers may not know it yet. Said to any shard, it goes for all.
 */
void wg_device_set_eager(struct wg_device *d, bool on);

/*
 * Sets memory aside, so that wg_device_add_peer() does not run out of it until @n peers were added to this shard. What
 * is set aside for peers themselves is for all shards together: after a call for each of them there is memory for @n.
 * Returns 0 or -ENOMEM. wg_device_release(), said to any shard, frees what is left of it.
 */
int wg_device_reserve(struct wg_device *d, uint32_t n);
void wg_device_release(struct wg_device *d);

struct wg_peer *wg_device_find_peer(const struct wg_device *d, const uint8_t public[WG_KEY_LEN]);
/* Returns 0, -ENOMEM, or -EEXIST; @ret may be NULL. */
int wg_device_add_peer(struct wg_device *d, const uint8_t public[WG_KEY_LEN], struct wg_peer **ret);
void wg_device_del_peer(struct wg_device *d, struct wg_peer *p);
void wg_device_flush_peers(struct wg_device *d);
/* Seconds, 0 off; sends one at once where it is turned on while up. */
void wg_device_set_keepalive(struct wg_device *d, struct wg_peer *p, uint16_t interval,
			     uint64_t now);

/* When wg_device_tick() is due, ns; UINT64_MAX: never. */
uint64_t wg_device_deadline(const struct wg_device *d);
/* Runs the timers that are due. */
void wg_device_tick(struct wg_device *d, uint64_t now);

/*
 * The peer for a plaintext packet of @len bytes: by its flow where reply to ingress is on, else by its
 * destination. NULL (counted): malformed, or nobody has the address. It may be of another shard: then the
 * packet is to be taken there, to peer->dev.
 */
struct wg_peer *wg_device_route(struct wg_device *d, const uint8_t *packet, size_t len,
				uint64_t now);
/* The peer that flow @key last came from, or NULL. */
struct wg_peer *wg_device_flow_peer(struct wg_device *d, const struct wg_flow_key *key);
/* The session to send under. NULL: stage the packets, a handshake is on its way. */
struct wg_keypair *wg_device_session(struct wg_device *d, struct wg_peer *p, uint64_t now);
/* Keeps a copy of the packet until there is a session; begins a handshake. */
void wg_device_stage(struct wg_device *d, struct wg_peer *p, const uint8_t *packet, size_t len,
		     size_t padded, uint8_t ecn, uint64_t now);
/*
 * Seals one packet to a data message. @in: the packet and zeroes, @padded bytes together, with
 * WG_AEAD_HEADROOM bytes in front that are overwritten and WG_AEAD_TAILROOM behind that are read. @out: gets
 * WG_DATA_OVERHEAD + @padded bytes, and has as much headroom less WG_DATA_HEADER, which must be writable and keeps
 * its value, and WG_AEAD_TAILROOM behind, which is overwritten. @in is out + WG_DATA_HEADER or does not overlap
 * @out. Returns the length of the message.
 */
size_t wg_keypair_seal(struct wg_keypair *kp, uint8_t *in, size_t padded, uint8_t *out);
/* After data messages of @bytes together were sent to @p: timers, counters, and a new handshake in time. */
void wg_device_sent(struct wg_device *d, struct wg_peer *p, uint64_t bytes, uint64_t now);

/* Length to which a packet is padded: a multiple of 16, but not above @mtu because of that. */
static inline size_t wg_padded(size_t len, size_t mtu)
{
	size_t padded = (len + WG_PADDING - 1) & ~(size_t)(WG_PADDING - 1);

	if (padded > mtu)
		padded = len > mtu ? len : mtu;
	return padded;
}

/*
 * Takes one datagram of @len bytes that came from @from (with our address as its source) with the
 * outer congestion mark @ecn. @msg has WG_AEAD_HEADROOM - WG_DATA_HEADER bytes in front; these and the
 * message may be overwritten; WG_AEAD_TAILROOM bytes behind it must be writable and keep their value. A data
 * message is opened to @out, which takes @len + WG_AEAD_TAILROOM bytes, has WG_AEAD_HEADROOM bytes in front that are
 * overwritten, and does not overlap @msg. Returns the length of the plaintext packet at @out, checked, trimmed and
 * allowed for *@ret_peer, or 0 where there is none.
 */
size_t wg_device_receive(struct wg_device *d, const struct wg_endpoint *from, uint8_t ecn,
			 uint8_t *msg, size_t len, uint8_t *out, struct wg_peer **ret_peer,
			 uint64_t now);

/*
 * Guesses the flow of the packet inside a data message that is still closed, for the order of work
 * only: nothing is checked, nothing changes, @msg stays as it is. Returns false where it cannot tell.
 */
bool wg_device_peek(struct wg_device *d, const uint8_t *msg, size_t len, struct wg_flow_key *ret);

/* Whether it is a data message under a session that there is; nothing is checked or changed. */
bool wg_device_knows(struct wg_device *d, const uint8_t *msg, size_t len);

/* For peer.c, handshake.c and timers.c. */
uint32_t wg_device_new_index(struct wg_device *d);
void wg_device_timestamp(struct wg_device *d, uint8_t out[WG_TIMESTAMP_LEN]);
void wg_device_wake_at(struct wg_device *d, struct wg_peer *p, uint64_t when);
/* Sends a message to the peer's endpoint and counts it. */
void wg_device_transmit(struct wg_device *d, struct wg_peer *p, const void *msg, size_t len,
			uint8_t ecn);

#endif
