/* SPDX-License-Identifier: MIT */
/* What a back end of wgctl is. Private to lib/wgctl. */
#ifndef KK_WGCTL_OPS_H
#define KK_WGCTL_OPS_H

#include <net/if.h>

#include "wgctl/wgctl.h"

/* Each as its namesake in wgctl.h; arguments are checked there. */
struct wgctl_ops {
	enum wgctl_kind kind;
	int (*set_device)(struct wgctl *wg, const uint8_t private_key[KK_KEY_LEN],
			  uint16_t listen_port, struct kk_err *err);
	int (*set_peers)(struct wgctl *wg, const struct wgctl_peer *peers, size_t n,
			 struct kk_err *err);
	int (*remove_peer)(struct wgctl *wg, const uint8_t public_key[KK_KEY_LEN],
			   struct kk_err *err);
	int (*get)(struct wgctl *wg, struct wgctl_device *ret, struct kk_err *err);
	int (*reply_to_ingress)(struct wgctl *wg, struct kk_err *err); /* NULL: cannot */
	int (*eager)(struct wgctl *wg, struct kk_err *err);	       /* NULL: cannot */
	int (*forwarding)(struct wgctl *wg, bool on,
			  struct kk_err *err);		    /* NULL: need not be told */
	int (*flows)(struct wgctl *wg, struct kk_err *err); /* NULL: cannot */
	int (*destroy)(struct wgctl *wg, struct kk_err *err);
};

struct wgctl {
	const struct wgctl_ops *ops;
	char ifname[IFNAMSIZ];
	char reason[160];
};

extern const struct wgctl_ops wgctl_kernel_ops, wgctl_uapi_ops;

/* Appends a zeroed peer, or NULL when memory is short. @device->peers is kept at a power of two. */
struct wgctl_peer *wgctl_device_grow(struct wgctl_device *device);
/* Takes one allowed IP of a peer that was read; what does not fit is marked. */
void wgctl_peer_allow(struct wgctl_peer *peer, const struct kk_prefix *prefix);

#endif
