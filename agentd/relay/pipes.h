/* SPDX-License-Identifier: MIT */
/*
 * Pipes to splice through. A direction of a connection holds one only while bytes are in it, so a few
 * big ones serve thousands of connections; only those whose receiver is slow keep theirs.
 */
#ifndef KK_AGENTD_RELAY_PIPES_H
#define KK_AGENTD_RELAY_PIPES_H

#include <stddef.h>
#include <sys/queue.h>

#define PIPE_PAGE 4096

struct pipe {
	int read_fd, write_fd;
	size_t size; /* bytes */
	LIST_ENTRY(pipe) link;
};

struct pipes {
	LIST_HEAD(, pipe) idle; /* the one used last is first, its pages are warm */
	size_t n_idle;
	size_t big, big_max; /* how many are enlarged, and may be */
};

void pipes_init(struct pipes *pipes);
void pipes_clean(struct pipes *pipes);
/* An empty pipe, or NULL with errno set. */
struct pipe *pipes_get(struct pipes *pipes);
/* Takes back an empty pipe. */
void pipes_put(struct pipes *pipes, struct pipe *pipe);
/* Closes a pipe that still has bytes in it. */
void pipes_discard(struct pipes *pipes, struct pipe *pipe);

#endif
