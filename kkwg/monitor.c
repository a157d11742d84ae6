// SPDX-License-Identifier: MIT
#include "kkwg/monitor.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "util/cleanup.h"
#include "util/log.h"

void monitor_open(struct monitor *m, uint32_t ifindex)
{
	struct sockaddr_nl addr = {
		.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
			     RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE,
	};

	memset(m, 0, sizeof(*m));
	m->ifindex = ifindex;
	m->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (m->fd >= 0 && bind(m->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		m->fd = kk_close(m->fd);
	if (m->fd < 0)
		kk_warn("cannot watch routes: %m");
}

void monitor_close(struct monitor *m)
{
	m->fd = kk_close(m->fd);
}

static void read_link(struct monitor *m, struct nlmsghdr *n)
{
	struct ifinfomsg *info = NLMSG_DATA(n);
	int left = (int)IFLA_PAYLOAD(n);

	if ((uint32_t)info->ifi_index != m->ifindex)
		return;
	for (struct rtattr *a = IFLA_RTA(info); RTA_OK(a, left); a = RTA_NEXT(a, left))
		if (a->rta_type == IFLA_MTU)
			memcpy(&m->mtu, RTA_DATA(a), sizeof(m->mtu));
}

void monitor_read(struct monitor *m)
{
	_Alignas(struct nlmsghdr) char buf[8192];
	ssize_t len;

	while ((len = recv(m->fd, buf, sizeof(buf), 0)) > 0 || (len < 0 && errno == ENOBUFS)) {
		/* Lost some: assume the worst. */
		if (len < 0) {
			m->rerouted = true;
			continue;
		}
		for (struct nlmsghdr *n = (struct nlmsghdr *)buf; NLMSG_OK(n, (size_t)len);
		     n = NLMSG_NEXT(n, len)) {
			if (n->nlmsg_type == RTM_NEWLINK)
				read_link(m, n);
			else if (n->nlmsg_type != RTM_DELLINK)
				m->rerouted = true;
		}
	}
}
