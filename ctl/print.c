// SPDX-License-Identifier: MIT
#include "ctl/print.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define CELL_MAX    320
#define COLUMNS_MAX 12

static void by_type(const json_t *value, char *text, size_t size)
{
	if (json_is_string(value))
		snprintf(text, size, "%s", json_string_value(value));
	else if (json_is_integer(value))
		snprintf(text, size, "%lld", json_integer_value(value));
	else if (json_is_boolean(value))
		snprintf(text, size, "%s", json_is_true(value) ? "yes" : "no");
	else
		snprintf(text, size, "-");
}

static void clean(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

static void cell(const json_t *obj, const struct ctl_column *column, char text[CELL_MAX])
{
	text[0] = '\0';
	if (column->format)
		column->format(obj, text, CELL_MAX);
	else
		by_type(json_object_get(obj, column->key), text, CELL_MAX);
	clean(text);
}

/* Columns as they appear on a terminal, not bytes: UTF-8's continuation bytes take no room. */
static int width_of(const char *text)
{
	int width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

static void put(const char *text, int width, bool last)
{
	fputs(text, stdout);
	if (last)
		putchar('\n');
	else
		printf("%*s", width - width_of(text) + 2, "");
}

void ctl_print_list(const json_t *items, const struct ctl_column *columns, size_t n_columns,
		    const char *none)
{
	int width[COLUMNS_MAX] = {0};
	char text[CELL_MAX];
	const json_t *obj;
	size_t i;

	if (!json_array_size(items)) {
		puts(none);
		return;
	}
	for (size_t c = 0; c < n_columns; c++) {
		width[c] = width_of(columns[c].title);
		json_array_foreach((json_t *)items, i, obj) {
			cell(obj, &columns[c], text);
			if (width_of(text) > width[c])
				width[c] = width_of(text);
		}
	}
	for (size_t c = 0; c < n_columns; c++)
		put(columns[c].title, width[c], c + 1 == n_columns);
	json_array_foreach((json_t *)items, i, obj) {
		for (size_t c = 0; c < n_columns; c++) {
			cell(obj, &columns[c], text);
			put(text, width[c], c + 1 == n_columns);
		}
	}
}

void ctl_print_object(const json_t *obj, const struct ctl_column *columns, size_t n_columns)
{
	char text[CELL_MAX];
	int width = 0;

	for (size_t c = 0; c < n_columns; c++)
		if (width_of(columns[c].title) > width)
			width = width_of(columns[c].title);
	for (size_t c = 0; c < n_columns; c++) {
		cell(obj, &columns[c], text);
		put(columns[c].title, width, false);
		puts(text);
	}
}

void ctl_print_json(const json_t *obj)
{
	json_dumpf(obj, stdout, JSON_INDENT(2));
	putchar('\n');
}

void ctl_fprint_text(FILE *f, const char *text)
{
	for (; *text; text++)
		putc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, f);
}

void ctl_print_text(const char *text)
{
	ctl_fprint_text(stdout, text);
}

void ctl_format_ago(int64_t unix_s, char *text, size_t size)
{
	int64_t s = time(NULL) - unix_s;

	if (!unix_s)
		snprintf(text, size, "never");
	else if (s < 1)
		snprintf(text, size, "now");
	else if (s < 120)
		snprintf(text, size, "%lld s", (long long)s);
	else if (s < 7200)
		snprintf(text, size, "%lld min", (long long)s / 60);
	else if (s < 48 * 3600)
		snprintf(text, size, "%lld h", (long long)s / 3600);
	else
		snprintf(text, size, "%lld d", (long long)s / 86400);
}

void ctl_format_bytes(uint64_t bytes, char *text, size_t size)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)bytes;
	size_t unit = 0;

	if (bytes < 1024) {
		snprintf(text, size, "%llu B", (unsigned long long)bytes);
		return;
	}
	for (value /= 1024; value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
		value /= 1024;
	snprintf(text, size, "%.1f %s", value, units[unit]);
}

void ctl_format_time(int64_t unix_s, char *text, size_t size)
{
	time_t t = (time_t)unix_s;
	struct tm tm;

	if (!localtime_r(&t, &tm) || !strftime(text, size, "%Y-%m-%d %H:%M", &tm))
		snprintf(text, size, "-");
}

void ctl_format_names(const json_t *names, const char *none, char *text, size_t size)
{
	const json_t *name;
	size_t i, at = 0;

	snprintf(text, size, "%s", none);
	json_array_foreach((json_t *)names, i, name) {
		const char *one = json_string_value(name);

		if (at < size)
			at += (size_t)snprintf(text + at, size - at, "%s%s", i ? ", " : "",
					       one ? one : "?");
	}
}
