// SPDX-License-Identifier: MIT
#include "net/nl.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#include <linux/netlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

struct call {
	int (*each)(struct nlmsghdr *hdr, void *userdata);
	void *userdata;
	char *text; /* what the kernel says about an error; NULL: nobody asks */
	size_t size;
	bool done;
	int result;
};

int kk_nl_open(int protocol, struct nl_sock **ret)
{
	KK_CLEANUP_NL struct nl_sock *sk = nl_socket_alloc();

	if (!sk)
		return -ENOMEM;
	errno = 0;
	if (nl_connect(sk, protocol) < 0)
		return errno ? -errno : -EIO;
	/* Messages of a dump may be larger than a page. */
	nl_socket_enable_msg_peek(sk);
	*ret = KK_STEAL(sk);
	return 0;
}

static int on_valid(struct nl_msg *msg, void *arg)
{
	struct call *call = arg;
	int r;

	if (!call->each || call->result < 0)
		return NL_OK;
	r = call->each(nlmsg_hdr(msg), call->userdata);
	if (r < 0)
		call->result =
			r; /* the rest of the dump is still read, to leave the socket clean */
	return NL_OK;
}

/* The end of a dump carries its result. */
static int on_finish(struct nl_msg *msg, void *arg)
{
	struct nlmsghdr *hdr = nlmsg_hdr(msg);
	struct call *call = arg;

	if (nlmsg_datalen(hdr) >= (int)sizeof(int) && !call->result) {
		int error = *(int *)nlmsg_data(hdr);

		call->result = error < 0 ? error : 0;
	}
	call->done = true;
	return NL_STOP;
}

static int on_ack(struct nl_msg *msg, void *arg)
{
	(void)msg;
	((struct call *)arg)->done = true;
	return NL_STOP;
}

/* The attributes of an error follow the request that it quotes, which may be its header alone. */
static void read_text(struct call *call, const struct nlmsgerr *error)
{
	const struct nlmsghdr *hdr = (const struct nlmsghdr *)error - 1;
	size_t quoted = hdr->nlmsg_flags & NLM_F_CAPPED ? NLMSG_HDRLEN : error->msg.nlmsg_len;
	size_t offset = sizeof(error->error) + NLMSG_ALIGN(quoted);
	const struct nlattr *text;
	int left = (int)hdr->nlmsg_len - NLMSG_HDRLEN - (int)offset;

	if (!(hdr->nlmsg_flags & NLM_F_ACK_TLVS) || left <= 0)
		return;
	text = nla_find((const struct nlattr *)((const char *)error + offset), left,
			NLMSGERR_ATTR_MSG);
	if (text && nla_len(text) > 0)
		snprintf(call->text, call->size, "%.*s", nla_len(text),
			 (const char *)nla_data(text));
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *error, void *arg)
{
	struct call *call = arg;

	(void)from;
	if (!call->result) {
		call->result = error->error;
		if (call->text)
			read_text(call, error);
	}
	call->done = true;
	return NL_STOP;
}

static int receive(struct nl_sock *sk, struct nl_cb *cb, struct call *call)
{
	bool interrupted = false;

	while (!call->done) {
		int r;

		errno = 0;
		r = nl_recvmsgs(sk, cb);
		if (r == -NLE_DUMP_INTR)
			interrupted = true;
		else if (r < 0 && !call->done)
			return errno ? -errno : -EIO;
	}
	if (!call->result && interrupted)
		return -EAGAIN;
	return call->result;
}

int kk_nl_call_text(struct nl_sock *sk, struct nl_msg *msg,
		    int (*each)(struct nlmsghdr *hdr, void *userdata), void *userdata, char *text,
		    size_t size)
{
	struct call call = {.each = each, .userdata = userdata, .text = text, .size = size};
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	int r;

	if (text)
		text[0] = '\0';
	if (!cb)
		return -ENOMEM;
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_valid, &call);
	nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_finish, &call);
	nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_ack, &call);
	nl_cb_err(cb, NL_CB_CUSTOM, on_error, &call);
	errno = 0;
	if (nl_send_auto(sk, msg) < 0)
		r = errno ? -errno : -EIO;
	else
		r = receive(sk, cb, &call);
	nl_cb_put(cb);
	return r;
}

int kk_nl_call(struct nl_sock *sk, struct nl_msg *msg,
	       int (*each)(struct nlmsghdr *hdr, void *userdata), void *userdata)
{
	return kk_nl_call_text(sk, msg, each, userdata, NULL, 0);
}

int kk_rtnl_call(struct nl_msg *msg, int (*each)(struct nlmsghdr *hdr, void *userdata),
		 void *userdata)
{
	KK_CLEANUP_NL struct nl_sock *sk = NULL;
	int r;

	r = kk_nl_open(NETLINK_ROUTE, &sk);
	if (r < 0)
		return r;
	return kk_nl_call(sk, msg, each, userdata);
}
