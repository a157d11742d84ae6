// SPDX-License-Identifier: MIT
/* The kernel module as it comes and goes under a running gateway. */
#include "gatewayd/gateway.h"

#include <string.h>
#include <sys/epoll.h>

#include <uapi/kakuremichi.h>

#include "util/log.h"

static int on_family(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct gateway *gw = userdata;
	struct kk_err err = {0};

	(void)source;
	(void)fd;
	(void)events;
	if (!kk_genl_watch_read(&gw->watch) || !gw->plane)
		return 0;
	if (kk_plane_follow_module(gw->plane) && gateway_set_again(gw, &err) < 0)
		kk_error("%s", err.msg);
	kk_link_report(gw->link);
	return 0;
}

int gateway_watch_module(struct gateway *gw, struct kk_err *err)
{
	int r = kk_genl_watch_open(&gw->watch, KK_GENL_NAME, err);

	if (r < 0)
		return r;
	r = sd_event_add_io(gw->event, NULL, kk_genl_watch_fd(&gw->watch), EPOLLIN, on_family, gw);
	return r < 0 ? kk_err_set(err, -r, NULL, "cannot watch the kernel module: %s", strerror(-r))
		     : 0;
}
