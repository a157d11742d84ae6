/* SPDX-License-Identifier: MIT */
/* The daemon's line to the relay (relay/control.h), and the starting of it. */
#ifndef KK_AGENTD_RELAYCTL_H
#define KK_AGENTD_RELAYCTL_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/model.h"
#include "util/err.h"

struct relayctl {
	int fd;
	char path[108]; /* of the control socket */
};

/* What the relay serves, as it says. */
struct relay_listener {
	int64_t service;
	uint8_t protocol;
	uint16_t port, last_port, agent_port;
	bool proxy_protocol;
	bool shared; /* its target is watched */
	char target[KK_TARGET_MAX];
	struct kk_address addresses[2]; /* that the first port's sockets are bound to */
	size_t n_addresses, n_sockets;
	uint64_t netns_cookie; /* of the sockets' namespace, SO_NETNS_COOKIE */
	char error[192];       /* "" while the target is well */
};

/* The socket's place in a daemon's run directory. */
int relayctl_init(struct relayctl *ctl, const char *run_dir, struct kk_err *err);
/* Connects to the relay that is there; -ENOENT or -ECONNREFUSED when there is none. */
int relayctl_connect(struct relayctl *ctl, struct kk_err *err);
/* As above, but starts one where there is none. */
int relayctl_open(struct relayctl *ctl, const char *run_dir, struct kk_err *err);
void relayctl_close(struct relayctl *ctl);

/* All below: 0, or a negative errno with the relay's sentence in @err. */

/*
 * Hands over the sockets that @next makes, @n in all, each called for with its number and closed here. What @next
 * answers below 0 ends it, with its @err; the service is then not served.
 */
int relayctl_listen(struct relayctl *ctl, const struct kk_service *service, size_t n,
		    int (*next)(size_t i, void *userdata, struct kk_err *err), void *userdata,
		    struct kk_err *err);
/* Names the gateways of @config; @fd, from wgctl_flows, stays the caller's. */
int relayctl_gateways(struct relayctl *ctl, const struct kk_config *config, int fd,
		      struct kk_err *err);
int relayctl_set(struct relayctl *ctl, const struct kk_service *service, struct kk_err *err);
int relayctl_unlisten(struct relayctl *ctl, int64_t service, struct kk_err *err);
/* Everything that is served, in order of service; *@ret is freed by the caller. */
int relayctl_list(struct relayctl *ctl, struct relay_listener **ret, size_t *ret_n,
		  struct kk_err *err);
/* Ends the relay and waits until it is gone. */
int relayctl_quit(struct relayctl *ctl, struct kk_err *err);

#endif
