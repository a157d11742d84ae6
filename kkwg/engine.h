/* SPDX-License-Identifier: MIT */
/* The running tunnel: one thread that carries packets both ways, runs timers and serves the control socket. */
#ifndef KKWG_ENGINE_H
#define KKWG_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "kkwg/inbound.h"
#include "kkwg/monitor.h"
#include "kkwg/outbound.h"
#include "kkwg/tun.h"
#include "kkwg/udp.h"
#include "wg/device.h"

struct uapi;

struct engine {
	struct wg_device *dev;
	struct tun tun;
	struct udp udp;
	struct monitor monitor;
	struct uapi *uapi;
	struct outbound out;
	struct inbound in;
	int epoll_fd, signal_fd;
	bool stop;
	bool nested;	     /* in the middle of a train */
	uint64_t spin;	     /* how long to look before sleeping, ns */
	uint64_t next_check; /* ns: when the interface is looked at next */
	bool forwarding;     /* the interface carries what others send */
};

/* Creates interface and sockets. The engine is large: allocate it. Returns 0 or -errno. */
int engine_init(struct engine *e, const char *name, struct kk_err *err);
void engine_clean(struct engine *e);
/* Runs until the interface goes away or a signal ends it. */
int engine_run(struct engine *e);

/* Rebinds both sockets. Returns 0 or -errno with the old ones kept. */
int engine_set_port(struct engine *e, uint16_t port, struct kk_err *err);
/* Watches a descriptor of the control socket: @id comes back to uapi_event(). */
int engine_watch(struct engine *e, int fd, uint32_t events, uint64_t id, bool again);
uint64_t engine_now(void);
/* Whether others' packets go through the interface, too; at first it is what the namespace's settings say. */
void engine_set_forwarding(struct engine *e, bool on);

#endif
