// SPDX-License-Identifier: MIT
#include "poll/poll.h"

#include <errno.h>
#include <stdlib.h>

#include "util/cleanup.h"

#define BATCH 64 /* handlers in one turn of the loop, so that others get theirs */

struct kk_poll {
	int fd;
	sd_event_source *source;
	struct epoll_event batch[BATCH]; /* @n of them are being handled, from @at on */
	int n, at;
};

static int on_ready(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct kk_poll *poll = userdata;

	(void)source;
	(void)revents;
	poll->n = epoll_wait(fd, poll->batch, BATCH, 0);
	for (poll->at = 0; poll->at < poll->n; poll->at++) {
		struct kk_poll_entry *entry = poll->batch[poll->at].data.ptr;

		if (entry)
			entry->ready(entry, poll->batch[poll->at].events);
	}
	poll->n = 0;
	return 0;
}

int kk_poll_new(sd_event *event, struct kk_poll **ret)
{
	struct kk_poll *poll = calloc(1, sizeof(*poll));
	int r;

	if (!poll)
		return -ENOMEM;
	poll->fd = epoll_create1(EPOLL_CLOEXEC);
	r = poll->fd < 0 ? -errno
			 : sd_event_add_io(event, &poll->source, poll->fd, EPOLLIN, on_ready, poll);
	if (r < 0) {
		kk_poll_free(poll);
		return r;
	}
	*ret = poll;
	return 0;
}

void kk_poll_free(struct kk_poll *poll)
{
	if (!poll)
		return;
	sd_event_source_disable_unref(poll->source);
	kk_close(poll->fd);
	free(poll);
}

int kk_poll_watch(struct kk_poll *poll, struct kk_poll_entry *entry, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = entry};
	int op = !entry->events ? EPOLL_CTL_ADD : events ? EPOLL_CTL_MOD : EPOLL_CTL_DEL;

	if (events == entry->events)
		return 0;
	if (epoll_ctl(poll->fd, op, entry->fd, &event) < 0)
		return -errno;
	entry->events = events;
	return 0;
}

void kk_poll_forget(struct kk_poll *poll, struct kk_poll_entry *entry)
{
	kk_poll_watch(poll, entry, 0);
	for (int i = poll->at; i < poll->n; i++)
		if (poll->batch[i].data.ptr == entry)
			poll->batch[i].data.ptr = NULL;
}
