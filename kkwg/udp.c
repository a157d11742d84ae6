// SPDX-License-Identifier: MIT
#include "kkwg/udp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/udp.h>

#include "kkwg/filter.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "wg/packet.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define SEND_WAIT 10 /* ms that a full send buffer is waited for */

/* Room for the control messages below, both families. */
#define CONTROL_LEN                                                                                \
	(CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(int)))

static void set_int(int fd, int level, int option, int value)
{
	setsockopt(fd, level, option, &value, sizeof(value));
}

static void set_buffer(int fd, int force, int option)
{
	int size = UDP_BUFFER;

	if (setsockopt(fd, SOL_SOCKET, force, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, option, &size, sizeof(size));
}

static void set_options(int fd, int family)
{
	set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF);
	set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF);
	if (family == AF_INET) {
		set_int(fd, IPPROTO_IP, IP_PKTINFO, 1);
		set_int(fd, IPPROTO_IP, IP_RECVTOS, 1);
		/* Outer packets may be fragmented, as those of the kernel's WireGuard. */
		set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
	} else {
		set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
		set_int(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
		set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT);
	}
}

/* @join: to others that have the port already. */
static int open_one(int family, uint16_t *port, uint32_t mark, bool join)
{
	KK_CLEANUP_CLOSE int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct wg_endpoint self = {0};
	socklen_t len = family == AF_INET ? sizeof(self.in) : sizeof(self.in6);
	int r;

	if (fd < 0)
		return -errno;
	set_options(fd, family);
	r = filter_attach(fd);
	if (r < 0)
		kk_debug("no early discard: %s", strerror(-r));
	if (mark && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0)
		return -errno;
	if (family == AF_INET6)
		set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (join)
		set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	self.sa.sa_family = (sa_family_t)family;
	self.in.sin_port = htons(*port); /* the same place in both forms */
	if (bind(fd, &self.sa, len) < 0 || getsockname(fd, &self.sa, &len) < 0)
		return -errno;
	*port = ntohs(self.in.sin_port);
	return kk_steal_fd(&fd);
}

static bool try_option(int fd, int option, int value)
{
	return fd >= 0 && setsockopt(fd, IPPROTO_UDP, option, &value, sizeof(value)) == 0;
}

static void probe(struct udp *u)
{
	u->gso = try_option(u->fd4, UDP_SEGMENT, 0);
	u->gro = try_option(u->fd4, UDP_GRO, 1);
	try_option(u->fd6, UDP_GRO, 1);
}

int udp_open(struct udp *u, uint16_t port, uint32_t mark, struct kk_err *err)
{
	struct udp n = {.fd4 = -1, .fd6 = -1, .mark = mark};

	/* A port that the kernel picks for IPv4 may be taken for IPv6: then another. */
	for (int i = 0; i < 16; i++) {
		n.port = port;
		n.fd4 = open_one(AF_INET, &n.port, mark, false);
		if (n.fd4 < 0)
			return kk_err_set(err, -n.fd4, "listen_port", "UDP port %u: %s", port,
					  strerror(-n.fd4));
		n.fd6 = open_one(AF_INET6, &n.port, mark, false);
		if (n.fd6 != -EADDRINUSE || port)
			break;
		n.fd4 = kk_close(n.fd4);
	}
	if (n.fd6 == -EADDRINUSE) {
		kk_close(n.fd4);
		return kk_err_set(err, EADDRINUSE, "listen_port", "UDP port %u is in use for IPv6",
				  port);
	}
	if (n.fd6 < 0)
		n.fd6 = -1;
	probe(&n);
	kk_debug("UDP port %u, segmentation offload: sending %s, receiving %s", n.port,
		 n.gso ? "yes" : "no", n.gro ? "yes" : "no");
	*u = n;
	return 0;
}

int udp_join(struct udp *u, const struct udp *first)
{
	uint16_t port = first->port;

	*u = *first;
	u->fd6 = -1;
	u->fd4 = open_one(AF_INET, &port, first->mark, true);
	if (u->fd4 < 0)
		return u->fd4;
	if (first->fd6 >= 0) {
		u->fd6 = open_one(AF_INET6, &port, first->mark, true);
		if (u->fd6 < 0) {
			u->fd4 = kk_close(u->fd4);
			return u->fd6;
		}
	}
	probe(u);
	return 0;
}

