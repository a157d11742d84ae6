// SPDX-License-Identifier: MIT
#include "genl/events.h"

#include <errno.h>

#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>

#include "genl/wire.h"
#include "net/nl.h"

int kk_module_events_open(struct kk_module_events *ret, struct kk_err *err)
{
	KK_CLEANUP_NL struct nl_sock *sk = NULL;
	int r = kk_nl_open(NETLINK_GENERIC, &sk), group;

	if (r < 0)
		return kk_err_set(err, -r, NULL, "no generic netlink socket: %s", strerror(-r));
	group = genl_ctrl_resolve_grp(sk, KK_GENL_NAME, KK_GENL_MCGRP_EVENTS);
	if (group < 0)
		return kk_err_set(err, ENOENT, NULL, "the kernel has no netlink family %s",
				  KK_GENL_NAME);
	errno = 0;
	if (nl_socket_set_nonblocking(sk) < 0 || nl_socket_add_membership(sk, group) < 0)
		return kk_err_set(err, errno ? errno : EIO, NULL,
				  "the events of the kernel module cannot be had");
	ret->sk = KK_STEAL(sk);
	return 0;
}

void kk_module_events_close(struct kk_module_events *events)
{
	if (events->sk)
		nl_socket_free(events->sk);
	events->sk = NULL;
}

int kk_module_events_fd(const struct kk_module_events *events)
{
	return nl_socket_get_fd(events->sk);
}

struct reading {
	void (*each)(const struct kk_module_event *event, void *userdata);
	void *userdata;
	int r;
};

static int parse(struct nlmsghdr *hdr, struct kk_module_event *event)
{
	struct nlattr *attrs[KK_A_MAX + 1];
	struct kk_ban_entry ban = {0};

	if (kk_wire_parse(hdr, attrs) < 0 || !attrs[KK_A_EVENT] ||
	    (attrs[KK_A_BAN] && kk_wire_get_ban(attrs[KK_A_BAN], &ban) < 0))
		return -EBADMSG;
	*event = (struct kk_module_event){
		.kind = nla_get_u32(attrs[KK_A_EVENT]),
		.source = ban.source,
		.service = ban.service,
		.seconds = ban.seconds,
		.flows = attrs[KK_A_FLOWS] ? nla_get_u32(attrs[KK_A_FLOWS]) : 0,
		.missed = attrs[KK_A_MISSED] ? nla_get_u32(attrs[KK_A_MISSED]) : 0,
	};
	return 0;
}

static int on_event(struct nl_msg *msg, void *arg)
{
	struct reading *reading = arg;
	struct kk_module_event event;
	int r = parse(nlmsg_hdr(msg), &event);

	if (r < 0)
		reading->r = r;
	else
		reading->each(&event, reading->userdata);
	return NL_OK;
}

/* They answer nothing. */
static int any_sequence(struct nl_msg *msg, void *arg)
{
	(void)msg;
	(void)arg;
	return NL_OK;
}

int kk_module_events_read(const struct kk_module_events *events,
			  void (*each)(const struct kk_module_event *event, void *userdata),
			  void *userdata)
{
	struct reading reading = {.each = each, .userdata = userdata};
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	int r;

	if (!cb)
		return -ENOMEM;
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_event, &reading);
	nl_cb_set(cb, NL_CB_SEQ_CHECK, NL_CB_CUSTOM, any_sequence, NULL);
	do {
		errno = 0;
		r = nl_recvmsgs_report(events->sk, cb);
	} while (r > 0);
	nl_cb_put(cb);
	if (r < 0 && r != -NLE_AGAIN)
		return errno ? -errno : -EBADMSG;
	return reading.r;
}

const char *kk_module_event_name(enum kk_event kind)
{
	static const char *const names[] = {
		[KK_EVENT_TUNNEL_GONE] = "tunnel-gone",
		[KK_EVENT_TUNNEL_BACK] = "tunnel-back",
		[KK_EVENT_PUBLIC_GONE] = "public-gone",
		[KK_EVENT_PUBLIC_BACK] = "public-back",
		[KK_EVENT_LIMITED_PACKETS] = "limited-packets",
		[KK_EVENT_LIMITED_CONNECTIONS] = "limited-connections",
		[KK_EVENT_BANNED] = "banned",
		[KK_EVENT_BAN_LIFTED] = "ban-lifted",
		[KK_EVENT_BAN_ENDED] = "ban-ended",
		[KK_EVENT_FLOWS_SCARCE] = "flows-scarce",
		[KK_EVENT_FLOWS_FULL] = "flows-full",
	};

	return (size_t)kind < sizeof(names) / sizeof(*names) ? names[kind] : "unknown";
}
