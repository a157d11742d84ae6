// SPDX-License-Identifier: MIT
#include "genl/family.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/netlink.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>

#include "net/nl.h"

/* SOL_NETLINK is not in every C library's headers. */
#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

/* As much as a process may have, for many answers to one request; if it may not, fewer have to do. */
static void set_room(struct nl_sock *sk)
{
	int room = 1 << 20;

	(void)nl_socket_set_buffer_size(sk, room, room);
	(void)setsockopt(nl_socket_get_fd(sk), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
}

int kk_genl_open(struct kk_genl *ret, const char *name, uint8_t version, struct kk_err *err)
{
	KK_CLEANUP_NL struct nl_sock *sk = NULL;
	int r, family, on = 1;

	r = kk_nl_open(NETLINK_GENERIC, &sk);
	if (r < 0)
		return kk_err_set(err, -r, NULL, "no generic netlink socket: %s", strerror(-r));
	set_room(sk);
	family = genl_ctrl_resolve(sk, name);
	if (family < 0)
		return kk_err_set(err, ENOENT, NULL, "the kernel has no netlink family %s", name);
	if (setsockopt(nl_socket_get_fd(sk), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on)) < 0 ||
	    setsockopt(nl_socket_get_fd(sk), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on)) < 0 ||
	    setsockopt(nl_socket_get_fd(sk), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on)) <
		    0) {
		r = errno;
		return kk_err_set(err, r, NULL, "the netlink socket cannot be set up: %s",
				  strerror(r));
	}
	*ret = (struct kk_genl){.sk = KK_STEAL(sk), .family = family, .version = version};
	return 0;
}

void kk_genl_close(struct kk_genl *genl)
{
	if (genl->sk)
		nl_socket_free(genl->sk);
	genl->sk = NULL;
}

struct nl_msg *kk_genl_request(const struct kk_genl *genl, uint8_t cmd, int flags, size_t room)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg = nlmsg_alloc_size(NLMSG_SPACE(64) + room);

	if (!msg || !genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, genl->family, 0, flags, cmd,
				 genl->version))
		return NULL;
	return KK_STEAL(msg);
}

int kk_genl_call(const struct kk_genl *genl, struct nl_msg *msg,
		 int (*each)(struct nlmsghdr *hdr, void *userdata), void *userdata,
		 const char *what, struct kk_err *err)
{
	char text[160];
	int r = kk_nl_call_text(genl->sk, msg, each, userdata, text, sizeof(text));

	if (r < 0)
		return kk_err_set(err, -r, NULL, "%s: %s", what, text[0] ? text : strerror(-r));
	return 0;
}
