// SPDX-License-Identifier: MIT
#include "gatewayd/probe_udp.h"

#include <errno.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <linux/errqueue.h>

#include "util/cleanup.h"
#include "util/log.h"

int probe_udp_open(const char *ifname)
{
	const struct sockaddr_in any = {.sin_family = AF_INET};
	KK_CLEANUP_CLOSE int fd =
		socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_UDP);
	const int on = 1;

	if (fd < 0 || setsockopt(fd, SOL_IP, IP_RECVERR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, ifname, (socklen_t)strlen(ifname)) < 0 ||
	    bind(fd, (const struct sockaddr *)&any, sizeof(any)) < 0)
		return -errno;
	return kk_steal_fd(&fd);
}

int probe_udp_ask(int fd, const struct probe_target *target)
{
	const struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_addr = target->its, .sin_port = htons(target->port)};

	/* An error may be of an earlier question, and is gone once told. */
	for (int i = 0; i < 2; i++)
		if (sendto(fd, NULL, 0, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&to,
			   sizeof(to)) == 0)
			return 0;
	kk_debug("Agent %s cannot be asked for service %s: %s", target->name, target->service_name,
		 strerror(errno));
	return -errno;
}

/* The message's error is a port that is closed. */
static bool is_refusal(struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		struct sock_extended_err e;

		if (c->cmsg_level != SOL_IP || c->cmsg_type != IP_RECVERR)
			continue;
		memcpy(&e, CMSG_DATA(c), sizeof(e));
		return e.ee_origin == SO_EE_ORIGIN_ICMP && e.ee_type == ICMP_DEST_UNREACH &&
		       e.ee_code == ICMP_PORT_UNREACH;
	}
	return false;
}

bool probe_udp_refusal(int fd, struct sockaddr_in *ret_by)
{
	for (;;) {
		char control[512];
		struct msghdr msg = {.msg_name = ret_by,
				     .msg_namelen = sizeof(*ret_by),
				     .msg_control = control,
				     .msg_controllen = sizeof(control)};

		if (recvmsg(fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
			return false;
		if (is_refusal(&msg))
			return true;
	}
}