void udp_close(struct udp *u)
{
	u->fd4 = kk_close(u->fd4);
	u->fd6 = kk_close(u->fd6);
}

int udp_set_mark(struct udp *u, uint32_t mark)
{
	if (setsockopt(u->fd4, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0)
		return -errno;
	if (u->fd6 >= 0)
		setsockopt(u->fd6, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
	u->mark = mark;
	return 0;
}

/* --- sending --- */

static void *add_control(struct msghdr *m, size_t *used, int level, int type, const void *data,
			 size_t len)
{
	struct cmsghdr *c = (struct cmsghdr *)((uint8_t *)m->msg_control + *used);

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	*used += CMSG_SPACE(len);
	return c;
}

static void add_source(struct msghdr *m, size_t *used, const struct wg_endpoint *to)
{
	if (to->sa.sa_family == AF_INET && to->src4.s_addr) {
		struct in_pktinfo info = {.ipi_spec_dst = to->src4};

		add_control(m, used, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	} else if (to->sa.sa_family == AF_INET6 && !IN6_IS_ADDR_UNSPECIFIED(&to->src6)) {
		struct in6_pktinfo info = {.ipi6_addr = to->src6, .ipi6_ifindex = to->src_ifindex};

		add_control(m, used, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
	}
}

static void fill(struct msghdr *m, struct iovec *iov, void *control, const struct udp_send *s)
{
	bool v4 = s->to->sa.sa_family == AF_INET;
	size_t used = 0;

	*iov = (struct iovec){s->data, s->len};
	*m = (struct msghdr){
		.msg_name = &s->to->sa,
		.msg_namelen = v4 ? sizeof(s->to->in) : sizeof(s->to->in6),
		.msg_iov = iov,
		.msg_iovlen = 1,
		.msg_control = control,
	};
	add_source(m, &used, s->to);
	if (s->ecn) {
		int tos = s->ecn;

		add_control(m, &used, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TOS : IPV6_TCLASS,
			    &tos, sizeof(tos));
	}
	if (s->count > 1)
		add_control(m, &used, IPPROTO_UDP, UDP_SEGMENT, &s->segment, sizeof(s->segment));
	m->msg_controllen = used;
	if (!used)
		m->msg_control = NULL;
}

static int fd_for(const struct udp *u, const struct udp_send *s)
{
	return s->to->sa.sa_family == AF_INET ? u->fd4 : u->fd6;
}

static bool wait_writable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	return poll(&p, 1, SEND_WAIT) == 1 && (p.revents & POLLOUT);
}

/* Whether the socket, or what is below it, is full for the moment. */
static bool is_full(int error)
{
	return error == EAGAIN || error == ENOBUFS || error == ENOMEM;
}

static int send_one(int fd, const struct udp_send *s)
{
	_Alignas(struct cmsghdr) uint8_t control[CONTROL_LEN] = {0};
	struct msghdr m;
	struct iovec iov;

	fill(&m, &iov, control, s);
	if (sendmsg(fd, &m, 0) >= 0)
		return 0;
	if (is_full(errno) && wait_writable(fd) && sendmsg(fd, &m, 0) >= 0)
		return 0;
	return -errno;
}

/* Each datagram by itself, for kernels and routes that cannot segment. */
static void send_apart(int fd, const struct udp_send *s)
{
	struct udp_send one = *s;

	one.count = 1;
	for (uint32_t at = 0; at < s->len; at += s->segment) {
		one.data = s->data + at;
		one.len = s->len - at < s->segment ? s->len - at : s->segment;
		send_one(fd, &one);
	}
}

/* The device, or the MTU of the route, does not allow it: that may change, so it is tried again later. */
static void pause_gso(struct udp *u, int error)
{
	if (!u->gso_warned)
		kk_warn("datagrams are sent one by one: the kernel cannot segment them on their way: %s",
			strerror(error));
	u->gso_warned = true;
	u->gso = false;
	u->gso_pause = UDP_GSO_PAUSE;
}

static void count_pause(struct udp *u, unsigned int n)
{
	if (!u->gso_pause)
		return;
	u->gso_pause = u->gso_pause > n ? u->gso_pause - n : 0;
	u->gso = !u->gso_pause;
}

/*
 * A send that was refused, one piece at a time so that the cause shows: the first datagram by itself, also without
 * its source address, which may not be ours any more; then the rest as it was, which fails if segmenting is it.
 */
static void send_again(struct udp *u, int fd, const struct udp_send *s)
{
	struct udp_send first = *s, rest = *s;
	int r;

	first.count = 1;
	first.len = s->len < s->segment ? s->len : s->segment;
	r = send_one(fd, &first);
	if (r < 0 && !is_full(-r)) {
		wg_endpoint_forget_source(s->to);
		r = send_one(fd, &first);
	}
	if (r < 0 || s->count == 1)
		return;
	rest.data += first.len;
	rest.len -= first.len;
	rest.count--;
	r = send_one(fd, &rest);
	if (r == 0 || is_full(-r))
		return;
	if (rest.count > 1)
		pause_gso(u, -r);
	send_apart(fd, &rest);
}

/* Sends those from @m that go through @fd; what finds no room in time is dropped, as on any full link. */
static void send_run(struct udp *u, int fd, struct mmsghdr *m, struct udp_send *batch,
		     unsigned int n)
{
	bool waited = false;

	for (unsigned int done = 0; done < n;) {
		int sent = n - done == 1 ? (sendmsg(fd, &m[done].msg_hdr, 0) < 0 ? -1 : 1)
					 : sendmmsg(fd, m + done, n - done, 0);

		if (sent > 0) {
			done += (unsigned int)sent;
			waited = false;
		} else if (!is_full(errno)) {
			send_again(u, fd, &batch[done++]);
		} else if (waited) {
			done++;
			waited = false;
		} else if (wait_writable(fd)) {
			waited = true;
		} else {
			return;
		}
	}
}

void udp_send(struct udp *u, struct udp_send *batch, unsigned int n)
{
	_Alignas(struct cmsghdr) uint8_t control[UDP_SENDS][CONTROL_LEN];
	struct mmsghdr m[UDP_SENDS];
	struct iovec iov[UDP_SENDS];
	unsigned int done = 0;

	memset(control, 0, n * sizeof(control[0]));
	for (unsigned int i = 0; i < n; i++)
		fill(&m[i].msg_hdr, &iov[i], control[i], &batch[i]);
	while (done < n) {
		int fd = fd_for(u, &batch[done]);
		unsigned int run = 1;

		while (done + run < n && fd_for(u, &batch[done + run]) == fd)
			run++;
		if (fd >= 0)
			send_run(u, fd, m + done, batch + done, run);
		done += run;
	}
	count_pause(u, n);
}

/* --- receiving --- */

static void read_control(struct msghdr *m, struct udp_received *r)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		const void *data = CMSG_DATA(c);

		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			int segment;

			memcpy(&segment, data, sizeof(segment));
			r->segment = (uint32_t)segment;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
			r->ecn = *(const uint8_t *)data & WG_ECN_MASK;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
			int class;

			memcpy(&class, data, sizeof(class));
			r->ecn = (uint8_t) class & WG_ECN_MASK;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;

			memcpy(&info, data, sizeof(info));
			r->from.src4 = info.ipi_spec_dst;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, data, sizeof(info));
			r->from.src6 = info.ipi6_addr;
			if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
				r->from.src_ifindex = info.ipi6_ifindex;
		}
	}
}

