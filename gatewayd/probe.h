/* SPDX-License-Identifier: MIT */
/*
 * Which Agents take connections for the services that they share with others. Each is sent a SYN through the tunnel, as
 * a client would send it, and its answer is left to the kernel, which resets it (RFC 9293 section 3.10.7.1): so no connection comes
 * to be, and the target hears nothing of it. An Agent refuses while its target is down. Of a service of UDP
 * it is sent an empty datagram, which its relay drops and its kernel refuses while the target is down (ICMP port
 * unreachable): silence is well, for whether the Agent is there at all is for others to say (health.h). It goes on without
 * Control.
 */
#ifndef KK_GATEWAYD_PROBE_H
#define KK_GATEWAYD_PROBE_H

#include <systemd/sd-event.h>

#include "proto/model.h"
#include "util/err.h"

#define PROBE_EVERY_US 400000 /* between two SYNs to one Agent, ... */
#define PROBE_REFUSALS 2      /* in a row make an Agent refuse: it may be about to listen */
#define PROBE_AT_ONCE  512    /* ... as long as there are no more services on Agents than these */
/*
 * Of UDP only each third time: Linux sends one host one ICMP error a second, after the first six, and what it does not send
 * would pass for silence.
 */
#define PROBE_UDP_EVERY 3
#define PROBE_SILENCES	2 /* in a row, until an Agent that refused takes datagrams again */

/* One Agent of one service. */
struct probe_target {
	int64_t service, agent;
	struct in_addr ours, its; /* addresses in its /24 */
	uint16_t port;		  /* the first of the service on the Agent, host byte order */
	uint8_t protocol;
	bool refuses;
	unsigned int refusals; /* in a row */
	unsigned int silences; /* of UDP: in a row */
	bool asked;	       /* of UDP: and nothing was heard yet */
	char name[KK_NAME_MAX + 1], service_name[KK_NAME_MAX + 1];
};

struct probe {
	sd_event *event;
	sd_event_source *timer, *io, *udp_io;
	int fd; /* raw, of TCP */
	int udp_fd;
	unsigned int rounds;
	int port_fd; /* keeps @port from others */
	uint16_t port;
	uint32_t sequence;
	struct probe_target *targets; /* in order of service and Agent */
	size_t n, next;
	void (*changed)(void *userdata);
	void *userdata;
};

#define PROBE_NONE                                                                                 \
	(struct probe)                                                                             \
	{                                                                                          \
		.fd = -1, .udp_fd = -1, .port_fd = -1                                              \
	}

/* @changed is called from the loop. -EPERM: raw sockets are for root. */
int probe_start(struct probe *probe, sd_event *event, const char *ifname,
		void (*changed)(void *userdata), void *userdata, struct kk_err *err);
void probe_stop(struct probe *probe);
/* From now on asks the Agents of the shared services of @config. One that is new is taken for well. -ENOMEM. */
int probe_set(struct probe *probe, const struct kk_config *config, struct kk_err *err);
/* False: the Agent refuses connections for the service. */
bool probe_ok(const struct probe *probe, int64_t service, int64_t agent);

#endif
