/* SPDX-License-Identifier: MIT */
/*
 * What happened, in a sentence for people and in fields for programs: in the journal as fields of its own (KK_FROM=...,
 * systemd.journal-fields(7)), elsewhere behind the sentence (from=192.0.2.1).
 */
#ifndef KK_CONTROLD_EVENT_H
#define KK_CONTROLD_EVENT_H

#include <stddef.h>
#include <syslog.h>

/* The names are of a-z and _; a value that is NULL or "" is left out. */
struct kk_event_field {
	const char *name, *value;
};

/* @fmt carries no newline; control characters of all texts become '?'. */
void kk_event(int priority, const struct kk_event_field *fields, size_t n, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
