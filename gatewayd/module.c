// SPDX-License-Identifier: MIT
/* The kernel module as it comes, goes, and is renewed under a running gateway. */
#include "gatewayd/gateway.h"

#include <signal.h>
#include <string.h>
#include <sys/epoll.h>

#include <uapi/kakuremichi.h>

#include "util/log.h"

static void set_again(struct gateway *gw)
{
	struct kk_err err = {0};

	if (gateway_set_again(gw, &err) < 0)
		kk_error("%s", err.msg);
	kk_link_report(gw->link);
}

static int on_family(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct gateway *gw = userdata;

	(void)source;
	(void)fd;
	(void)events;
	if (!kk_genl_watch_read(&gw->watch) || !gw->plane)
		return 0;
	if (kk_plane_follow_module(gw->plane))
		set_again(gw);
	else
		kk_link_report(gw->link);
	return 0;
}

/* DKMS has put a newer one there, perhaps. eBPF carries on from the moment that the old one goes. */
static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	struct gateway *gw = userdata;
	struct kk_err err = {0};

	(void)source;
	(void)info;
	if (!gw->plane) {
		kk_info("there was no configuration yet, and so no module in use");
		return 0;
	}
	if (!kk_link_config(gw->link)->generation) {
		kk_warn("the kernel module stays as it is until Control has told what is to be published");
		return 0;
	}
	if (kk_plane_renew_module(gw->plane, &err) < 0)
		kk_error("%s", err.msg);
	set_again(gw);
	kk_info("data plane: %s (%s)", kk_plane_kind(gw->plane), kk_plane_reason(gw->plane));
	return 0;
}

int gateway_watch_module(struct gateway *gw, struct kk_err *err)
{
	int r = kk_genl_watch_open(&gw->watch, KK_GENL_NAME, err);

	if (r < 0)
		return r;
	r = sd_event_add_io(gw->event, NULL, kk_genl_watch_fd(&gw->watch), EPOLLIN, on_family, gw);
	if (r >= 0)
		r = sd_event_add_signal(gw->event, NULL, SIGHUP, on_hangup, gw);
	return r < 0 ? kk_err_set(err, -r, NULL, "cannot watch the kernel module: %s", strerror(-r))
		     : 0;
}
