// SPDX-License-Identifier: MIT
#include "kkwg/readers.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "kkwg/engine.h"
#include "kkwg/shards.h"
#include "util/log.h"

/* Entries of a prefix changed: who has it reads what goes there. */
static void prefix_changed(void *ctx, const uint8_t *addr, uint8_t addr_len, uint8_t bits,
			   const struct wg_allowed *entries)
{
	struct engine *e = ctx;
	uint32_t worker;

	if (!entries) {
		steer_del(&e->steer, addr, addr_len, bits);
		return;
	}
	worker = shards_number(entries->peer);
	for (const struct wg_allowed *a = entries->next_of_node; a; a = a->next_of_node)
		if (shards_number(a->peer) != worker)
			worker = STEER_BY_HASH;
	steer_set(&e->steer, addr, addr_len, bits, worker);
}

int readers_init(struct engine *e, struct tun *tun, unsigned int n)
{
	int r;

	e->steer.program = e->steer.map4 = e->steer.map6 = -1;
	if (n == 1)
		return 0;
	r = steer_open(&e->steer);
	if (r == 0) {
		r = steer_attach(&e->steer, tun[0].fd);
		if (r < 0)
			steer_close(&e->steer);
	}
	if (r == 0)
		return 0;
	kk_warn("%s: no choice of queues (%s): one worker reads for all", tun[0].name,
		strerror(-r));
	r = 0;
	for (unsigned int i = 1; i < n; i++) {
		tun_close(&tun[i]);
		tun[i].fd = fcntl(tun[0].fd, F_DUPFD_CLOEXEC, 0);
		if (tun[i].fd < 0)
			r = -errno;
	}
	return r;
}

bool readers_have(const struct engine *e, unsigned int number)
{
	return number == 0 || e->steer.program >= 0;
}

void readers_follow(struct engine *e)
{
	struct wg_allowedips *t = &e->workers[0].dev->allowedips;

	if (e->steer.program < 0)
		return;
	t->changed = prefix_changed;
	t->ctx = e;
}
