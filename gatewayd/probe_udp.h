/* SPDX-License-Identifier: MIT */
/* The question of probe.h to services of UDP: empty datagrams through the tunnel, and what is refused of them. */
#ifndef KK_GATEWAYD_PROBE_UDP_H
#define KK_GATEWAYD_PROBE_UDP_H

#include <netinet/in.h>
#include <stdbool.h>

#include "gatewayd/probe.h"

/* A socket on the tunnel @ifname, which is readable (EPOLLERR) when there are refusals. Negative errno. */
int probe_udp_open(const char *ifname);
/* Negative errno: the question could not be sent. */
int probe_udp_ask(int fd, const struct probe_target *target);
/* Takes the next refusal; *@ret_by is who was asked. False: there is none. */
bool probe_udp_refusal(int fd, struct sockaddr_in *ret_by);

#endif
