// SPDX-License-Identifier: MIT
#include "agentd/space.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "net/net.h"
#include "util/cleanup.h"
#include "util/log.h"

/* IPv4 settings of a new namespace are copies of the host's, so each that matters is set. */
static const struct {
	const char *key, *value;
} settings[] = {
	{"forwarding", "0"},	      {"route_localnet", "0"},	 {"accept_local", "0"},
	{"rp_filter", "0"},	      {"accept_redirects", "0"}, {"send_redirects", "0"},
	{"accept_source_route", "0"},
};

/* The same of IPv6; where it is on it shall be told nothing by anybody. */
static const struct {
	const char *key, *value;
} settings6[] = {
	{"forwarding", "0"},	   {"accept_ra", "0"},		 {"autoconf", "0"},
	{"accept_redirects", "0"}, {"accept_source_route", "0"}, {"addr_gen_mode", "1"},
	{"disable_ipv6", "0"},
};

/* A kernel without IPv6, or with it switched off for good, does without. */
static void seal_ipv6(const char *scope)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings6); i++) {
		struct kk_err err = {0};

		if (kk_net_sysctl6(scope, settings6[i].key, settings6[i].value, &err) < 0 &&
		    err.code != ENOENT)
			kk_warn("%s", err.msg);
	}
}

bool space_has_ipv6(void)
{
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	kk_close(fd);
	return fd >= 0;
}

static int seal(struct kk_err *err)
{
	static const char *const scopes[] = {"all", "default"};
	int r = 0;

	for (size_t s = 0; r == 0 && s < ARRAY_SIZE(scopes); s++)
		for (size_t i = 0; r == 0 && i < ARRAY_SIZE(settings); i++)
			r = kk_net_sysctl4(scopes[s], settings[i].key, settings[i].value, err);
	for (size_t s = 0; r == 0 && s < ARRAY_SIZE(scopes); s++)
		seal_ipv6(scopes[s]);
	return r;
}

int space_open(const char *name, struct kk_err *err)
{
	bool made;
	KK_CLEANUP_CLOSE int fd = kk_netns_open(name, &made, err);
	KK_CLEANUP_NETNS int back = -1;
	int r;

	if (fd < 0)
		return fd;
	back = kk_netns_enter(fd);
	if (back < 0)
		return kk_err_set(err, -back, "netns", "cannot enter namespace %s: %s", name,
				  strerror(-back));
	r = seal(err);
	if (r < 0)
		return r;
	return kk_steal_fd(&fd);
}
