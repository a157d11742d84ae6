/* SPDX-License-Identifier: MIT */
/* The control socket (control.h): who may ask what, and the answers. */
#ifndef KK_AGENTD_RELAY_SERVER_H
#define KK_AGENTD_RELAY_SERVER_H

#include <sys/types.h>

#include "agentd/relay/relay.h"

struct server;

/*
 * Binds the socket at @path (mode 0660), which no other relay may be serving: -EADDRINUSE. What a dead
 * relay left there is replaced.
 */
int server_bind(const char *path, int *ret_fd, struct kk_err *err);
/* Serves @fd, which it takes. Operations that change something are for root and @owner. */
int server_new(struct relay *relay, int fd, uid_t owner, struct server **ret);
void server_free(struct server *server);

#endif
