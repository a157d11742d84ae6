// SPDX-License-Identifier: MIT
/* kkwg: userspace WireGuard, in place of wireguard-go(8). */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kkwg/daemon.h"
#include "kkwg/engine.h"
#include "kkwg/privilege.h"
#include "kkwg/shards.h"
#include "kkwg/threads.h"
#include "kkwg/uapi.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/options.h"
#include "wg/constants.h"

struct options {
	bool foreground, reply_to_ingress, version, help;
	int64_t workers; /* 0: as many as suit the machine */
};

static const struct kk_option table[] = {
	KK_OPTION("foreground", 'f', NULL, KK_OPTION_FLAG, struct options, foreground,
		  "stay in the foreground and log to standard error"),
	KK_OPTION("reply-to-ingress", 'r', NULL, KK_OPTION_FLAG, struct options, reply_to_ingress,
		  "peers may share allowed IPs; a packet leaves by the peer its flow came from"),
	KK_OPTION(
		"workers", 'w', "N", KK_OPTION_INT, struct options, workers,
		"threads that share the peers (KKWG_WORKERS; half the cores, 1 on two, 8 at most)",
		.min = 1, .max = WG_SHARDS),
	KK_OPTION("version", 0, NULL, KK_OPTION_FLAG, struct options, version, "print the version"),
	KK_OPTION("help", 'h', NULL, KK_OPTION_FLAG, struct options, help, "print this help"),
};

static void usage(FILE *f)
{
	fprintf(f,
		"Usage: kkwg [options] INTERFACE\n\nA WireGuard interface in user space; configure it with wg(8).\n\n");
	kk_options_help(f, table, ARRAY_SIZE(table));
}

/* In the background its lines stay on standard error where LOG_LEVEL asks for them, as those of wireguard-go do. */
static bool log_here(void)
{
	const char *level = getenv("LOG_LEVEL");

	return level && *level && strcmp(level, "silent") != 0;
}

/* As wireguard-go names its levels. */
static int log_level(void)
{
	const char *level = getenv("LOG_LEVEL");

	if (level && (strcmp(level, "verbose") == 0 || strcmp(level, "debug") == 0))
		return LOG_DEBUG;
	if (level && strcmp(level, "error") == 0)
		return LOG_ERR;
	if (level && strcmp(level, "silent") == 0)
		return LOG_EMERG;
	return LOG_INFO;
}

/* Tests need not wait for 120 s to see a session renewed. Nobody may make it last longer. */
static uint64_t rekey_after(void)
{
	const char *text = getenv("KKWG_TEST_REKEY_AFTER_S");
	char *end = NULL;
	unsigned long seconds = text ? strtoul(text, &end, 10) : 0;

	return text && *text && !*end && seconds * WG_SEC < WG_REKEY_AFTER_TIME ? seconds * WG_SEC
										: 0;
}

/* The option, else the environment, else what suits the machine. Returns 0 or -EINVAL. */
static int count_workers(const struct options *o, unsigned int *ret, struct kk_err *err)
{
	const char *text = getenv("KKWG_WORKERS");
	cpu_set_t cores;
	char *end;
	long n;

	*ret = (unsigned int)o->workers;
	if (o->workers)
		return 0;
	if (text && *text) {
		n = strtol(text, &end, 10);
		if (*end || n < 1 || n > WG_SHARDS)
			return kk_err_set(err, EINVAL, "KKWG_WORKERS",
					  "KKWG_WORKERS is \"%s\": it has to be 1 to %d", text,
					  WG_SHARDS);
		*ret = (unsigned int)n;
		return 0;
	}
	*ret = sched_getaffinity(0, sizeof(cores), &cores) == 0
		       ? engine_default_workers((unsigned int)CPU_COUNT(&cores))
		       : 1;
	return 0;
}

static int run(const char *iface, const struct options *o, unsigned int workers, int ready_fd)
{
	struct engine engine = {.rekey_after = rekey_after()}, *e = &engine;
	struct kk_err err = {0};
	int r = engine_init(e, iface, workers, &err);

	if (r == 0 && o->reply_to_ingress)
		r = shards_set_reply_to_ingress(e, true);
	if (r == 0)
		r = uapi_open(e, engine_name(e), &e->uapi, &err);
	if (r == 0) {
		r = privilege_drop();
		if (r < 0)
			kk_warn("cannot drop privileges: %s", strerror(-r));
		if (ready_fd >= 0)
			daemon_ready(ready_fd, log_here());
		r = threads_run(e);
		if (r < 0)
			kk_error("%s", strerror(-r));
	} else {
		kk_error("%s", err.msg);
	}
	uapi_close(e->uapi);
	engine_clean(e);
	return r;
}

int main(int argc, char **argv)
{
	struct options o = {0};
	struct kk_err err = {0};
	int left, ready_fd = -1;
	unsigned int workers;

	kk_log_init("kkwg", log_level());
	if (kk_log_is_lost())
		kk_log_to_syslog();
	left = kk_options_parse(argc, argv, table, ARRAY_SIZE(table), &o, &err);
	if (left < 0) {
		kk_error("%s", err.msg);
		return 2;
	}
	if (o.help || o.version) {
		if (o.help)
			usage(stdout);
		else
			printf("kkwg %s\n", KK_VERSION);
		return 0;
	}
	if (left != 1) {
		usage(stderr);
		return 2;
	}
	if (count_workers(&o, &workers, &err) < 0) {
		kk_error("%s", err.msg);
		return 2;
	}
	if (!o.foreground) {
		ready_fd = daemon_start();
		if (ready_fd < 0) {
			kk_error("%s", strerror(-ready_fd));
			return 1;
		}
	}
	return run(argv[1], &o, workers, ready_fd) < 0 ? 1 : 0;
}
