/* SPDX-License-Identifier: MIT */
/*
 * Which workers read the interface: each what its own peers get (steer.h). Where the kernel refuses that, its own choice
 * of queues would not keep the order of a flow: then the first worker reads everything, and the others only write.
 */
#ifndef KKWG_READERS_H
#define KKWG_READERS_H

#include <stdbool.h>

#include "kkwg/tun.h"

struct engine;

/* @tun: the open queues of @n workers; those that are not to be read become copies of the first. 0 or -errno. */
int readers_init(struct engine *e, struct tun *tun, unsigned int n);
/* Whether the worker reads. */
bool readers_have(const struct engine *e, unsigned int number);
/* From now on the choice follows the allowed IPs. The first worker has its device. */
void readers_follow(struct engine *e);

#endif
