// SPDX-License-Identifier: MIT
/* kkagentd: the node behind NAT that reaches every gateway and serves local targets through them. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <net/if.h>
#include <sys/file.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "agentd/agent.h"
#include "agentd/joining.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/log.h"
#include "util/options.h"

struct settings {
	const char *state, *run_dir, *netns, *interface, *engine;
	bool force, verbose, help, version;
};

#define OPTION(name, letter, value, type, member, help)                                            \
	KK_OPTION(name, letter, value, KK_OPTION_##type, struct settings, member, help)
static const struct kk_option options[] = {
	OPTION("state", 0, "DIR", STRING, state, "what joining left [/var/lib/kakuremichi/agent]"),
	OPTION("run-dir", 0, "DIR", STRING, run_dir, "the relay's socket [/run/kakuremichi/agent]"),
	OPTION("netns", 0, "NAME", STRING, netns, "network namespace of the tunnel [kk-agent]"),
	OPTION("tunnel-interface", 0, "NAME", STRING, interface, "the tunnel's interface [kka0]"),
	OPTION("engine", 0, "PROGRAM", STRING, engine,
	       "userspace WireGuard that replies to ingress [kkwg]"),
	OPTION("force", 0, NULL, FLAG, force, "join again over an earlier joining"),
	OPTION("verbose", 'v', NULL, FLAG, verbose, "log more"),
	OPTION("help", 'h', NULL, FLAG, help, "show this"),
	OPTION("version", 0, NULL, FLAG, version, "show the version"),
};

static void print_help(void)
{
	printf("Usage: kkagentd join TOKEN [OPTIONS]   become the Agent that the token is for\n"
	       "       kkagentd run [OPTIONS]          keep the tunnel and serve\n"
	       "       kkagentd down [OPTIONS]         end relay, tunnel and namespace\n\n");
	kk_options_help(stdout, options, ARRAY_SIZE(options));
}

static int check_settings(const struct settings *s, struct agent_options *ret, struct kk_err *err)
{
	*ret = (struct agent_options){
		.state_dir = s->state,
		.run_dir = s->run_dir,
		.tunnel = {.netns = s->netns, .ifname = s->interface, .engine = s->engine},
	};
	if (!s->interface[0] || strlen(s->interface) >= IFNAMSIZ || strchr(s->interface, '/'))
		return kk_err_set(
			err, EINVAL, "tunnel-interface",
			"--tunnel-interface \"%s\" is not an interface name (1 to %d bytes)",
			s->interface, IFNAMSIZ - 1);
	return 0;
}

/* One daemon to a run directory; held until the process ends. */
static int lock(const char *run_dir, struct kk_err *err)
{
	char path[PATH_MAX];
	int fd, r = kk_mkdir_p(run_dir, 0755);

	if (r < 0)
		return kk_err_set(err, -r, "run-dir", "cannot make %s: %s", run_dir, strerror(-r));
	snprintf(path, sizeof(path), "%s/kkagentd.lock", run_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return kk_err_set(err, errno, "run-dir", "cannot open %s: %s", path,
				  strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	kk_close(fd);
	return kk_err_set(err, EBUSY, "run-dir", "kkagentd runs already with run directory %s",
			  run_dir);
}

static int prepare_event(sd_event *event)
{
	static const int ends[] = {SIGTERM, SIGINT};
	sigset_t blocked;
	int r = 0;

	sigemptyset(&blocked);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		sigaddset(&blocked, ends[i]);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < ARRAY_SIZE(ends) && r >= 0; i++)
		r = sd_event_add_signal(event, NULL, ends[i], NULL, NULL); /* ends the loop */
	return r < 0 ? r : sd_event_set_watchdog(event, 1);
}

static int serve(sd_event *event, const struct agent_options *o, struct kk_err *err)
{
	struct agent agent;
	int r = prepare_event(event);

	if (r < 0)
		return kk_err_set(err, -r, NULL, "cannot start: %s", strerror(-r));
	r = agent_init(&agent, event, o, err);
	if (r < 0)
		return r;
	kk_info("Agent %s runs in namespace %s", agent.identity.name, o->tunnel.netns);
	sd_notify(0, "READY=1");
	r = sd_event_loop(event);
	sd_notify(0, "STOPPING=1");
	agent_clean(&agent);
	return r < 0 ? kk_err_set(err, -r, NULL, "the event loop ended: %s", strerror(-r)) : 0;
}

static int cmd_run(const struct agent_options *o, struct kk_err *err)
{
	KK_CLEANUP_CLOSE int locked = lock(o->run_dir, err);
	sd_event *event = NULL;
	int r;

	if (locked < 0)
		return locked;
	r = sd_event_default(&event);
	if (r < 0)
		return kk_err_set(err, -r, NULL, "there is no event loop: %s", strerror(-r));
	r = serve(event, o, err);
	sd_event_unref(event);
	return r;
}

static int end_relay(const struct agent_options *o, struct kk_err *err)
{
	struct relayctl ctl;
	struct kk_err why = {0};
	char path[PATH_MAX];
	int r = relayctl_init(&ctl, o->run_dir, err);

	if (r < 0)
		return r;
	r = relayctl_connect(&ctl, &why);
	if (r == 0)
		r = relayctl_quit(&ctl, err);
	else if (r == -ENOENT || r == -ECONNREFUSED)
		r = 0;
	else
		kk_err_set(err, -r, NULL, "%s", why.msg);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s.lock", ctl.path);
	unlink(ctl.path);
	unlink(path);
	return 0;
}

static int cmd_down(const struct agent_options *o, struct kk_err *err)
{
	KK_CLEANUP_CLOSE int locked = lock(o->run_dir, err);
	int r;

	if (locked < 0)
		return locked;
	r = end_relay(o, err);
	if (r == 0)
		r = tunnel_destroy(&o->tunnel, err);
	if (r == 0)
		joining_forget(o->run_dir);
	return r;
}

/* A daemon reads its identity at its start. */
static bool is_running(const char *run_dir)
{
	KK_CLEANUP_CLOSE int fd = -1;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/kkagentd.lock", run_dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
}

static int cmd_join(const struct settings *s, const char *token, struct kk_err *err)
{
	struct kk_identity identity;
	int r = kk_link_join(s->state, "agent", token, s->force, &identity, err);

	if (r == 0)
		printf("This machine is now Agent %s of %s. %s\n", identity.name, identity.url,
		       is_running(s->run_dir) ? "kkagentd runs with what it was before: restart it"
					      : "Start it: kkagentd run");
	explicit_bzero(&identity, sizeof(identity));
	return r;
}

static int usage(const char *why)
{
	fprintf(stderr, "kkagentd: %s (see kkagentd --help)\n", why);
	return 2;
}

static int command(const struct settings *s, int n, char **words)
{
	struct agent_options o;
	struct kk_err err = {0};
	int r = check_settings(s, &o, &err);

	if (r < 0)
		return usage(err.msg);
	if (n == 2 && strcmp(words[0], "join") == 0)
		r = cmd_join(s, words[1], &err);
	else if (n == 1 && strcmp(words[0], "run") == 0)
		r = cmd_run(&o, &err);
	else if (n == 1 && strcmp(words[0], "down") == 0)
		r = cmd_down(&o, &err);
	else
		return usage("the command is join TOKEN, run or down");
	if (r < 0)
		kk_error("%s", err.code ? err.msg : strerror(-r));
	return r < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct settings s = {
		.state = "/var/lib/kakuremichi/agent",
		.run_dir = "/run/kakuremichi/agent",
		.netns = "kk-agent",
		.interface = "kka0",
	};
	struct kk_err err = {0};
	int n = kk_options_parse(argc, argv, options, ARRAY_SIZE(options), &s, &err);

	if (n < 0)
		return usage(err.msg);
	if (s.help) {
		print_help();
		return 0;
	}
	if (s.version) {
		puts("kkagentd " KK_VERSION);
		return 0;
	}
	kk_log_init("kkagentd", s.verbose ? LOG_DEBUG : LOG_INFO);
	return command(&s, n, argv + 1);
}
