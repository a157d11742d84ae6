// SPDX-License-Identifier: MIT
#include "gatewayd/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "gatewayd/probe_udp.h"
#include "util/cleanup.h"
#include "util/log.h"

#define ANSWERS_AT_ONCE 256

/* RFC 9293 section 3.1, with the pseudo header of IPv4. */
static uint16_t checksum(const struct tcphdr *tcp, struct in_addr source, struct in_addr dest)
{
	uint16_t words[sizeof(*tcp) / 2];
	uint32_t sum = htons(IPPROTO_TCP) + htons(sizeof(*tcp));

	memcpy(words, tcp, sizeof(*tcp));
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		sum += words[i];
	sum += (source.s_addr & 0xffff) + (source.s_addr >> 16);
	sum += (dest.s_addr & 0xffff) + (dest.s_addr >> 16);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* What cannot be sent is not answered: whether the Agent is there at all is for others to say (health.h). */
static void ask(const struct probe *p, const struct probe_target *t)
{
	struct tcphdr syn = {
		.source = htons(p->port),
		.dest = htons(t->port),
		.seq = htonl(p->sequence),
		.doff = sizeof(syn) / 4,
		.syn = 1,
		.window = htons(1024),
	};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = t->its};

	syn.check = checksum(&syn, t->ours, t->its);
	if (sendto(p->fd, &syn, sizeof(syn), MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&to,
		   sizeof(to)) < 0)
		kk_debug("Agent %s cannot be asked for service %s: %s", t->name, t->service_name,
			 strerror(errno));
}

static const char *what_comes(const struct probe_target *t)
{
	return t->protocol == IPPROTO_UDP ? "datagrams" : "connections";
}

/* Returns whether the answer makes a difference. */
static bool judge(struct probe_target *t, bool refused)
{
	bool refuses;

	t->refusals = refused ? t->refusals + 1 : 0;
	refuses = t->refusals >= PROBE_REFUSALS;
	if (t->refuses == refuses || (refused && !refuses))
		return false;
	t->refuses = refuses;
	if (refuses)
		kk_warn("Agent %s refuses %s for service %s and gets no more of them", t->name,
			what_comes(t), t->service_name);
	else
		kk_info("Agent %s takes %s for service %s again", t->name, what_comes(t),
			t->service_name);
	return true;
}

