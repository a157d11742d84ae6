/* SPDX-License-Identifier: GPL-2.0 */
/* All differences between the kernels that the module is built for (6.1 and later) are here. */
#ifndef KK_KMOD_COMPAT_H
#define KK_KMOD_COMPAT_H

#include <linux/version.h>
#include <net/dst.h>
#include <net/genetlink.h>
#include <net/tcp.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error "kakuremichi needs Linux 6.1 or later"
#endif

/* 6.5 took what is about GSO out of linux/skbuff.h. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
#include <net/gso.h>
#endif

/* What the request of a dump was. 6.7 put a struct genl_info into the dump's. */
static inline struct nlattr **kk_dump_attrs(struct netlink_callback *cb)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
	return genl_dumpit_info(cb)->attrs;
#else
	return (struct nlattr **)genl_dumpit_info(cb)->info.attrs;
#endif
}

/* 6.7 took the number of references out. */
static inline void kk_dst_init(struct dst_entry *dst, struct dst_ops *ops)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
	dst_init(dst, ops, NULL, 1, DST_OBSOLETE_NONE, DST_NOCOUNT);
#else
	dst_init(dst, ops, NULL, DST_OBSOLETE_NONE, DST_NOCOUNT);
#endif
}

/* 6.1 gave each namespace a table of its own to have. */
static inline struct inet_hashinfo *kk_tcp_hashinfo(const struct net *net)
{
	return net->ipv4.tcp_death_row.hashinfo;
}

#endif
