/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The short way of plain packets (kk/core/plain.h): hooks at the ingress of the two interfaces, before the stack has
 * looked at anything. What is not plain goes on to the hooks of path.h, and so does everything where there is no such hook.
 */
#ifndef KK_KMOD_INGRESS_H
#define KK_KMOD_INGRESS_H

#include "kmod/net.h"

/* Under RTNL: for packets that come in by the device of @kn's place of that direction, and for no more of them. */
void kk_ingress_register(struct kk_net *kn, enum kk_direction direction);
void kk_ingress_unregister(struct kk_net *kn, enum kk_direction direction);

#endif
