/* SPDX-License-Identifier: MIT */
/* The Agent: brings tunnel and listeners to what Control says, keeps them so, and reports. */
#ifndef KK_AGENTD_AGENT_H
#define KK_AGENTD_AGENT_H

#include <systemd/sd-event.h>

#include "agentd/relayctl.h"
#include "agentd/tunnel.h"
#include "link/link.h"

#define AGENT_AGAIN_US	   (5 * 1000000ull)   /* until a rejected change is asked for again, */
#define AGENT_AGAIN_MAX_US (300 * 1000000ull) /* twice as long every time, up to this */
#define AGENT_CHECK_US	   (2 * 1000000ull) /* between looks at whether everything is still there */

struct agent {
	sd_event *event;
	const char *run_dir;
	struct kk_identity identity;
	struct tunnel *tunnel;
	struct relayctl relay;
	struct kk_link *link;
	sd_event_source *check, *relay_watch, *again;
	uint64_t again_us;
	int64_t troubled; /* generation whose mending failed and was logged */
};

struct agent_options {
	const char *state_dir, *run_dir;
	struct tunnel_options tunnel;
};

/* Adopts what a daemon before left, starts what is missing, and begins to talk with Control. */
int agent_init(struct agent *agent, sd_event *event, const struct agent_options *options,
	       struct kk_err *err);
/* Ends the daemon's part only: tunnel, relay and connections stay. */
void agent_clean(struct agent *agent);

/* In bring.c: makes the machine carry @config. What is so already is not touched. */
int agent_bring(struct agent *agent, const struct kk_config *config, struct kk_err *err);
/* In report.c: the fields of a report (doc/protocol.md). */
json_t *agent_report(struct agent *agent);

#endif
