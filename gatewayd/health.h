/* SPDX-License-Identifier: MIT */
/*
 * Which Agents answer. Those that share a service with others are asked for an echo (RFC 792) through the tunnel
 * all the time: one that has fallen silent gets no more flows, with or without Control.
 */
#ifndef KK_GATEWAYD_HEALTH_H
#define KK_GATEWAYD_HEALTH_H

#include <systemd/sd-event.h>

#include "proto/model.h"
#include "util/err.h"

#define HEALTH_EVERY_US	 400000	 /* between two echoes */
#define HEALTH_SILENT_US 1300000 /* without an answer, until an Agent is taken for gone */
#define HEALTH_ANSWERS	 3	 /* in a row, until one that was gone is taken for back */

struct health_agent {
	int64_t id;
	struct in_addr ours, its; /* addresses in its /24 */
	bool gone;
	uint64_t heard_us;    /* CLOCK_MONOTONIC */
	unsigned int answers; /* since it was taken for gone, in a row */
	char name[KK_NAME_MAX + 1];
};

struct health {
	sd_event *event;
	sd_event_source *timer, *io;
	int fd; /* raw, for ICMP */
	uint16_t id, sequence;
	struct health_agent *agents; /* in order of id */
	size_t n;
	void (*changed)(void *userdata);
	void *userdata;
};

/* @changed is called from the loop. -EPERM: raw sockets are for root. */
int health_start(struct health *health, sd_event *event, const char *ifname,
		 void (*changed)(void *userdata), void *userdata, struct kk_err *err);
void health_stop(struct health *health);
/* From now on watches the Agents that share a service in @config. One that is new is taken for well. */
int health_set(struct health *health, const struct kk_config *config, struct kk_err *err);
/* Whether the Agent answers, or is not watched. */
bool health_ok(const struct health *health, int64_t agent);

#endif
