/* SPDX-License-Identifier: MIT */
/* One request of the control socket and its answer, without the socket. */
#ifndef KK_AGENTD_RELAY_REQUEST_H
#define KK_AGENTD_RELAY_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "agentd/relay/relay.h"

/*
 * Carries out the message @text of @len bytes. *@fd is the socket that came with it or -1; a "listen" that
 * succeeds takes it (sets it to -1). @trusted: the caller may change something. Returns the answer, a
 * fresh object, or NULL when memory is short.
 */
json_t *request_run(struct relay *relay, const char *text, size_t len, int *fd, bool trusted);

#endif
