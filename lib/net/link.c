// SPDX-License-Identifier: MIT
#include "net/net.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include "net/nl.h"
#include "util/cleanup.h"

int kk_net_ifindex(const char *ifname)
{
	unsigned int index = if_nametoindex(ifname);

	return index ? (int)index : -ENODEV;
}

/* A request about @ifname, or about a new interface with @index 0. NULL: memory is short. */
static struct nl_msg *link_request(int type, int flags, int index, unsigned int if_flags,
				   unsigned int change)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg = nlmsg_alloc_simple(type, flags);
	struct ifinfomsg info = {
		.ifi_family = AF_UNSPEC,
		.ifi_index = index,
		.ifi_flags = if_flags,
		.ifi_change = change,
	};

	if (!msg || nlmsg_append(msg, &info, sizeof(info), NLMSG_ALIGNTO) < 0)
		return NULL;
	return KK_STEAL(msg);
}

static int no_such_link(const char *ifname, struct kk_err *err)
{
	return kk_err_set(err, ENODEV, "interface", "there is no interface %s", ifname);
}

int kk_net_link_add(const char *ifname, const char *kind, struct kk_err *err)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg = NULL;
	struct nlattr *info;
	int r;

	if (!ifname[0] || strlen(ifname) >= IFNAMSIZ)
		return kk_err_set(err, EINVAL, "interface",
				  "\"%.64s\" is not an interface name (1 to %d bytes)", ifname,
				  IFNAMSIZ - 1);
	msg = link_request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, 0, 0);
	if (!msg || nla_put_string(msg, IFLA_IFNAME, ifname) < 0)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	info = nla_nest_start(msg, IFLA_LINKINFO);
	if (!info || nla_put_string(msg, IFLA_INFO_KIND, kind) < 0)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	nla_nest_end(msg, info);
	r = kk_rtnl_call(msg, NULL, NULL);
	if (r < 0)
		return kk_err_set(err, -r, "interface", "cannot make interface %s of kind %s: %s",
				  ifname, kind, strerror(-r));
	return 0;
}

struct kind {
	char *text;
	size_t len;
};

static int read_kind(struct nlmsghdr *hdr, void *userdata)
{
	struct nlattr *attrs[IFLA_MAX + 1], *info[IFLA_INFO_MAX + 1];
	struct kind *kind = userdata;

	if (nlmsg_parse(hdr, sizeof(struct ifinfomsg), attrs, IFLA_MAX, NULL) < 0)
		return -EBADMSG;
	if (!attrs[IFLA_LINKINFO])
		return 0;
	if (nla_parse_nested(info, IFLA_INFO_MAX, attrs[IFLA_LINKINFO], NULL) < 0)
		return -EBADMSG;
	if (info[IFLA_INFO_KIND])
		snprintf(kind->text, kind->len, "%s", nla_get_string(info[IFLA_INFO_KIND]));
	return 0;
}

int kk_net_link_kind(const char *ifname, char *ret, size_t len)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg = NULL;
	int index = kk_net_ifindex(ifname);
	struct kind kind = {ret, len};

	if (index < 0)
		return index;
	msg = link_request(RTM_GETLINK, 0, index, 0, 0);
	if (!msg)
		return -ENOMEM;
	ret[0] = '\0';
	return kk_rtnl_call(msg, read_kind, &kind);
}

int kk_net_link_set(const char *ifname, bool up, unsigned int mtu, struct kk_err *err)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg = NULL;
	int index = kk_net_ifindex(ifname), r;

	if (index < 0)
		return no_such_link(ifname, err);
	msg = link_request(RTM_NEWLINK, 0, index, up ? IFF_UP : 0, IFF_UP);
	if (!msg || (mtu && nla_put_u32(msg, IFLA_MTU, mtu) < 0))
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	r = kk_rtnl_call(msg, NULL, NULL);
	if (r < 0)
		return kk_err_set(err, -r, "interface", "cannot set interface %s %s (MTU %u): %s",
				  ifname, up ? "up" : "down", mtu, strerror(-r));
	return 0;
}

int kk_net_link_move(const char *ifname, int netns_fd, struct kk_err *err)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg = NULL;
	int index = kk_net_ifindex(ifname), r;

	if (index < 0)
		return no_such_link(ifname, err);
	msg = link_request(RTM_NEWLINK, 0, index, 0, 0);
	if (!msg || nla_put_u32(msg, IFLA_NET_NS_FD, (uint32_t)netns_fd) < 0)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	r = kk_rtnl_call(msg, NULL, NULL);
	if (r < 0)
		return kk_err_set(err, -r, "interface",
				  "cannot move interface %s to another network namespace: %s",
				  ifname, strerror(-r));
	return 0;
}

int kk_net_link_del(const char *ifname, struct kk_err *err)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg = NULL;
	int index = kk_net_ifindex(ifname), r;

	if (index < 0)
		return 0;
	msg = link_request(RTM_DELLINK, 0, index, 0, 0);
	if (!msg)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	r = kk_rtnl_call(msg, NULL, NULL);
	if (r < 0 && r != -ENODEV)
		return kk_err_set(err, -r, "interface", "cannot delete interface %s: %s", ifname,
				  strerror(-r));
	return 0;
}

int kk_net_watch_links(struct kk_err *err)
{
	const struct sockaddr_nl groups = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	KK_CLEANUP_CLOSE int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&groups, sizeof(groups)) < 0)
		return kk_err_set(err, errno, NULL, "cannot watch the interfaces: %s",
				  strerror(errno));
	return kk_steal_fd(&fd);
}

void kk_net_watch_read(int fd)
{
	char unread[64]; /* the rest of a message is dropped, and so is what overflowed */

	while (recv(fd, unread, sizeof(unread), 0) >= 0 || errno == ENOBUFS || errno == EINTR)
		;
}