int udp_receive(int fd, struct udp_received *batch, unsigned int n)
{
	_Alignas(struct cmsghdr) uint8_t control[UDP_BATCH][CONTROL_LEN];
	struct mmsghdr m[UDP_BATCH];
	struct iovec iov[UDP_BATCH];
	int got;

	for (unsigned int i = 0; i < n; i++) {
		memset(&batch[i].from, 0, sizeof(batch[i].from));
		iov[i] = (struct iovec){batch[i].data, batch[i].max};
		m[i].msg_hdr = (struct msghdr){
			.msg_name = &batch[i].from.sa,
			.msg_namelen = sizeof(batch[i].from.in6),
			.msg_iov = &iov[i],
			.msg_iovlen = 1,
			.msg_control = control[i],
			.msg_controllen = CONTROL_LEN,
		};
	}
	got = recvmmsg(fd, m, n, MSG_DONTWAIT, NULL);
	if (got < 0)
		return -errno;
	for (int i = 0; i < got; i++) {
		batch[i].len = m[i].msg_len;
		batch[i].segment = m[i].msg_len;
		batch[i].ecn = 0;
		read_control(&m[i].msg_hdr, &batch[i]);
		if (m[i].msg_hdr.msg_flags & MSG_TRUNC)
			batch[i].len = 0;
	}
	return got;
}
