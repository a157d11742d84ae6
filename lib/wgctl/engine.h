/* SPDX-License-Identifier: MIT */
/*
 * The process behind a userspace interface: a WireGuard engine (kkwg, wireguard-go) that is started as
 * "PROGRAM -f IFNAME" and listens on a Unix socket named after the interface. Private to lib/wgctl.
 */
#ifndef KK_WGCTL_ENGINE_H
#define KK_WGCTL_ENGINE_H

#include <stddef.h>

#include "util/err.h"

/* A connection to the engine's socket, which the caller closes. -ENOENT, -ECONNREFUSED: no engine there. */
int wgctl_engine_connect(const char *ifname);

/*
 * 1: an engine serves @ifname; 0: none does, and what a dead one left, or one that has lost its
 * interface, has been cleared away.
 */
int wgctl_engine_find(const char *ifname, struct kk_err *err);

/* The absolute path of the engine's program, by the rule of wgctl_open. -ENOENT: there is none. */
int wgctl_engine_program(const char *engine, char *ret, size_t len, struct kk_err *err);

/* Starts it detached and waits until it accepts connections. */
int wgctl_engine_start(const char *ifname, const char *program, struct kk_err *err);

/* Ends the engine, its interface and its socket. */
int wgctl_engine_stop(const char *ifname, struct kk_err *err);

#endif
