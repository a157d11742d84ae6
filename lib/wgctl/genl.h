/* SPDX-License-Identifier: MIT */
/* The messages of the kernel's "wireguard" family (linux/wireguard.h). Private to lib/wgctl and its tests. */
#ifndef KK_WGCTL_GENL_H
#define KK_WGCTL_GENL_H

#include <netlink/msg.h>

#include "wgctl/wgctl.h"

/*
 * A request of @cmd (WG_CMD_...) to @family about @ifname, with room for @room bytes of attributes. NULL: memory
 * is short.
 */
struct nl_msg *wg_genl_request(int family, uint8_t cmd, int flags, const char *ifname, size_t room);

/* The most bytes that a peer takes in a request. */
#define WG_GENL_PEER_ROOM (128 + 48 * WGCTL_ALLOWED_MAX)

/*
 * Puts @peer into the list of peers that is being written; @flags are WGPEER_F_... . With REMOVE_ME only
 * its key is sent. Returns 0 or -EMSGSIZE.
 */
int wg_genl_put_peer(struct nl_msg *msg, const struct wgctl_peer *peer, uint32_t flags);

/*
 * Adds one message of a WG_CMD_GET_DEVICE dump to @device. A peer with many allowed IPs goes on in the
 * next message under the same key. Returns 0, -EBADMSG or -ENOMEM.
 */
int wg_genl_parse(struct nlmsghdr *hdr, struct wgctl_device *device);

#endif
