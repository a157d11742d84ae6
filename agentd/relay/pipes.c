// SPDX-License-Identifier: MIT
#include "agentd/relay/pipes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/file.h"

#define PIPE_BIG	(1024 * 1024)
#define PIPE_DEFAULT	65536
#define IDLE_MAX	64
#define BIG_MAX_DEFAULT 32 /* half of the kernel's default of 16384 pages per user */

/* A user without privileges may hold so many pages in pipes before new ones shrink; half is left for them. */
void pipes_init(struct pipes *pipes)
{
	KK_CLEANUP_FREE char *text = NULL;

	*pipes = (struct pipes){.big_max = BIG_MAX_DEFAULT};
	LIST_INIT(&pipes->idle);
	if (kk_file_read("/proc/sys/fs/pipe-user-pages-soft", 64, &text, NULL) == 0) {
		unsigned long pages = strtoul(text, NULL, 10);

		if (pages) /* 0: no limit */
			pipes->big_max = pages / 2 / (PIPE_BIG / PIPE_PAGE);
	}
}

void pipes_discard(struct pipes *pipes, struct pipe *pipe)
{
	if (pipe->size > PIPE_DEFAULT)
		pipes->big--;
	close(pipe->read_fd);
	close(pipe->write_fd);
	free(pipe);
}

void pipes_clean(struct pipes *pipes)
{
	struct pipe *pipe;

	while ((pipe = LIST_FIRST(&pipes->idle))) {
		LIST_REMOVE(pipe, link);
		pipes_discard(pipes, pipe);
	}
	pipes->n_idle = 0;
}

/* Where the kernel refuses a big one (pipe-max-size, pages per user) the pipe stays as it is. */
static void enlarge(struct pipes *pipes, struct pipe *pipe)
{
	int size;

	if (pipes->big < pipes->big_max)
		fcntl(pipe->write_fd, F_SETPIPE_SZ, PIPE_BIG);
	size = fcntl(pipe->write_fd, F_GETPIPE_SZ);
	pipe->size = size > 0 ? (size_t)size : PIPE_PAGE;
	if (pipe->size > PIPE_DEFAULT)
		pipes->big++;
}

struct pipe *pipes_get(struct pipes *pipes)
{
	struct pipe *pipe = LIST_FIRST(&pipes->idle);
	int fds[2];

	if (pipe) {
		LIST_REMOVE(pipe, link);
		pipes->n_idle--;
		return pipe;
	}
	pipe = calloc(1, sizeof(*pipe));
	if (!pipe)
		return NULL;
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
		free(pipe);
		return NULL;
	}
	pipe->read_fd = fds[0];
	pipe->write_fd = fds[1];
	enlarge(pipes, pipe);
	return pipe;
}

void pipes_put(struct pipes *pipes, struct pipe *pipe)
{
	struct pipe *first = LIST_FIRST(&pipes->idle);

	if (pipes->n_idle >= IDLE_MAX) {
		pipes_discard(pipes, pipe);
		return;
	}
	pipes->n_idle++;
	/* Small pipes, made while many were held, wait behind the big ones. */
	if (first && first->size > pipe->size)
		LIST_INSERT_AFTER(first, pipe, link);
	else
		LIST_INSERT_HEAD(&pipes->idle, pipe, link);
}
