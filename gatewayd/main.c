// SPDX-License-Identifier: MIT
/* kkgatewayd: the public entry. Keeps tunnel and tables of this machine as Control says. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "gatewayd/gateway.h"
#include "util/cleanup.h"
#include "util/log.h"

enum {
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
};

/* A daemon reads its identity at its start. */
static bool is_running(const struct options *o)
{
	struct kk_err ignored = {0};
	int lock = gateway_lock(o->state, false, &ignored);

	kk_close(lock);
	return lock == -EWOULDBLOCK;
}

static int join(const struct options *o, struct kk_err *err)
{
	struct kk_identity identity;
	int r;

	r = kk_link_join(o->state, "gateway", o->token, o->force, &identity, err);
	if (r < 0)
		return r;
	printf("This machine is now gateway %s of %s. %s\n", identity.name, identity.url,
	       is_running(o) ? "kkgatewayd runs with what it was before: restart it"
			     : "Start it: kkgatewayd run");
	return 0;
}

static int need_root(const struct options *o, struct kk_err *err)
{
	if (geteuid() == 0)
		return 0;
	return kk_err_set(err, EPERM, NULL, "kkgatewayd %s must be root: it %s",
			  o->command == COMMAND_RUN ? "run" : "down",
			  o->command == COMMAND_RUN
				  ? "makes a tunnel interface and loads eBPF programs"
				  : "removes a tunnel interface and eBPF programs");
}

static int do_command(const struct options *o, struct kk_err *err)
{
	int r;

	if (o->command == COMMAND_JOIN)
		return join(o, err);
	r = need_root(o, err);
	if (r < 0)
		return r;
	return o->command == COMMAND_RUN ? gateway_run(o, err) : gateway_down(o, err);
}

/* For sd-event these come as events; blocked from the start, none is lost. */
static void set_signals(void)
{
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signal(SIGPIPE, SIG_IGN);
}

int main(int argc, char **argv)
{
	struct kk_err err = {0};
	struct options o;

	if (options_read(argc, argv, &o, &err) < 0) {
		fprintf(stderr, "kkgatewayd: %s (kkgatewayd --help)\n", err.msg);
		return EXIT_USAGE;
	}
	if (o.command == COMMAND_HELP) {
		options_help(stdout);
		return 0;
	}
	if (o.command == COMMAND_VERSION) {
		puts("kkgatewayd " KK_VERSION);
		return 0;
	}
	kk_log_init("kkgatewayd", o.verbose ? LOG_DEBUG : LOG_INFO);
	if (o.command == COMMAND_RUN)
		set_signals();
	if (do_command(&o, &err) < 0) {
		kk_error("%s", err.msg);
		return EXIT_FAILED;
	}
	return 0;
}
