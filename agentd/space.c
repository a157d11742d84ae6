// SPDX-License-Identifier: MIT
#include "agentd/space.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "net/net.h"
#include "util/cleanup.h"

/* IPv4 settings of a new namespace are copies of the host's, so each that matters is set. */
static const struct {
	const char *key, *value;
} settings[] = {
	{"forwarding", "0"},	      {"route_localnet", "0"},	 {"accept_local", "0"},
	{"rp_filter", "0"},	      {"accept_redirects", "0"}, {"send_redirects", "0"},
	{"accept_source_route", "0"},
};

static int disable_ipv6(const char *which, struct kk_err *err)
{
	KK_CLEANUP_CLOSE int fd = open(which, O_RDWR | O_CLOEXEC);
	char now = '0';

	if (fd < 0 && errno == ENOENT)
		return 0; /* a kernel without IPv6 */
	if (fd < 0 || (read(fd, &now, 1) == 1 && now != '1' && pwrite(fd, "1", 1, 0) != 1))
		return kk_err_set(err, errno, "netns", "cannot switch IPv6 off (%s): %s", which,
				  strerror(errno));
	return 0;
}

static int seal(struct kk_err *err)
{
	static const char *const scopes[] = {"all", "default"};
	int r = 0;

	for (size_t s = 0; r == 0 && s < ARRAY_SIZE(scopes); s++)
		for (size_t i = 0; r == 0 && i < ARRAY_SIZE(settings); i++)
			r = kk_net_sysctl4(scopes[s], settings[i].key, settings[i].value, err);
	if (r == 0)
		r = disable_ipv6("/proc/sys/net/ipv6/conf/all/disable_ipv6", err);
	if (r == 0)
		r = disable_ipv6("/proc/sys/net/ipv6/conf/default/disable_ipv6", err);
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
