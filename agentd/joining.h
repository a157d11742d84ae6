/* SPDX-License-Identifier: MIT */
/*
 * Under which joining the tunnel was made. A node that has joined anew is another one: the gateways have dropped the
 * WireGuard key of the earlier one with its sessions, and who could steal that key shall have no use for it.
 */
#ifndef KK_AGENTD_JOINING_H
#define KK_AGENTD_JOINING_H

#include "link/link.h"
#include "util/err.h"

/* 1: what is in @run_dir was made under another joining than @identity; 0: under this one, or nobody knows. */
int joining_changed(const char *run_dir, const struct kk_identity *identity, struct kk_err *err);
/* Notes in @run_dir that what is there is @identity's. Of the node's key only a hash is written. */
int joining_note(const char *run_dir, const struct kk_identity *identity, struct kk_err *err);
/* There is nothing any more. */
void joining_forget(const char *run_dir);

#endif
