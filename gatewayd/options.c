// SPDX-License-Identifier: MIT
#include "gatewayd/options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/options.h"

#define STRING(name, value, member, help)                                                          \
	KK_OPTION(name, 0, value, KK_OPTION_STRING, struct options, member, help)
#define FLAG(name, letter, member, help)                                                           \
	KK_OPTION(name, letter, NULL, KK_OPTION_FLAG, struct options, member, help)

static const struct kk_option table[] = {
	STRING("state", "DIR", state, "what joining left [/var/lib/kakuremichi/gateway]"),
	STRING("public-interface", "IF", public_interface,
	       "where users come in [that of the default route]"),
	STRING("address", "A", address, "its IPv4 address that is managed [its first]"),
	STRING("tunnel-interface", "IF", tunnel_interface, "name of the WireGuard interface [kk0]"),
	STRING("tunnel", "KIND", tunnel, "auto, kernel or userspace WireGuard [auto]"),
	STRING("engine", "PROGRAM", engine, "userspace WireGuard [kkwg, else wireguard-go]"),
	STRING("pin-dir", "DIR", pin_dir,
	       "where the tables are pinned [/sys/fs/bpf/kakuremichi/TUNNEL-INTERFACE]"),
	STRING("datapath", "HOST", datapath,
	       "what forwards: auto (the kernel module where it can), module or bpf [auto]"),
	STRING("xdp", "MODE", xdp,
	       "auto, native, generic or off: where packets are checked [auto]"),
	STRING("closed-ports", "WHAT", closed_ports,
	       "drop or pass what comes to ports that nobody serves [drop]"),
	KK_OPTION(
		"syn-rate", 0, "N", KK_OPTION_INT, struct options, syn_rate,
		"SYNs a second to a service beyond which clients prove themselves, 0: never [10000]",
		.min = 0, .max = UINT32_MAX),
	STRING("metrics", "ADDR:PORT", metrics, "serve /metrics and /healthz [127.0.0.1:9180]"),
	FLAG("force", 0, force, "join anew in place of an earlier joining"),
	FLAG("verbose", 'v', verbose, "log more"),
	FLAG("help", 'h', help, "print this"),
	FLAG("version", 0, version, "print the version"),
};

void options_help(FILE *f)
{
	fputs("usage: kkgatewayd join TOKEN [--state DIR] [--force]\n"
	      "       kkgatewayd run [OPTIONS]\n"
	      "       kkgatewayd down [OPTIONS]\n"
	      "\n"
	      "Publishes the services of Agents on this machine's public address.\n"
	      "  join   makes this machine the gateway that TOKEN names (kkctl gateway add)\n"
	      "  run    sets up tunnel and tables, and keeps them as Control says; both outlive it\n"
	      "  down   removes tunnel, programs and tables from this machine\n"
	      "\n",
	      f);
	kk_options_help(f, table, ARRAY_SIZE(table));
}

static int read_command(int n, char **argv, struct options *o, struct kk_err *err)
{
	static const struct {
		const char *name;
		enum command command;
		int words;
	} commands[] = {
		{"join", COMMAND_JOIN, 2},
		{"run", COMMAND_RUN, 1},
		{"down", COMMAND_DOWN, 1},
	};

	if (n == 0)
		return kk_err_set(err, EINVAL, "command",
				  "a command is missing: join, run or down");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		if (n < commands[i].words)
			return kk_err_set(err, EINVAL, "token", "join needs a TOKEN");
		if (n > commands[i].words)
			return kk_err_set(err, EINVAL, "command",
					  "%.40s: one word too many after %s",
					  argv[1 + commands[i].words], argv[1]);
		o->command = commands[i].command;
		o->token = argv[2];
		return 0;
	}
	return kk_err_set(err, EINVAL, "command", "\"%.40s\" is no command: join, run or down",
			  argv[1]);
}

