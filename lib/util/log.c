// SPDX-License-Identifier: MIT
#include "util/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *log_name = "kk";
static int log_max = LOG_INFO;
static bool log_journal, log_syslog;

void kk_log_init(const char *name, int max_priority)
{
	log_name = name;
	log_max = max_priority;
	log_journal = getenv("JOURNAL_STREAM") != NULL;
}

void kk_log_to_syslog(void)
{
	openlog(log_name, LOG_PID | LOG_NDELAY, LOG_DAEMON);
	log_syslog = true;
}

bool kk_log_is_lost(void)
{
	struct stat null, here;

	return fstat(STDERR_FILENO, &here) < 0 ||
	       (S_ISCHR(here.st_mode) && stat("/dev/null", &null) == 0 &&
		here.st_rdev == null.st_rdev);
}

const char *kk_log_name(void)
{
	return log_name;
}

bool kk_log_wants(int priority)
{
	return priority <= log_max;
}

void kk_log(int priority, const char *fmt, ...)
{
	char line[1024];
	int saved = errno;
	va_list ap;

	if (!kk_log_wants(priority))
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	/* What others sent is quoted in messages, and must not make lines of its own or steer a terminal. */
	for (char *c = line; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	if (log_syslog) {
		syslog(priority, "%s", line);
		errno = saved;
		return;
	}
	/* One call a line, so that lines of several processes do not mix. */
	if (log_journal)
		fprintf(stderr, "<%d>%s\n", priority, line);
	else
		fprintf(stderr, "%s: %s\n", log_name, line);
	errno = saved;
}
