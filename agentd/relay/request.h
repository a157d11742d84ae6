/* SPDX-License-Identifier: MIT */
/* One request of the control socket and its answer, without the socket. */
#ifndef KK_AGENTD_RELAY_REQUEST_H
#define KK_AGENTD_RELAY_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "agentd/relay/relay.h"

#define REQUEST_FDS_MAX 250 /* the kernel takes 253 with one message */

struct request_fds {
	int fd[REQUEST_FDS_MAX];
	size_t n;
};

/*
 * Carries out the message @text of @len bytes. @fds are the sockets that came with it; an operation that
 * succeeds takes those that it uses (n is 0 then). @trusted: the caller may change something. Returns the answer, a
 * fresh object, or NULL when memory is short.
 */
json_t *request_run(struct relay *relay, const char *text, size_t len, struct request_fds *fds,
		    bool trusted);

#endif
