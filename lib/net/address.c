// SPDX-License-Identifier: MIT
#include "net/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include "net/nl.h"

/* How often a dump that changes overtook is started again. */
#define DUMP_ATTEMPTS 5

static int change(int type, int flags, const char *ifname, const struct kk_prefix4 *prefix,
		  int is_so_already, struct kk_err *err)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg = nlmsg_alloc_simple(type, flags);
	int index = kk_net_ifindex(ifname), r;
	struct ifaddrmsg info = {
		.ifa_family = AF_INET,
		.ifa_prefixlen = prefix->len,
		.ifa_index = (unsigned int)index,
	};
	char text[INET_ADDRSTRLEN];

	if (index < 0)
		return kk_err_set(err, ENODEV, "interface", "there is no interface %s", ifname);
	if (!msg || nlmsg_append(msg, &info, sizeof(info), NLMSG_ALIGNTO) < 0 ||
	    nla_put(msg, IFA_LOCAL, sizeof(prefix->addr), &prefix->addr) < 0 ||
	    nla_put(msg, IFA_ADDRESS, sizeof(prefix->addr), &prefix->addr) < 0)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	r = kk_rtnl_call(msg, NULL, NULL);
	if (r < 0 && r != is_so_already) {
		inet_ntop(AF_INET, &prefix->addr, text, sizeof(text));
		return kk_err_set(err, -r, "address", "cannot %s address %s/%u %s %s: %s",
				  type == RTM_NEWADDR ? "add" : "remove", text, prefix->len,
				  type == RTM_NEWADDR ? "to" : "from", ifname, strerror(-r));
	}
	return 0;
}

int kk_net_addr_add(const char *ifname, const struct kk_prefix4 *prefix, struct kk_err *err)
{
	return change(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, ifname, prefix, -EEXIST, err);
}

int kk_net_addr_del(const char *ifname, const struct kk_prefix4 *prefix, struct kk_err *err)
{
	return change(RTM_DELADDR, 0, ifname, prefix, -EADDRNOTAVAIL, err);
}

struct list {
	unsigned int index;
	struct kk_prefix4 *items;
	size_t n, size;
};

static int collect(struct nlmsghdr *hdr, void *userdata)
{
	struct nlattr *attrs[IFA_MAX + 1];
	struct ifaddrmsg *info = nlmsg_data(hdr);
	struct list *list = userdata;

	if (nlmsg_parse(hdr, sizeof(*info), attrs, IFA_MAX, NULL) < 0)
		return -EBADMSG;
	if (info->ifa_family != AF_INET || info->ifa_index != list->index || !attrs[IFA_LOCAL] ||
	    nla_len(attrs[IFA_LOCAL]) != sizeof(struct in_addr))
		return 0;
	if (list->n == list->size) {
		size_t size = list->size ? 2 * list->size : 16;
		struct kk_prefix4 *bigger = reallocarray(list->items, size, sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		list->items = bigger;
		list->size = size;
	}
	list->items[list->n] = (struct kk_prefix4){.len = info->ifa_prefixlen};
	memcpy(&list->items[list->n++].addr, nla_data(attrs[IFA_LOCAL]), sizeof(struct in_addr));
	return 0;
}

static int dump(struct list *list)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg = nlmsg_alloc_simple(RTM_GETADDR, NLM_F_DUMP);
	struct ifaddrmsg info = {.ifa_family = AF_INET};

	if (!msg || nlmsg_append(msg, &info, sizeof(info), NLMSG_ALIGNTO) < 0)
		return -ENOMEM;
	return kk_rtnl_call(msg, collect, list);
}

int kk_net_addr_list(const char *ifname, struct kk_prefix4 **ret, struct kk_err *err)
{
	int index = kk_net_ifindex(ifname), r = -EAGAIN;
	struct list list = {.index = (unsigned int)index};

	if (index < 0)
		return kk_err_set(err, ENODEV, "interface", "there is no interface %s", ifname);
	for (int i = 0; i < DUMP_ATTEMPTS && r == -EAGAIN; i++) {
		list.n = 0;
		r = dump(&list);
	}
	if (r < 0) {
		free(list.items);
		return kk_err_set(err, -r, "interface", "cannot list the addresses of %s: %s",
				  ifname, strerror(-r));
	}
	*ret = list.items;
	return (int)list.n;
}
