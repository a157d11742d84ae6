/* SPDX-License-Identifier: MIT */
/*
 * Thousands of descriptors as one source of an sd-event loop. The loop asks the kernel for every ready descriptor
 * again before each handler that it calls, so with n ready ones it takes n^2; here each is asked for once.
 */
#ifndef KK_POLL_POLL_H
#define KK_POLL_POLL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include <systemd/sd-event.h>

struct kk_poll;

/* Is part of its owner, who sets @fd and @ready. */
struct kk_poll_entry {
	int fd;
	uint32_t events; /* that are asked for; 0: none, not even the end of the connection */
	/* May forget and free this entry and others. */
	void (*ready)(struct kk_poll_entry *entry, uint32_t revents);
};

int kk_poll_new(sd_event *event, struct kk_poll **ret);
/* Every entry must have been forgotten. */
void kk_poll_free(struct kk_poll *poll);
/* Asks for @events (EPOLLIN, EPOLLOUT; 0: be deaf) from now on. Returns 0 or a negative errno. */
int kk_poll_watch(struct kk_poll *poll, struct kk_poll_entry *entry, uint32_t events);
/* @entry->ready is not called any more. To be called before the descriptor is closed. */
void kk_poll_forget(struct kk_poll *poll, struct kk_poll_entry *entry);

#endif
