// SPDX-License-Identifier: MIT
/* kkrelay: carries the Agent's published connections to their targets (control.h). */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agentd/relay/privileges.h"
#include "agentd/relay/relay.h"
#include "agentd/relay/server.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/options.h"

struct settings {
	const char *socket, *user;
	int64_t udp_idle;
	bool verbose, help, version;
};

static const struct kk_option options[] = {
	KK_OPTION("socket", 's', "PATH", KK_OPTION_STRING, struct settings, socket,
		  "the control socket to serve (wanted)"),
	KK_OPTION("user", 0, "NAME", KK_OPTION_STRING, struct settings, user,
		  "become this user when started by root [kakuremichi, else nobody]"),
	KK_OPTION("udp-idle", 0, "SECONDS", KK_OPTION_INT, struct settings, udp_idle,
		  "end a UDP session that was silent for so long [60]", .min = 1, .max = 86400),
	KK_OPTION("verbose", 'v', NULL, KK_OPTION_FLAG, struct settings, verbose, "log more"),
	KK_OPTION("help", 'h', NULL, KK_OPTION_FLAG, struct settings, help, "show this"),
	KK_OPTION("version", 0, NULL, KK_OPTION_FLAG, struct settings, version, "show the version"),
};

struct signals {
	struct loop_io io;
	struct loop *loop;
	int fd;
};

static void on_signal(struct loop_io *io, uint32_t events)
{
	struct signals *s = LOOP_OWNER(io, struct signals, io);
	struct signalfd_siginfo info;

	(void)events;
	if (read(s->fd, &info, sizeof(info)) == sizeof(info))
		s->loop->quit = true;
}

/* The terminal of the daemon that started us is not ours: its hang-up ends nothing. */
static int watch_signals(struct signals *s, struct loop *loop)
{
	sigset_t ends;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	*s = (struct signals){.io.ready = on_signal, .loop = loop};
	s->fd = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->fd < 0 ? -errno : loop_add(loop, s->fd, EPOLLIN, &s->io);
}

static int serve(struct relay *relay, int socket_fd, uid_t owner)
{
	struct server *server = NULL;
	struct signals signals = {.fd = -1};
	int r = watch_signals(&signals, &relay->loop);

	if (r == 0)
		r = server_new(relay, socket_fd, owner, &server);
	if (r == 0)
		r = loop_run(&relay->loop);
	if (r < 0)
		kk_error("%s", strerror(-r));
	server_free(server);
	kk_close(signals.fd);
	return r;
}

static int run(const struct settings *settings, struct kk_err *err)
{
	unsigned long files = privileges_raise_files();
	const uid_t owner = getuid();
	struct relay relay;
	int fd, r = server_bind(settings->socket, &fd, err);

	if (r < 0)
		return r;
	r = privileges_drop(settings->user, err);
	if (r < 0)
		return r;
	/* After the change of user, whose share of pipes it looks at, and whose the thread must be. */
	r = relay_init(&relay, files, settings->udp_idle * 1000);
	if (r < 0)
		return kk_err_set(err, -r, NULL, "cannot start: %s", strerror(-r));
	kk_info("serving on %s: %u TCP connections, %u UDP sessions, %zu listening sockets at most",
		settings->socket, relay.tcp.max, relay.udp.table.max, relay.listeners.max_ports);
	r = serve(&relay, fd, owner);
	relay_clean(&relay);
	kk_info("ended");
	return r;
}

int main(int argc, char **argv)
{
	struct settings settings = {.udp_idle = KK_RELAY_UDP_IDLE_S};
	struct kk_err err = {0};
	int left = kk_options_parse(argc, argv, options, ARRAY_SIZE(options), &settings, &err);

	if (settings.help) {
		printf("Usage: kkrelay --socket PATH [OPTIONS]\n"
		       "Relays published connections to their targets; kkagentd starts and feeds it.\n\n");
		kk_options_help(stdout, options, ARRAY_SIZE(options));
		return 0;
	}
	if (settings.version) {
		puts("kkrelay " KK_VERSION);
		return 0;
	}
	if (left != 0 || !settings.socket) {
		fprintf(stderr, "kkrelay: %s\n",
			err.code   ? err.msg
			: left > 0 ? "takes no arguments"
				   : "--socket is wanted");
		return 2;
	}
	kk_log_init("kkrelay", settings.verbose ? LOG_DEBUG : LOG_INFO);
	if (run(&settings, &err) < 0) {
		kk_error("%s", err.msg);
		return 1;
	}
	return 0;
}
