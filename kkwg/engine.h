/* SPDX-License-Identifier: MIT */
/* The running tunnel: the workers that carry its packets, and what there is once for all of them. */
#ifndef KKWG_ENGINE_H
#define KKWG_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "kkwg/handover.h"
#include "kkwg/monitor.h"
#include "kkwg/park.h"
#include "kkwg/ring.h"
#include "kkwg/steer.h"
#include "kkwg/worker.h"

struct uapi;

struct engine {
	struct worker *workers;
	unsigned int n; /* of them; the first runs in the main thread and serves what follows */
	struct monitor monitor;
	struct uapi *uapi;
	int signal_fd;
	atomic_bool stop;
	uint64_t next_check; /* ns: when the interface is looked at next */
	/* ns, set before engine_init(), for tests; 0: what the protocol says */
	uint64_t rekey_after;
	bool forwarding; /* the interface carries what others send */
	/* Only where there are several workers. */
	struct steer steer;	/* program -1: the first worker alone reads the interface */
	struct ring *rings;	/* from each to each */
	uint64_t generation;	/* counts changes of the peers */
	atomic_bool suspicious; /* a worker saw that something is the matter with the interface */
	struct park park;
	unsigned int paused; /* depth of threads_pause() */
	pthread_mutex_t stripes[WG_FLOW_STRIPES];
};

/*
 * How many workers suit a machine of @cores: one up to two cores, half of the cores above, 8 at most. The other half is
 * for the kernel's part of the work and for who sends and receives.
 */
unsigned int engine_default_workers(unsigned int cores);
/*
 * Creates interface and sockets for @workers, 1 to WG_SHARDS; fewer where the interface cannot have as many. @e is
 * zeroed but for what is said above. Returns 0 or -errno; engine_clean() is due in both cases.
 */
int engine_init(struct engine *e, const char *name, unsigned int workers, struct kk_err *err);
void engine_clean(struct engine *e);
/* Name of the interface. */
const char *engine_name(const struct engine *e);
/* UDP port and mark of the workers' sockets. */
uint16_t engine_port(const struct engine *e);
uint32_t engine_mark(const struct engine *e);
/* Rebinds the sockets. Returns 0 or -errno with the old ones kept. */
int engine_set_port(struct engine *e, uint16_t port, struct kk_err *err);
/* Returns 0 or -errno with the old mark kept. */
int engine_set_mark(struct engine *e, uint32_t mark);
/* Whether others' packets go through the interface, too; at first it is what the namespace's settings say. */
void engine_set_forwarding(struct engine *e, bool on);

/* Watches a descriptor of the control socket: @id comes back to uapi_event(). */
int engine_watch(struct engine *e, int fd, uint32_t events, uint64_t id, bool again);

/* For the first worker. What it watches for the engine: */
void engine_event(struct engine *e, uint64_t id, uint32_t events);
/* Once a second: changes of the interface that nothing else tells of, and the end of our socket. */
void engine_check(struct engine *e, uint64_t now);
/* The interface may be up, down or gone. */
void engine_check_tun(struct engine *e, uint64_t now);

#endif
