/* SPDX-License-Identifier: MIT */
/* Calls to Control, with what went wrong told to the user. */
#ifndef KK_CTL_API_H
#define KK_CTL_API_H

#include "ctl/ctl.h"
#include "ctl/print.h"

/*
 * One call; *@ret is the caller's and is there where CTL_DONE is returned. Everything else was told to the
 * user and is what the program exits with. @path is a printf format; @body is taken over and may be NULL.
 */
int ctl_call(struct ctl *ctl, json_t **ret, json_t *body, const char *method, const char *path, ...)
	__attribute__((format(printf, 5, 6)));

/* The answer to a GET that is no JSON, the caller's; otherwise as ctl_call(). */
int ctl_download(struct ctl *ctl, const char *path, char **ret, size_t *ret_len);

/*
 * The "applied" of an answer in words, "applied on 2/2 gateways and 1/1 agents", in @text. Returns CTL_WAITING where
 * one has not acknowledged although the user wanted to wait for it, else CTL_DONE.
 */
int ctl_applied(const struct ctl *ctl, const json_t *answer, char *text, size_t size);

/* A change of which nothing but its doing is to be told: "@what, applied on 2/2 gateways". @body is taken over. */
int ctl_change(struct ctl *ctl, json_t *body, const char *method, const char *path,
	       const char *what);
/* The items of @path as a table. */
int ctl_list(struct ctl *ctl, const char *path, const struct ctl_column *columns, size_t n_columns,
	     const char *none);
/*
 * The id of the item whose @key is @value, and whose @second (unless NULL) is @second_value; a null is "". 0: there is
 * none.
 */
json_int_t ctl_find_id(const json_t *items, const char *key, const char *value, const char *second,
		       const char *second_value);
/* "90", "90s", "15m", "1h", "7d" in seconds. What is wrong was told to the user. */
int ctl_duration(const char *field, const char *text, int64_t max_s, int64_t *ret);

/* A member of an object as text; "" where it is none. */
const char *ctl_text(const json_t *obj, const char *key);

#endif
