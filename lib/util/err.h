/* SPDX-License-Identifier: MIT */
/* An error that a person reads: which field, and one sentence. */
#ifndef KK_UTIL_ERR_H
#define KK_UTIL_ERR_H

struct kk_err {
	int code;	/* positive errno, 0 while nothing happened */
	char field[48]; /* name of the offending field as the caller wrote it, or "" */
	char msg[320];	/* one sentence without a full stop, naming the value */
};

/*
 * Records the error (the first one stays: it is the cause) and returns -@code.
 * @err may be NULL; @field may be NULL. @code is a positive errno.
 */
int kk_err_set(struct kk_err *err, int code, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Forgets what was recorded, for a struct that is used again. */
void kk_err_reset(struct kk_err *err);

#endif
