// SPDX-License-Identifier: MIT
#include "gatewayd/health.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "proto/list.h"
#include "util/cleanup.h"
#include "util/log.h"

#ifndef ICMP_FILTER
#define ICMP_FILTER 1 /* linux/icmp.h, which does not go together with netinet/ip_icmp.h */
#endif

#define ANSWERS_AT_ONCE 256

static uint64_t now_us(const struct health *h)
{
	uint64_t now = 0;

	sd_event_now(h->event, CLOCK_MONOTONIC, &now);
	return now;
}

/* RFC 1071 */
static uint16_t checksum(const void *data, size_t len)
{
	const uint16_t *words = data;
	uint32_t sum = 0;

	for (size_t i = 0; i < len / 2; i++)
		sum += words[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* What cannot be sent is not answered, and that is what counts. */
static void ask(const struct health *h, const struct health_agent *a)
{
	struct icmphdr echo = {.type = ICMP_ECHO,
			       .un.echo = {.id = h->id, .sequence = htons(h->sequence)}};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = a->its};

	echo.checksum = checksum(&echo, sizeof(echo));
	if (sendto(h->fd, &echo, sizeof(echo), MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&to,
		   sizeof(to)) < 0)
		kk_debug("no echo can be sent to Agent %s: %s", a->name, strerror(errno));
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct health *h = userdata;
	const uint64_t now = now_us(h);
	bool changed = false;

	(void)usec;
	h->sequence++;
	for (size_t i = 0; i < h->n; i++) {
		struct health_agent *a = &h->agents[i];

		if (now - a->heard_us > HEALTH_SILENT_US) {
			if (!a->gone)
				kk_warn("Agent %s does not answer and gets no more flows", a->name);
			changed |= !a->gone;
			a->gone = true;
			a->answers = 0;
		}
		ask(h, a);
	}
	if (changed)
		h->changed(h->userdata);
	sd_event_source_set_time_relative(source, HEALTH_EVERY_US);
	return sd_event_source_set_enabled(source, h->n ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

/* An answer of @a. Returns whether that makes a difference. */
static bool hear(struct health *h, struct health_agent *a)
{
	a->heard_us = now_us(h);
	if (!a->gone || ++a->answers < HEALTH_ANSWERS)
		return false;
	kk_info("Agent %s answers again", a->name);
	a->gone = false;
	return true;
}

static bool take_answer(struct health *h, const uint8_t *packet, size_t len)
{
	struct iphdr ip;
	struct icmphdr icmp;

	if (len < sizeof(ip))
		return false;
	memcpy(&ip, packet, sizeof(ip));
	if (len < ip.ihl * 4u + sizeof(icmp))
		return false;
	memcpy(&icmp, packet + ip.ihl * 4u, sizeof(icmp));
	if (icmp.type != ICMP_ECHOREPLY || icmp.un.echo.id != h->id)
		return false;
	for (size_t i = 0; i < h->n; i++)
		if (h->agents[i].its.s_addr == ip.saddr && h->agents[i].ours.s_addr == ip.daddr)
			return hear(h, &h->agents[i]);
	return false;
}

static int on_packet(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct health *h = userdata;
	uint8_t packet[256];
	bool changed = false;

	(void)source;
	(void)events;
	for (int i = 0; i < ANSWERS_AT_ONCE; i++) {
		ssize_t n = recv(fd, packet, sizeof(packet), MSG_DONTWAIT);

		if (n < 0)
			break;
		changed |= take_answer(h, packet, (size_t)n);
	}
	if (changed)
		h->changed(h->userdata);
	return 0;
}

static int open_socket(const char *ifname, struct kk_err *err)
{
	const uint32_t others = ~(1u << ICMP_ECHOREPLY);
	KK_CLEANUP_CLOSE int fd =
		socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP);

	if (fd < 0 || setsockopt(fd, SOL_RAW, ICMP_FILTER, &others, sizeof(others)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, ifname, (socklen_t)strlen(ifname)) < 0)
		return kk_err_set(err, errno, "tunnel", "Agents cannot be asked for echoes: %s",
				  strerror(errno));
	return kk_steal_fd(&fd);
}

int health_start(struct health *h, sd_event *event, const char *ifname,
		 void (*changed)(void *userdata), void *userdata, struct kk_err *err)
{
	int r;

	*h = (struct health){.event = event, .fd = -1, .changed = changed, .userdata = userdata};
	if (getrandom(&h->id, sizeof(h->id), 0) != (ssize_t)sizeof(h->id))
		return kk_err_set(err, EIO, NULL, "no random numbers: %s", strerror(errno));
	h->fd = open_socket(ifname, err);
	if (h->fd < 0)
		return h->fd;
	r = sd_event_add_io(event, &h->io, h->fd, EPOLLIN, on_packet, h);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &h->timer, CLOCK_MONOTONIC, HEALTH_EVERY_US,
					       0, on_time, h);
	return r < 0 ? kk_err_set(err, -r, NULL, "cannot watch Agents: %s", strerror(-r)) : 0;
}

void health_stop(struct health *h)
{
	h->timer = sd_event_source_disable_unref(h->timer);
	h->io = sd_event_source_disable_unref(h->io);
	h->fd = kk_close(h->fd);
	free(h->agents);
	h->agents = NULL;
	h->n = 0;
}

static bool shares_a_service(const struct kk_config *config, int64_t agent)
{
	for (size_t i = 0; i < config->n_services; i++)
		for (size_t j = 0;
		     config->services[i].n_agents > 1 && j < config->services[i].n_agents; j++)
			if (config->services[i].agents[j] == agent)
				return true;
	return false;
}

static bool any_shared(const struct kk_config *config)
{
	for (size_t i = 0; i < config->n_services; i++)
		if (config->services[i].n_agents > 1)
			return true;
	return false;
}

int health_set(struct health *h, const struct kk_config *config, struct kk_err *err)
{
	struct health_agent *agents = calloc(config->n_agents + 1, sizeof(*agents));
	const bool any = any_shared(config);
	size_t n = 0;

	if (!agents)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	for (size_t i = 0; i < config->n_agents && any; i++) {
		const struct kk_agent *agent = &config->agents[i];
		const struct health_agent *known;

		if (!shares_a_service(config, agent->id))
			continue;
		known = kk_list_find(h->agents, h->n, sizeof(*h->agents), agent->id);
		agents[n] = known ? *known
				  : (struct health_agent){.id = agent->id, .heard_us = now_us(h)};
		agents[n].ours = kk_subnet_host(&agent->subnet, config->self.index);
		agents[n].its = kk_subnet_host(&agent->subnet, KK_AGENT_HOST);
		strcpy(agents[n++].name, agent->name);
	}
	free(h->agents);
	h->agents = agents;
	h->n = n;
	sd_event_source_set_enabled(h->timer, n ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
	return 0;
}

bool health_ok(const struct health *h, int64_t agent)
{
	const struct health_agent *a = kk_list_find(h->agents, h->n, sizeof(*h->agents), agent);

	return !a || !a->gone;
}
