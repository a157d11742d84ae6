// SPDX-License-Identifier: MIT
#include "net/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include "net/nl.h"

/* How often a dump that changes overtook is started again. */
#define DUMP_ATTEMPTS 5

static struct kk_prefix generic(const struct kk_prefix4 *prefix)
{
	return (struct kk_prefix){.addr = {.family = AF_INET, .v4 = prefix->addr},
				  .len = prefix->len};
}

static int fill(struct nl_msg *msg, const struct kk_prefix *prefix, int index)
{
	const size_t len = prefix->addr.family == AF_INET6 ? 16 : 4;
	struct ifaddrmsg info = {
		.ifa_family = (uint8_t)prefix->addr.family,
		.ifa_prefixlen = prefix->len,
		.ifa_index = (unsigned int)index,
	};

	if (!msg || nlmsg_append(msg, &info, sizeof(info), NLMSG_ALIGNTO) < 0 ||
	    nla_put(msg, IFA_LOCAL, (int)len, prefix->addr.bytes) < 0 ||
	    nla_put(msg, IFA_ADDRESS, (int)len, prefix->addr.bytes) < 0)
		return -ENOMEM;
	/* Nobody else can have it, and what is bound to it must not wait. */
	if (prefix->addr.family == AF_INET6 && nla_put_u32(msg, IFA_FLAGS, IFA_F_NODAD) < 0)
		return -ENOMEM;
	return 0;
}

static int change(int type, int flags, const char *ifname, const struct kk_prefix *prefix,
		  int is_so_already, struct kk_err *err)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg = nlmsg_alloc_simple(type, flags);
	int index = kk_net_ifindex(ifname), r;
	char text[KK_PREFIX_TEXT];

	if (index < 0)
		return kk_err_set(err, ENODEV, "interface", "there is no interface %s", ifname);
	if (fill(msg, prefix, index) < 0)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	r = kk_rtnl_call(msg, NULL, NULL);
	if (r < 0 && r != is_so_already)
		return kk_err_set(err, -r, "address", "cannot %s address %s %s %s: %s",
				  type == RTM_NEWADDR ? "add" : "remove",
				  kk_prefix_text(prefix, text), type == RTM_NEWADDR ? "to" : "from",
				  ifname, strerror(-r));
	return 0;
}

int kk_net_addr6_add(const char *ifname, const struct kk_prefix *prefix, struct kk_err *err)
{
	return change(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, ifname, prefix, -EEXIST, err);
}

int kk_net_addr6_del(const char *ifname, const struct kk_prefix *prefix, struct kk_err *err)
{
	return change(RTM_DELADDR, 0, ifname, prefix, -EADDRNOTAVAIL, err);
}

int kk_net_addr_add(const char *ifname, const struct kk_prefix4 *prefix, struct kk_err *err)
{
	const struct kk_prefix p = generic(prefix);

	return kk_net_addr6_add(ifname, &p, err);
}

int kk_net_addr_del(const char *ifname, const struct kk_prefix4 *prefix, struct kk_err *err)
{
	const struct kk_prefix p = generic(prefix);

	return kk_net_addr6_del(ifname, &p, err);
}

struct list {
	unsigned int index;
	sa_family_t family;
	struct kk_prefix *items;
	size_t n, size;
};

/* The address of a message, or NULL where it is none of the list's. IPv6 has IFA_LOCAL for point-to-point only. */
static const struct nlattr *address_of(struct nlmsghdr *hdr, const struct list *list,
				       struct nlattr **attrs)
{
	const struct ifaddrmsg *info = nlmsg_data(hdr);
	const struct nlattr *addr = attrs[IFA_LOCAL] ? attrs[IFA_LOCAL] : attrs[IFA_ADDRESS];

	if (info->ifa_family != list->family || info->ifa_index != list->index || !addr ||
	    nla_len(addr) != (list->family == AF_INET6 ? 16 : 4))
		return NULL;
	if (list->family == AF_INET6 && info->ifa_scope == RT_SCOPE_LINK)
		return NULL;
	return addr;
}

static int collect(struct nlmsghdr *hdr, void *userdata)
{
	struct nlattr *attrs[IFA_MAX + 1];
	struct ifaddrmsg *info = nlmsg_data(hdr);
	struct list *list = userdata;
	const struct nlattr *addr;

	if (nlmsg_parse(hdr, sizeof(*info), attrs, IFA_MAX, NULL) < 0)
		return -EBADMSG;
	addr = address_of(hdr, list, attrs);
	if (!addr)
		return 0;
	if (list->n == list->size) {
		size_t size = list->size ? 2 * list->size : 16;
		struct kk_prefix *bigger = reallocarray(list->items, size, sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		list->items = bigger;
		list->size = size;
	}
	list->items[list->n] =
		(struct kk_prefix){.addr.family = list->family, .len = info->ifa_prefixlen};
	memcpy(list->items[list->n++].addr.bytes, nla_data(addr), (size_t)nla_len(addr));
	return 0;
}

static int dump(struct list *list)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg = nlmsg_alloc_simple(RTM_GETADDR, NLM_F_DUMP);
	struct ifaddrmsg info = {.ifa_family = (uint8_t)list->family};

	if (!msg || nlmsg_append(msg, &info, sizeof(info), NLMSG_ALIGNTO) < 0)
		return -ENOMEM;
	return kk_rtnl_call(msg, collect, list);
}

static int list_addresses(const char *ifname, sa_family_t family, struct kk_prefix **ret,
			  struct kk_err *err)
{
	int index = kk_net_ifindex(ifname), r = -EAGAIN;
	struct list list = {.index = (unsigned int)index, .family = family};

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

int kk_net_addr6_list(const char *ifname, struct kk_prefix **ret, struct kk_err *err)
{
	return list_addresses(ifname, AF_INET6, ret, err);
}

int kk_net_addr_list(const char *ifname, struct kk_prefix4 **ret, struct kk_err *err)
{
	struct kk_prefix *all = NULL;
	struct kk_prefix4 *list;
	int n = list_addresses(ifname, AF_INET, &all, err);

	if (n < 0)
		return n;
	list = calloc((size_t)n + 1, sizeof(*list));
	for (int i = 0; list && i < n; i++)
		list[i] = (struct kk_prefix4){all[i].addr.v4, all[i].len};
	free(all);
	if (!list)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	*ret = list;
	return n;
}
