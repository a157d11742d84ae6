/* SPDX-License-Identifier: MIT */
/* Relayed sessions in the table of relays @fd: kk_datapath_relay() and its like. */
#ifndef KK_BPF_RELAY_H
#define KK_BPF_RELAY_H

#include "bpf/datapath.h"
#include "util/err.h"

int kk_relay_put(int fd, const struct kk_relay_session *session, struct kk_err *err);
int kk_relay_end(int fd, const struct kk_relay_session *session, struct kk_err *err);
/* Takes out what has ended. Returns how many entries are left. */
int kk_relay_sweep(int fd);

#endif
