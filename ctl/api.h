/* SPDX-License-Identifier: MIT */
/* Calls to Control, with what went wrong told to the user. */
#ifndef KK_CTL_API_H
#define KK_CTL_API_H

#include "ctl/ctl.h"

/*
 * One call; *@ret is the caller's and is there where CTL_DONE is returned. Everything else was told to the
 * user and is what the program exits with. @path is a printf format; @body is taken over and may be NULL.
 */
int ctl_call(struct ctl *ctl, json_t **ret, json_t *body, const char *method, const char *path, ...)
	__attribute__((format(printf, 5, 6)));

/* The answer to a GET that is no JSON, the caller's; otherwise as ctl_call(). */
int ctl_download(struct ctl *ctl, const char *path, char **ret, size_t *ret_len);

/*
 * The "applied" of an answer in words, "applied on 2/2 gateways", in @text. Returns CTL_WAITING where a
 * gateway has not acknowledged although the user wanted to wait for it, else CTL_DONE.
 */
int ctl_applied(const struct ctl *ctl, const json_t *answer, char *text, size_t size);

/* A member of an object as text; "" where it is none. */
const char *ctl_text(const json_t *obj, const char *key);

#endif
