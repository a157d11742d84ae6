/* SPDX-License-Identifier: MIT */
/*
 * kkctl: what its commands have in common. A command is a row of its noun's table; parsing and help come
 * from the tables. Commands return what the program exits with.
 */
#ifndef KK_CTL_CTL_H
#define KK_CTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "http/client.h"
#include "util/err.h"
#include "util/options.h"

enum ctl_exit {
	CTL_DONE = 0,
	CTL_REFUSED = 1,     /* refused or failed */
	CTL_USAGE = 2,	     /* the command line is wrong */
	CTL_UNREACHABLE = 3, /* Control does not answer */
	CTL_WAITING = 4,     /* done, but not acknowledged by every gateway in time */
};

/* Every option of every command; a command's table says which are its own. */
struct ctl_options {
	const char *config;
	bool json, help, version;
	int64_t wait;			 /* seconds */
	struct kk_option_list addresses; /* of a gateway */
	const char *address;		 /* of a service; "" takes it away */
	int64_t wg_port;
	struct kk_option_list agents;
	const char *agent, *gateway;
	const char *tcp, *udp, *port, *target;
	struct kk_option_list allow, deny, prefixes, hosts;
	const char *access, *from, *to; /* of a service; of a rule */
	const char *limit_packets, *limit_connections;
	const char *drain, *for_, *service;
	bool proxy_protocol;
	const char *proxy_switch; /* "on" or "off" */
	int64_t expires;	  /* seconds, 0: Control's own */
	const char *socket, *pin_dir, *tcp_flags;
	const char *role, *org, *url, *pin, *file, *output, *state, *prefix;
	const char *alias, *wg_ip, *private_key; /* of a peer; the last is a file */
	bool password, dry_run, prune;
	int64_t limit, uses;
	int64_t size; /* of a packet's payload */
};

struct ctl {
	struct ctl_options options;
	const char *name; /* the command's first argument, or NULL */
	char **words;	  /* all of its arguments */
	const struct ctl_command *command;
	struct kk_http_server server; /* known once a call was made */
	json_t *admin;		      /* the file that @server points into */
};

struct ctl_command {
	const char *verb; /* NULL: the noun alone is the command */
	const char *
		argument; /* how help names its arguments, "[...]" one that may be left out, or NULL for none */
	const char *help;
	const struct kk_option *options;
	size_t n_options;
	int (*run)(struct ctl *ctl);
	int n_arguments; /* 0: one, where there is any */
};

struct ctl_noun {
	const char *name, *help;
	const struct ctl_command *commands;
	size_t n_commands;
};

extern const struct ctl_noun ctl_gateway, ctl_agent, ctl_peer, ctl_service, ctl_deny, ctl_ban,
	ctl_token, ctl_key, ctl_status, ctl_sessions, ctl_datapath, ctl_user, ctl_org, ctl_audit,
	ctl_login, ctl_logout, ctl_apply, ctl_backup, ctl_restore, ctl_host, ctl_group, ctl_rule,
	ctl_export;

#define CTL_OPTION(name_, value_, type_, member_, help_, ...)                                      \
	KK_OPTION(name_, 0, value_, type_, struct ctl_options, member_, help_, .once = true,       \
		  ##__VA_ARGS__)
#define CTL_OPTIONS(table) .options = (table), .n_options = ARRAY_SIZE(table)

/* Prints "kkctl: ..." on standard error and returns @code. */
int ctl_fail(enum ctl_exit code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same for a wrong command line, with the way to the command's help. */
int ctl_usage(const struct ctl *ctl, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
