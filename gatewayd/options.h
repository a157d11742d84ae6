/* SPDX-License-Identifier: MIT */
/* The command line of kkgatewayd. */
#ifndef KK_GATEWAYD_OPTIONS_H
#define KK_GATEWAYD_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>
#include <netinet/in.h>

#include "plane/plane.h"
#include "util/err.h"
#include "wgctl/wgctl.h"

enum command {
	COMMAND_JOIN,
	COMMAND_RUN,
	COMMAND_DOWN,
	COMMAND_HELP,
	COMMAND_VERSION,
};

struct options {
	/* as given; texts point into argv or are static */
	const char *state, *public_interface, *address, *tunnel_interface, *tunnel, *engine,
		*pin_dir, *metrics, *datapath, *xdp, *closed_ports;
	int64_t syn_rate; /* a second; 0: never */
	bool force, verbose, help, version;
	/* what they mean */
	enum command command;
	const char *token; /* of join */
	enum wgctl_kind tunnel_kind;
	struct in_addr managed; /* --address; 0: to be found */
	struct sockaddr_in metrics_at;
	enum kk_plane_host datapath_host;
	struct kk_edge_config edge;
	char default_pin_dir[64];
};

/* Reads argv into @ret, which must stay where it is. Returns 0 or -EINVAL / -ERANGE with @err. */
int options_read(int argc, char **argv, struct options *ret, struct kk_err *err);
void options_help(FILE *f);

#endif
