/* SPDX-License-Identifier: MIT */
/* Starting the relay as a process that is nobody's child and outlives the daemon. */
#ifndef KK_AGENTD_SPAWN_H
#define KK_AGENTD_SPAWN_H

#include "util/err.h"

/*
 * Starts kkrelay, found beside our own program or else in /usr/libexec/kakuremichi, on @socket_path. Its log goes
 * to the journal or file that ours goes to; where that may end with us (a terminal, a pipe), to
 * @run_dir/relay.log. Returns when it has been started, which is not yet when it serves.
 */
int spawn_relay(const char *socket_path, const char *run_dir, struct kk_err *err);

#endif
