/* SPDX-License-Identifier: MIT */
/*
 * Interfaces, addresses, routes and network namespaces, by rtnetlink (libnl-route-3). Every call acts in
 * the calling thread's network namespace. What is there already is no error: calls say how it shall be.
 */
#ifndef KK_NET_NET_H
#define KK_NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>

#include "util/address.h"
#include "util/err.h"
#include "util/parse.h"

/* The index of @ifname, or -ENODEV. */
int kk_net_ifindex(const char *ifname);
/* Makes an interface of @kind as ip-link(8) names it. -EEXIST: the name is taken; -EOPNOTSUPP: no such kind. */
int kk_net_link_add(const char *ifname, const char *kind, struct kk_err *err);
/* The kind of @ifname ("tun", "wireguard"; "" for hardware) into @ret of @len bytes. -ENODEV: no such interface. */
int kk_net_link_kind(const char *ifname, char *ret, size_t len);
/* Link up (or down) with @mtu bytes (0: leave). */
int kk_net_link_set(const char *ifname, bool up, unsigned int mtu, struct kk_err *err);
/* Moves @ifname into the namespace open as @netns_fd. */
int kk_net_link_move(const char *ifname, int netns_fd, struct kk_err *err);
int kk_net_link_del(const char *ifname, struct kk_err *err);
/*
 * A descriptor that becomes readable when an interface comes, goes or changes; closed by the caller. _read takes what has
 * come, so that it is quiet again: what has changed is for the caller to look at.
 */
int kk_net_watch_links(struct kk_err *err);
void kk_net_watch_read(int fd);

/* @prefix.addr with its host bits: an interface address. */
int kk_net_addr_add(const char *ifname, const struct kk_prefix4 *prefix, struct kk_err *err);
int kk_net_addr_del(const char *ifname, const struct kk_prefix4 *prefix, struct kk_err *err);
/* All IPv4 addresses of @ifname; *@ret is freed by the caller. Returns how many or a negative errno. */
int kk_net_addr_list(const char *ifname, struct kk_prefix4 **ret, struct kk_err *err);
/* The same of either family, and IPv6's list: no duplicate is looked for, and link-local addresses are not listed. */
int kk_net_addr6_add(const char *ifname, const struct kk_prefix *prefix, struct kk_err *err);
int kk_net_addr6_del(const char *ifname, const struct kk_prefix *prefix, struct kk_err *err);
int kk_net_addr6_list(const char *ifname, struct kk_prefix **ret, struct kk_err *err);
/* A route to @prefix over @ifname, scope link, with @metric. */
int kk_net_route_add(const char *ifname, const struct kk_prefix4 *prefix, uint32_t metric,
		     struct kk_err *err);
int kk_net_route_del(const char *ifname, const struct kk_prefix4 *prefix, uint32_t metric,
		     struct kk_err *err);
int kk_net_route6_add(const char *ifname, const struct kk_prefix *prefix, uint32_t metric,
		      struct kk_err *err);
/* The interface that the default route (IPv4) leaves by; @ifname has IFNAMSIZ bytes. -ENETUNREACH: none. */
int kk_net_default_ifname(char *ifname, struct kk_err *err);

/* Writes /proc/sys/net/ipv4/conf/@ifname/@key, or ipv6; -ENOENT: a kernel without IPv6. */
int kk_net_sysctl4(const char *ifname, const char *key, const char *value, struct kk_err *err);
int kk_net_sysctl6(const char *ifname, const char *key, const char *value, struct kk_err *err);

/*
 * Named namespaces as ip-netns(8) keeps them, below /run/netns. _open makes it (with loopback up) where
 * there is none and returns a descriptor of it that the caller closes.
 */
int kk_netns_open(const char *name, bool *ret_made, struct kk_err *err);
int kk_netns_del(const char *name, struct kk_err *err);

/* Enters a namespace for a scope: returns the way back (for _leave), or a negative errno. */
int kk_netns_enter(int netns_fd);
void kk_netns_leave(int *back_fd);
#define KK_CLEANUP_NETNS KK_CLEANUP(kk_netns_leave)

#endif
