/* SPDX-License-Identifier: MIT */
/*
 * The cross-platform control socket of WireGuard (https://www.wireguard.com/xplatform/):
 * /var/run/wireguard/IFACE.sock. A client that is slow never holds up the tunnel.
 */
#ifndef KKWG_UAPI_H
#define KKWG_UAPI_H

#include <stdbool.h>
#include <stdint.h>

#include "util/err.h"

#define UAPI_DIR "/var/run/wireguard"

struct engine;
struct uapi;

/* Makes the socket, in place of a dead one. -EADDRINUSE where another process answers on it. */
int uapi_open(struct engine *e, const char *iface, struct uapi **ret, struct kk_err *err);
/* Removes the socket; NULL is fine. */
void uapi_close(struct uapi *u);
/* Whether the socket file is still ours. */
bool uapi_exists(const struct uapi *u);
/* @events of epoll for the descriptor that was watched as @id. */
void uapi_event(struct uapi *u, uint64_t id, uint32_t events);

#endif
