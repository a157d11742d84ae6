// SPDX-License-Identifier: MIT
#include "genl/watch.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/genetlink.h>
#include <netlink/attr.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>

#include "net/nl.h"

int kk_genl_watch_open(struct kk_genl_watch *ret, const char *name, struct kk_err *err)
{
	KK_CLEANUP_NL struct nl_sock *sk = NULL;
	int group, r = kk_nl_open(NETLINK_GENERIC, &sk);

	if (r < 0)
		return kk_err_set(err, -r, NULL, "no generic netlink socket: %s", strerror(-r));
	group = genl_ctrl_resolve_grp(sk, "nlctrl", "notify");
	if (group < 0 || nl_socket_add_membership(sk, group) < 0)
		return kk_err_set(err, ENOENT, NULL,
				  "the kernel does not tell of netlink families that come and go");
	*ret = (struct kk_genl_watch){.sk = KK_STEAL(sk), .name = name};
	return 0;
}

void kk_genl_watch_close(struct kk_genl_watch *watch)
{
	if (watch->sk)
		nl_socket_free(watch->sk);
	watch->sk = NULL;
}

int kk_genl_watch_fd(const struct kk_genl_watch *watch)
{
	return nl_socket_get_fd(watch->sk);
}

static bool is_about(const struct kk_genl_watch *watch, struct nlmsghdr *hdr)
{
	struct nlattr *attrs[CTRL_ATTR_MAX + 1];
	uint8_t cmd;

	if (hdr->nlmsg_type != GENL_ID_CTRL || !genlmsg_valid_hdr(hdr, 0) ||
	    genlmsg_parse(hdr, 0, attrs, CTRL_ATTR_MAX, NULL) < 0 || !attrs[CTRL_ATTR_FAMILY_NAME])
		return false;
	cmd = ((struct genlmsghdr *)nlmsg_data(hdr))->cmd;
	return (cmd == CTRL_CMD_NEWFAMILY || cmd == CTRL_CMD_DELFAMILY) &&
	       nla_strcmp(attrs[CTRL_ATTR_FAMILY_NAME], watch->name) == 0;
}

bool kk_genl_watch_read(struct kk_genl_watch *watch)
{
	_Alignas(struct nlmsghdr) char buffer[16384];
	struct sockaddr_nl from;
	bool found = false;

	for (;;) {
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(kk_genl_watch_fd(watch), buffer, sizeof(buffer), MSG_DONTWAIT,
				     (struct sockaddr *)&from, &len);
		struct nlmsghdr *hdr = (struct nlmsghdr *)buffer;
		int left = (int)n;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return found || errno == ENOBUFS;
		if (from.nl_pid != 0)
			continue; /* not the kernel's */
		for (; nlmsg_ok(hdr, left); hdr = nlmsg_next(hdr, &left))
			found |= is_about(watch, hdr);
	}
}