/* An Agent of a service of UDP, which has been silent if nothing was heard since it was asked last. */
static bool ask_udp(struct probe *p, struct probe_target *t)
{
	bool changed = false;

	if (t->asked && (++t->silences >= PROBE_SILENCES || !t->refuses))
		changed = judge(t, false);
	t->asked = probe_udp_ask(p->udp_fd, t) == 0;
	return changed;
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct probe *p = userdata;
	bool changed = false;

	(void)usec;
	p->sequence += 0x10001;
	p->rounds++;
	for (size_t i = 0; i < p->n && i < PROBE_AT_ONCE; i++) {
		struct probe_target *t;

		p->next = p->next < p->n ? p->next : 0;
		t = &p->targets[p->next++];
		if (t->protocol == IPPROTO_TCP)
			ask(p, t);
		else if (p->rounds % PROBE_UDP_EVERY == 0 || (t->refusals && !t->refuses))
			changed |= ask_udp(p, t);
	}
	if (changed)
		p->changed(p->userdata);
	sd_event_source_set_time_relative(source, PROBE_EVERY_US);
	return sd_event_source_set_enabled(source, p->n ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static bool take_answer(struct probe *p, const uint8_t *packet, size_t len)
{
	struct iphdr ip;
	struct tcphdr tcp;
	bool changed = false;

	if (len < sizeof(ip))
		return false;
	memcpy(&ip, packet, sizeof(ip));
	if (len < ip.ihl * 4u + sizeof(tcp))
		return false;
	memcpy(&tcp, packet + ip.ihl * 4u, sizeof(tcp));
	if (ntohs(tcp.dest) != p->port || !tcp.ack || ntohl(tcp.ack_seq) != p->sequence + 1 ||
	    tcp.rst == tcp.syn)
		return false;
	for (size_t i = 0; i < p->n; i++) {
		struct probe_target *t = &p->targets[i];

		if (t->protocol == IPPROTO_TCP && t->its.s_addr == ip.saddr &&
		    t->ours.s_addr == ip.daddr && t->port == ntohs(tcp.source))
			changed |= judge(t, tcp.rst);
	}
	return changed;
}

static int on_packet(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct probe *p = userdata;
	uint8_t packet[128];
	bool changed = false;

	(void)source;
	(void)events;
	for (int i = 0; i < ANSWERS_AT_ONCE; i++) {
		ssize_t n = recv(fd, packet, sizeof(packet), MSG_DONTWAIT);

		if (n < 0)
			break;
		changed |= take_answer(p, packet, (size_t)n);
	}
	if (changed)
		p->changed(p->userdata);
	return 0;
}

static int on_refusal(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct probe *p = userdata;
	struct sockaddr_in by;
	bool changed = false;

	(void)source;
	(void)events;
	for (int n = 0; n < ANSWERS_AT_ONCE && probe_udp_refusal(fd, &by); n++)
		for (size_t i = 0; i < p->n; i++) {
			struct probe_target *t = &p->targets[i];

			if (!t->asked || t->its.s_addr != by.sin_addr.s_addr ||
			    t->port != ntohs(by.sin_port))
				continue;
			t->asked = false;
			t->silences = 0;
			changed |= judge(t, true);
		}
	if (changed)
		p->changed(p->userdata);
	return 0;
}

/* A port that nobody listens on and nobody else gets. */
static int reserve_port(struct probe *p)
{
	struct sockaddr_in name = {.sin_family = AF_INET};
	socklen_t len = sizeof(name);

	p->port_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (p->port_fd < 0 || bind(p->port_fd, (struct sockaddr *)&name, sizeof(name)) < 0 ||
	    getsockname(p->port_fd, (struct sockaddr *)&name, &len) < 0)
		return -errno;
	p->port = ntohs(name.sin_port);
	return 0;
}

/* Of all TCP that comes out of the tunnel, what is to our port. */
static int attach_filter(const struct probe *p)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
		BPF_STMT(BPF_LD | BPF_H | BPF_IND, offsetof(struct tcphdr, dest)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, p->port, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 128),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	const struct sock_fprog program = {ARRAY_SIZE(code), code};

	return setsockopt(p->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0
		       ? -errno
		       : 0;
}

static int open_socket(struct probe *p, const char *ifname)
{
	int r = reserve_port(p);

	if (r < 0)
		return r;
	p->fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
	if (p->fd < 0)
		return -errno;
	r = attach_filter(p);
	if (r == 0 &&
	    setsockopt(p->fd, SOL_SOCKET, SO_BINDTODEVICE, ifname, (socklen_t)strlen(ifname)) < 0)
		r = -errno;
	return r;
}

int probe_start(struct probe *p, sd_event *event, const char *ifname,
		void (*changed)(void *userdata), void *userdata, struct kk_err *err)
{
	int r;

	*p = PROBE_NONE;
	p->event = event;
	p->changed = changed;
	p->userdata = userdata;
	if (getrandom(&p->sequence, sizeof(p->sequence), 0) != (ssize_t)sizeof(p->sequence))
		return kk_err_set(err, EIO, NULL, "no random numbers: %s", strerror(errno));
	r = open_socket(p, ifname);
	if (r >= 0)
		r = sd_event_add_io(event, &p->io, p->fd, EPOLLIN, on_packet, p);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &p->timer, CLOCK_MONOTONIC, PROBE_EVERY_US, 0,
					       on_time, p);
	if (r >= 0)
		r = p->udp_fd = probe_udp_open(ifname);
	if (r >= 0)
		r = sd_event_add_io(event, &p->udp_io, p->udp_fd, EPOLLERR, on_refusal, p);
	if (r < 0)
		return kk_err_set(err, -r, "tunnel",
				  "Agents cannot be asked for their services: %s", strerror(-r));
	return 0;
}

void probe_stop(struct probe *p)
{
	p->timer = sd_event_source_disable_unref(p->timer);
	p->io = sd_event_source_disable_unref(p->io);
	p->udp_io = sd_event_source_disable_unref(p->udp_io);
	p->udp_fd = kk_close(p->udp_fd);
	p->fd = kk_close(p->fd);
	p->port_fd = kk_close(p->port_fd);
	free(p->targets);
	p->targets = NULL;
	p->n = 0;
}

static const struct probe_target *find(const struct probe *p, int64_t service, int64_t agent)
{
	size_t low = 0, high = p->n;

	while (low < high) {
		size_t mid = (low + high) / 2;
		const struct probe_target *t = &p->targets[mid];

		if (t->service == service && t->agent == agent)
			return t;
		if (t->service < service || (t->service == service && t->agent < agent))
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static bool is_asked(const struct kk_service *service)
{
	return service->n_agents > 1;
}

static void add(const struct probe *p, const struct kk_config *config,
		const struct kk_service *service, const struct kk_agent *agent,
		struct probe_target *ret)
{
	const struct probe_target *known = find(p, service->id, agent->id);

	*ret = (struct probe_target){
		.service = service->id,
		.agent = agent->id,
		.ours = kk_subnet_host(&agent->subnet, config->self.index),
		.its = kk_subnet_host(&agent->subnet, KK_AGENT_HOST),
		.port = service->agent_port,
		.protocol = service->protocol,
		.refuses = known && known->refuses,
		.refusals = known ? known->refusals : 0,
	};
	strcpy(ret->name, agent->name);
	strcpy(ret->service_name, service->name);
}

int probe_set(struct probe *p, const struct kk_config *config, struct kk_err *err)
{
	struct probe_target *targets;
	size_t n = 0;

	for (size_t i = 0; i < config->n_services; i++)
		n += is_asked(&config->services[i]) ? config->services[i].n_agents : 0;
	targets = calloc(n + 1, sizeof(*targets));
	if (!targets)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	n = 0;
	for (size_t i = 0; i < config->n_services; i++) {
		const struct kk_service *service = &config->services[i];

		for (size_t j = 0; is_asked(service) && j < service->n_agents; j++) {
			const struct kk_agent *agent = kk_config_agent(config, service->agents[j]);

			if (agent)
				add(p, config, service, agent, &targets[n++]);
		}
	}
	free(p->targets);
	p->targets = targets;
	p->n = n;
	sd_event_source_set_enabled(p->timer, n ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
	return 0;
}

bool probe_ok(const struct probe *p, int64_t service, int64_t agent)
{
	const struct probe_target *t = find(p, service, agent);

	return !t || !t->refuses;
}
