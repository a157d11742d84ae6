/* SPDX-License-Identifier: MIT */
/* Giving up what a relay of strangers' traffic must not have. */
#ifndef KK_AGENTD_RELAY_PRIVILEGES_H
#define KK_AGENTD_RELAY_PRIVILEGES_H

#include "util/err.h"

/*
 * Root becomes @user for good (NULL: kakuremichi where that user exists, else nobody), without groups,
 * capabilities or the means to gain any. Without root only the last is done.
 */
int privileges_drop(const char *user, struct kk_err *err);
/* Raises the limit on open files to what may be had and returns it. */
unsigned long privileges_raise_files(void);

#endif
