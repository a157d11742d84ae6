/* SPDX-License-Identifier: MIT */
/* Going to the background only once the tunnel is ready. */
#ifndef KKWG_DAEMON_H
#define KKWG_DAEMON_H

#include <stdbool.h>

/*
 * Forks. In the child returns the descriptor for daemon_ready(); the parent waits for that and exits
 * with its status, or with 1 where the child ends before. Returns -errno where there is no child.
 */
int daemon_start(void);
/* Lets the parent exit with 0, and leaves the terminal; lines go to the system's log unless @log_here. */
void daemon_ready(int fd, bool log_here);

#endif
