/* SPDX-License-Identifier: MIT */
/*
 * One face for two ways of WireGuard: the kernel's, by generic netlink, and a userspace engine, by the
 * cross-platform UAPI socket (https://www.wireguard.com/xplatform/#configuration-protocol).
 * The tunnel outlives the process that made it: closing a struct wgctl leaves it running.
 */
#ifndef KK_WGCTL_H
#define KK_WGCTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>

#include "util/address.h"
#include "util/encode.h"
#include "util/err.h"
#include "util/parse.h"

enum wgctl_kind {
	WGCTL_AUTO, /* the kernel's where it has one, else userspace */
	WGCTL_KERNEL,
	WGCTL_USERSPACE,
};

struct wgctl; /* opaque, one interface */

#define WGCTL_ALLOWED_MAX  8
#define WGCTL_ALLOWED6_MAX 2

struct wgctl_peer {
	uint8_t public_key[KK_KEY_LEN];
	union kk_sockaddr endpoint;		      /* family 0: none or leave as it is */
	uint16_t keepalive;			      /* seconds, 0: off */
	struct kk_prefix4 allowed[WGCTL_ALLOWED_MAX]; /* replaces what the peer had */
	size_t n_allowed;
	struct kk_prefix allowed6[WGCTL_ALLOWED6_MAX]; /* of IPv6; replaces what it had, too */
	size_t n_allowed6;
	/* filled by wgctl_get only */
	bool allowed_other;	/* it has more allowed IPs than fit above */
	int64_t last_handshake; /* Unix seconds, 0: never */
	uint64_t rx_bytes, tx_bytes;
};

struct wgctl_device {
	uint8_t private_key[KK_KEY_LEN]; /* all zero: none yet */
	uint8_t public_key[KK_KEY_LEN];
	uint16_t listen_port; /* host byte order */
	struct wgctl_peer *peers;
	size_t n_peers;
};

/*
 * Opens interface @ifname in the caller's network namespace, or adopts it if it is there already
 * (*@ret_adopted true). -EEXIST: the name is taken by something that is no WireGuard, or by the other kind.
 * - Kernel: every call acts in the namespace that the caller is in at that time, so enter the one the
 *   interface is in (also for the opening that adopts it).
 * - Userspace: calls go to the engine's socket and work from every namespace, wherever the interface was
 *   moved. An engine that answers is adopted by its name, even if its interface is in another namespace:
 *   a caller that must have it here asks kk_net_ifindex. What a dead engine left behind is removed; an
 *   engine whose interface has vanished is ended and replaced.
 * A userspace engine is started detached, in a session of its own, from the program @engine (NULL: kkwg from our
 * own directory or PATH if there, else wireguard-go from PATH), and is waited for until its socket answers,
 * 5 s at most. Returns 0 with *@ret to be closed by wgctl_close, or a negative errno with @err.
 */
int wgctl_open(const char *ifname, enum wgctl_kind kind, const char *engine, struct wgctl **ret,
	       bool *ret_adopted, struct kk_err *err);
/* As wgctl_open, but makes nothing: -ENODEV where there is no such tunnel. */
int wgctl_adopt(const char *ifname, struct wgctl **ret, struct kk_err *err);
void wgctl_close(struct wgctl *wg);
void wgctl_closep(struct wgctl **wg);

/* WGCTL_KERNEL or WGCTL_USERSPACE, and for status why that one, in words. Valid until closed. */
enum wgctl_kind wgctl_kind(const struct wgctl *wg);
const char *wgctl_reason(const struct wgctl *wg);

/* Sets the private key and the UDP port to listen on (0: any); peers stay. */
int wgctl_set_device(struct wgctl *wg, const uint8_t private_key[KK_KEY_LEN], uint16_t listen_port,
		     struct kk_err *err);
/*
 * Adds or changes @n peers: a peer that is there keeps its session. In one request, or as many as it takes;
 * after a failure some of them may have been set, and wgctl_get tells which.
 */
int wgctl_set_peers(struct wgctl *wg, const struct wgctl_peer *peers, size_t n, struct kk_err *err);
/* A peer that is not there is no error. */
int wgctl_remove_peer(struct wgctl *wg, const uint8_t public_key[KK_KEY_LEN], struct kk_err *err);
/* Reads everything back; the caller releases it with wgctl_device_free, which wipes the key. */
int wgctl_get(struct wgctl *wg, struct wgctl_device *ret, struct kk_err *err);
void wgctl_device_free(struct wgctl_device *device);
/*
 * Turns on that peers may share allowed IPs, and that a packet leaves by the peer its flow last came from.
 * -EOPNOTSUPP: this WireGuard cannot do that (the kernel's, wireguard-go).
 */
int wgctl_reply_to_ingress(struct wgctl *wg, struct kk_err *err);
/*
 * Has handshakes that nobody answers begun again within 2 s and not 5 s, and with a keepalive without end: for an end that
 * alone can begin, whose other end may be made anew. -EOPNOTSUPP: this WireGuard cannot do that (the kernel's, wireguard-go).
 */
int wgctl_eager(struct wgctl *wg, struct kk_err *err);
/*
 * Tells an engine whether others' packets will go through the interface, too, for it to keep them whole; the kernel and
 * engines that do not ask take them as they are. To be told while the interface is where the engine is.
 */
int wgctl_forwarding(struct wgctl *wg, bool on, struct kk_err *err);
/*
 * A connection to an engine that replies to ingress, over which nothing can be asked but which peer a flow last
 * came from (kkwg/flows.h): fit to be handed to a process without privileges. The caller closes it.
 */
int wgctl_flows(struct wgctl *wg, struct kk_err *err);
/* Ends the tunnel: deletes the kernel's interface or stops the engine. @wg is still to be closed. */
int wgctl_destroy(struct wgctl *wg, struct kk_err *err);

/* A fresh Curve25519 private key (RFC 7748), clamped; and the public key of one. */
int wgctl_genkey(uint8_t private_key[KK_KEY_LEN]);
int wgctl_pubkey(const uint8_t private_key[KK_KEY_LEN], uint8_t public_key[KK_KEY_LEN]);

#endif
