/* SPDX-License-Identifier: MIT */
/*
 * Log lines on standard error, with the priority prefixes that the journal reads (sd-daemon(3)), or in the system's
 * log for programs that nobody watches.
 */
#ifndef KK_UTIL_LOG_H
#define KK_UTIL_LOG_H

#include <stdbool.h>
#include <syslog.h>

/* @name is printed before each line when a person reads it; it must stay valid. */
void kk_log_init(const char *name, int max_priority);

/* From now on lines go to syslog(3), facility daemon. */
void kk_log_to_syslog(void);
/* Whether what is written to standard error goes nowhere. */
bool kk_log_is_lost(void);

/* The name that lines have, and whether those of @priority are written. */
const char *kk_log_name(void);
bool kk_log_wants(int priority);

/* Writes one line; @fmt carries no newline. Keeps errno. */
void kk_log(int priority, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define kk_error(...) kk_log(LOG_ERR, __VA_ARGS__)
#define kk_warn(...)  kk_log(LOG_WARNING, __VA_ARGS__)
#define kk_info(...)  kk_log(LOG_INFO, __VA_ARGS__)
#define kk_debug(...) kk_log(LOG_DEBUG, __VA_ARGS__)

#endif
