/* SPDX-License-Identifier: MIT */
/* What changes in the network namespace that we started in: our interface's MTU, addresses, routes. */
#ifndef KKWG_MONITOR_H
#define KKWG_MONITOR_H

#include <stdbool.h>
#include <stdint.h>

struct monitor {
	int fd; /* -1 where netlink is refused: then nothing is noticed */
	uint32_t ifindex;
	uint32_t mtu;  /* of the interface; 0: not told */
	bool rerouted; /* addresses or routes changed since the caller cleared this */
};

void monitor_open(struct monitor *m, uint32_t ifindex);
void monitor_close(struct monitor *m);
/* Reads what came. */
void monitor_read(struct monitor *m);

#endif
