/* SPDX-License-Identifier: MIT */
/* What a process that started as root gives up once everything is open. */
#ifndef KKWG_PRIVILEGE_H
#define KKWG_PRIVILEGE_H

/*
 * Keeps CAP_NET_ADMIN (fwmark, buffer sizes) and CAP_NET_BIND_SERVICE (ports below 1024 by `wg set`),
 * for good and without a way back; no new privileges by exec either. Stays the same user, who owns the
 * control socket. Returns 0 or -errno; without privileges to begin with there is nothing to do.
 */
int privilege_drop(void);

#endif
