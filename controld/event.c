// SPDX-License-Identifier: MIT
#include "controld/event.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "util/cleanup.h"
#include "util/log.h"

#define FIELDS_MAX 10
#define TEXT_MAX   512

/* Whether what goes to standard error ends in the journal, systemd.exec(5): $JOURNAL_STREAM. */
static bool is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat here;

	return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &here) == 0 && here.st_dev == device && here.st_ino == inode;
}

static void clean(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

static int send_to_journal(int priority, const char *message, const struct kk_event_field *fields,
			   size_t n)
{
	char text[FIELDS_MAX + 3][TEXT_MAX + 32];
	struct iovec parts[FIELDS_MAX + 3];
	int used = 3;

	snprintf(text[0], sizeof(text[0]), "MESSAGE=%s", message);
	snprintf(text[1], sizeof(text[1]), "PRIORITY=%d", priority);
	snprintf(text[2], sizeof(text[2]), "SYSLOG_IDENTIFIER=%s", kk_log_name());
	for (size_t i = 0; i < n && used < (int)ARRAY_SIZE(parts); i++) {
		if (!fields[i].value || !fields[i].value[0])
			continue;
		snprintf(text[used], sizeof(text[used]), "KK_%s=%.*s", fields[i].name, TEXT_MAX,
			 fields[i].value);
		for (char *c = text[used]; *c != '='; c++)
			*c = (char)toupper(*c);
		used++;
	}
	for (int i = 0; i < used; i++) {
		clean(text[i]);
		parts[i] = (struct iovec){text[i], strlen(text[i])};
	}
	return sd_journal_sendv(parts, used);
}

/* What is no single word is quoted, so that each field can be found again. */
static size_t put(char *line, size_t size, size_t at, const struct kk_event_field *field)
{
	bool word = !field->value[strcspn(field->value, " \"=\\")];

	at += (size_t)snprintf(line + at, size - at, word ? " %s=%s" : " %s=\"", field->name,
			       field->value);
	if (word || at >= size)
		return at;
	for (const char *c = field->value; *c && at + 4 < size; c++) {
		if (*c == '"' || *c == '\\')
			line[at++] = '\\';
		line[at++] = *c;
	}
	return at + (size_t)snprintf(line + at, size - at, "\"");
}

void kk_event(int priority, const struct kk_event_field *fields, size_t n, const char *fmt, ...)
{
	char message[TEXT_MAX], line[1024];
	size_t at;
	va_list ap;

	if (!kk_log_wants(priority))
		return;
	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	if (is_journal() && send_to_journal(priority, message, fields, n) == 0)
		return;
	at = (size_t)snprintf(line, sizeof(line), "%s", message);
	for (size_t i = 0; i < n && at < sizeof(line); i++)
		if (fields[i].value && fields[i].value[0])
			at = put(line, sizeof(line), at, &fields[i]);
	kk_log(priority, "%s", line);
}
