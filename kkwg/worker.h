/* SPDX-License-Identifier: MIT */
/*
 * One thread of the tunnel: a shard of the peers with all that carries their packets both ways, and the
 * loop that does it.
 */
#ifndef KKWG_WORKER_H
#define KKWG_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "kkwg/inbound.h"
#include "kkwg/outbound.h"
#include "kkwg/tun.h"
#include "kkwg/udp.h"
#include "wg/device.h"

struct engine;

struct worker {
	struct engine *engine;
	unsigned int number; /* the first one, 0, serves what is the engine's as well */
	struct wg_device *dev;
	struct tun tun;
	struct udp udp;
	struct outbound out;
	struct inbound in;
	int epoll_fd;
	int tun_read;  /* @tun's descriptor, or -1 where another worker reads for this one */
	bool nested;   /* in the middle of a train */
	uint64_t spin; /* how long to look before sleeping, ns */
	/* Only where there are others. */
	pthread_t thread;
	int wake_fd; /* eventfd; -1: there are no others */
	atomic_bool sleeping;
	uint32_t pushed; /* workers that something was pushed for but not published, bit set */
	uint64_t handed, lost; /* to others; packets for which there was no room */
};

/* Readies everything but the descriptors of @w->tun and @w->udp, which are open. Returns 0 or -errno. */
int worker_init(struct worker *w, struct engine *e, unsigned int number);
/* Closes all, @w->tun and @w->udp as well. */
void worker_clean(struct worker *w);
/* Runs until the engine stops. Returns 0 or -errno. */
int worker_run(struct worker *w);
/* Wakes it from sleep, if it sleeps; from any thread. */
void worker_wake(struct worker *w);

/* Watches @w->udp, which was opened anew. */
void worker_watch_udp(struct worker *w);
/* Looks whether the interface comes up, while the device is down. */
void worker_watch_tun(struct worker *w);
/* Watches another descriptor for the engine: @id comes back to engine_event(). Returns 0 or -errno. */
int worker_watch(struct worker *w, int fd, uint32_t events, uint64_t id, bool again);
/* The time that everything goes by: ns since boot. */
uint64_t worker_now(void);

#endif
