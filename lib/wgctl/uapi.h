/* SPDX-License-Identifier: MIT */
/* Texts of the cross-platform configuration protocol. Private to lib/wgctl and its tests. */
#ifndef KK_WGCTL_UAPI_H
#define KK_WGCTL_UAPI_H

#include <stdio.h>

#include "wgctl/wgctl.h"

/*
 * Reads an answer to "get=1": NUL-terminated lines of key=value with "errno=0" as the last one. Keys that
 * are not known are passed over. Returns 0, -EBADMSG with @err for what is no such answer, or the
 * engine's own error. @ret is zeroed by the caller and freed by it, also after a failure.
 */
int uapi_parse_get(const char *answer, struct wgctl_device *ret, struct kk_err *err);

/* The errno in an answer to "set=1": 0, negative, or -EBADMSG. */
int uapi_parse_set(const char *answer);

/* The lines of one peer in a "set=1" request. */
void uapi_write_peer(FILE *f, const struct wgctl_peer *peer);

#endif
