/* SPDX-License-Identifier: GPL-2.0 */
/* The way of a packet: in by a hook before conntrack, through the core, out to the tunnel or the NIC. */
#ifndef KK_KMOD_PATH_H
#define KK_KMOD_PATH_H

#include <net/net_namespace.h>

int kk_path_register(struct net *net);
/* Packets under way may still be on it until a grace period has passed. */
void kk_path_unregister(struct net *net);

#endif