static int read_tunnel_kind(struct options *o, struct kk_err *err)
{
	static const struct {
		const char *name;
		enum wgctl_kind kind;
	} kinds[] = {
		{"auto", WGCTL_AUTO}, {"kernel", WGCTL_KERNEL}, {"userspace", WGCTL_USERSPACE}};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(o->tunnel, kinds[i].name) == 0) {
			o->tunnel_kind = kinds[i].kind;
			return 0;
		}
	}
	return kk_err_set(err, EINVAL, "tunnel",
			  "tunnel: \"%.40s\" is not auto, kernel or userspace", o->tunnel);
}

static int read_data_plane(struct options *o, struct kk_err *err)
{
	if (kk_plane_host_parse(o->datapath, &o->datapath_host) < 0)
		return kk_err_set(err, EINVAL, "datapath",
				  "datapath: \"%.40s\" is not auto, module or bpf", o->datapath);
	if (kk_xdp_mode_parse(o->xdp, &o->edge.xdp) < 0)
		return kk_err_set(err, EINVAL, "xdp",
				  "xdp: \"%.40s\" is not auto, native, generic or off", o->xdp);
	if (strcmp(o->closed_ports, "drop") != 0 && strcmp(o->closed_ports, "pass") != 0)
		return kk_err_set(err, EINVAL, "closed-ports",
				  "closed-ports: \"%.40s\" is not drop or pass", o->closed_ports);
	o->edge.closed_ports = strcmp(o->closed_ports, "drop") == 0;
	o->edge.syn_rate = (uint32_t)o->syn_rate;
	return 0;
}

static int read_metrics(struct options *o, struct kk_err *err)
{
	char host[INET_ADDRSTRLEN];
	uint16_t port;
	int r;

	r = kk_parse_hostport("metrics", o->metrics, false, host, sizeof(host), &port, err);
	if (r == 0)
		r = kk_parse_ip4("metrics", host, &o->metrics_at.sin_addr, err);
	o->metrics_at.sin_family = AF_INET;
	o->metrics_at.sin_port = htons(port);
	return r;
}

static int check_ifname(const char *field, const char *name, struct kk_err *err)
{
	if (name && (!name[0] || strlen(name) >= IFNAMSIZ || strchr(name, '/')))
		return kk_err_set(err, EINVAL, field,
				  "%s: \"%.64s\" is not an interface name (1 to %d bytes)", field,
				  name, IFNAMSIZ - 1);
	return 0;
}

static int check(struct options *o, struct kk_err *err)
{
	int r;

	r = read_tunnel_kind(o, err);
	if (r == 0)
		r = read_data_plane(o, err);
	if (r == 0)
		r = read_metrics(o, err);
	if (r == 0 && o->address)
		r = kk_parse_ip4("address", o->address, &o->managed, err);
	if (r == 0)
		r = check_ifname("tunnel-interface", o->tunnel_interface, err);
	if (r == 0)
		r = check_ifname("public-interface", o->public_interface, err);
	if (r == 0 && o->pin_dir && o->pin_dir[0] != '/')
		r = kk_err_set(err, EINVAL, "pin-dir", "pin-dir: \"%.64s\" is not an absolute path",
			       o->pin_dir);
	return r;
}

int options_read(int argc, char **argv, struct options *ret, struct kk_err *err)
{
	int n, r;

	*ret = (struct options){
		.state = "/var/lib/kakuremichi/gateway",
		.tunnel_interface = "kk0",
		.tunnel = "auto",
		.datapath = "auto",
		.xdp = "auto",
		.closed_ports = "drop",
		.syn_rate = 10000,
		.metrics = "127.0.0.1:9180",
	};
	n = kk_options_parse(argc, argv, table, ARRAY_SIZE(table), ret, err);
	if (n < 0)
		return n;
	if (ret->help || ret->version) {
		ret->command = ret->help ? COMMAND_HELP : COMMAND_VERSION;
		return 0;
	}
	r = read_command(n, argv, ret, err);
	if (r == 0)
		r = check(ret, err);
	if (r < 0)
		return r;
	if (!ret->pin_dir) {
		snprintf(ret->default_pin_dir, sizeof(ret->default_pin_dir),
			 "/sys/fs/bpf/kakuremichi/%s", ret->tunnel_interface);
		ret->pin_dir = ret->default_pin_dir;
	}
	return 0;
}
