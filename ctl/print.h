/* SPDX-License-Identifier: MIT */
/*
 * What kkctl shows: aligned tables for people, or the API's own JSON. What others wrote (names, reasons) is
 * shown without control characters.
 */
#ifndef KK_CTL_PRINT_H
#define KK_CTL_PRINT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

/* A column of a list, or a line of one object. */
struct ctl_column {
	const char *title;
	const char *key; /* of the object; shown by its type where @format is NULL */
	/* Writes the text; @obj is the whole object. */
	void (*format)(const json_t *obj, char *text, size_t size);
};

/* The objects of array @items below the columns' titles; @none where there is not one. */
void ctl_print_list(const json_t *items, const struct ctl_column *columns, size_t n_columns,
		    const char *none);
/* One object, a line a column. */
void ctl_print_object(const json_t *obj, const struct ctl_column *columns, size_t n_columns);
void ctl_print_json(const json_t *obj);
/* A text of which control characters have become '?'. */
void ctl_print_text(const char *text);
void ctl_fprint_text(FILE *f, const char *text);

/* "now", "12 s", "3 min", "5 h", "8 d": how long ago @unix_s was; "never" for 0. */
void ctl_format_ago(int64_t unix_s, char *text, size_t size);
/* "512 B", "1.5 KiB" ... */
void ctl_format_bytes(uint64_t bytes, char *text, size_t size);
/* An array of texts as "a, b", or @none. */
void ctl_format_names(const json_t *names, const char *none, char *text, size_t size);
/* Local time, "2026-01-31 14:05". */
void ctl_format_time(int64_t unix_s, char *text, size_t size);

#endif
