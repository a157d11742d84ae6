/* SPDX-License-Identifier: MIT */
/* Log lines on standard error, with the priority prefixes that the journal reads (sd-daemon(3)). */
#ifndef KK_UTIL_LOG_H
#define KK_UTIL_LOG_H

#include <syslog.h>

/* @name is printed before each line when a person reads it; it must stay valid. */
void kk_log_init(const char *name, int max_priority);

/* Writes one line; @fmt carries no newline. Keeps errno. */
void kk_log(int priority, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define kk_error(...) kk_log(LOG_ERR, __VA_ARGS__)
#define kk_warn(...)  kk_log(LOG_WARNING, __VA_ARGS__)
#define kk_info(...)  kk_log(LOG_INFO, __VA_ARGS__)
#define kk_debug(...) kk_log(LOG_DEBUG, __VA_ARGS__)

#endif
