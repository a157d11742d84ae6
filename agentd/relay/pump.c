// SPDX-License-Identifier: MIT
#include "agentd/relay/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#define SHARE (8 * 1024 * 1024) /* bytes moved before others get their turn */
#define FLAGS (SPLICE_F_MOVE | SPLICE_F_NONBLOCK)

void pump_clean(struct pump *pump, struct pipes *pipes)
{
	if (!pump->pipe)
		return;
	if (pump->held)
		pipes_discard(pipes, pump->pipe);
	else
		pipes_put(pipes, pump->pipe);
	pump->pipe = NULL;
	pump->held = 0;
}

static enum pump_state fail(struct pump *pump, struct pipes *pipes, enum pump_state state,
			    int error)
{
	pump_clean(pump, pipes);
	pump->error = error;
	return state;
}

/* Reads into the empty pipe. PUMP_MORE: there is something to write, or the end to pass on. */
static enum pump_state fill(struct pump *pump, struct pipes *pipes)
{
	ssize_t n;

	if (!pump->pipe)
		pump->pipe = pipes_get(pipes);
	if (!pump->pipe)
		return fail(pump, pipes, PUMP_BROKEN, errno);
	do
		n = splice(pump->from, NULL, pump->pipe->write_fd, NULL, pump->pipe->size, FLAGS);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		pump->held = (size_t)n;
		return PUMP_MORE;
	}
	if (n < 0 && errno != EAGAIN)
		return fail(pump, pipes, PUMP_BROKEN, errno);
	pump_clean(pump, pipes);
	pump->eof = n == 0;
	pump->thorough = false;
	return n == 0 ? PUMP_MORE : PUMP_WAITS;
}

static enum pump_state drain(struct pump *pump, struct pipes *pipes)
{
	while (pump->held) {
		ssize_t n = splice(pump->pipe->read_fd, NULL, pump->to, NULL, pump->held, FLAGS);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			pump->thorough = true;
			return PUMP_WAITS;
		}
		if (n <= 0)
			return fail(pump, pipes, PUMP_UNREAD, n < 0 ? errno : EPIPE);
		pump->held -= (size_t)n;
		pump->bytes += (uint64_t)n;
	}
	return PUMP_MORE;
}

/*
 * Whether the pipe had room for more than @from gave: every page of it takes at least a byte. A question or an answer
 * thus costs no look that finds nothing.
 */
static bool was_all(const struct pump *pump)
{
	return !pump->thorough && pump->held < pump->pipe->size / PIPE_PAGE;
}

enum pump_state pump_run(struct pump *pump, struct pipes *pipes)
{
	uint64_t stop = pump->bytes + SHARE;
	bool all;

	if (pump_ended(pump))
		return pump->state;
	pump->state = drain(pump, pipes);
	while (pump->state == PUMP_MORE && pump->bytes < stop) {
		if (pump->eof) {
			shutdown(pump->to, SHUT_WR);
			pump->state = PUMP_DONE;
			break;
		}
		pump->state = fill(pump, pipes);
		if (pump->state != PUMP_MORE || pump->eof)
			continue;
		all = was_all(pump);
		pump->state = drain(pump, pipes);
		if (pump->state == PUMP_MORE && all) {
			pump_clean(pump, pipes);
			pump->state = PUMP_WAITS;
		}
	}
	return pump->state;
}
