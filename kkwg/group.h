/* SPDX-License-Identifier: MIT */
/*
 * The sockets of several workers on one port. The kernel gives a message to the worker whose number is in its receiver
 * index (wg/device.h), an initiation to the first. Where it does not, messages come to any.
 */
#ifndef KKWG_GROUP_H
#define KKWG_GROUP_H

#include "kkwg/udp.h"

/* As udp_open(), for each of the @n elements of @u. */
int group_open(struct udp *u, unsigned int n, uint16_t port, uint32_t mark, struct kk_err *err);

#endif
