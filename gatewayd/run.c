// SPDX-License-Identifier: MIT
#include "gatewayd/gateway.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <systemd/sd-daemon.h>

#include "net/net.h"
#include "util/cleanup.h"
#include "util/log.h"

/* How often ports, tunnel and public interface are looked at. */
#define WATCH_US (2 * 1000000ull)

/* Exit code of the loop: the tunnel was lost, begin anew. */
#define AGAIN 1

#define BODY_MAX	1024
#define CONNECTIONS_MAX 32

/* An interface or address that is away for a while is worth one line, not one every 2 s. */
static void watch_place(struct gateway *gw)
{
	struct kk_err err = {0};

	if (gateway_follow_place(gw, &err) < 0 && err.code != gw->complaint)
		kk_error("%s", err.msg);
	gw->complaint = err.code;
}

static int make_anew(struct gateway *gw)
{
	kk_error("tunnel %s is gone and is made anew", gw->tunnel.ifname);
	return sd_event_exit(gw->event, AGAIN);
}

/* A tunnel that is lost is missed by every client: it does not wait for the next look. */
static int on_links(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct gateway *gw = userdata;

	(void)source;
	(void)events;
	kk_net_watch_read(fd);
	return tunnel_alive(&gw->tunnel) ? 0 : make_anew(gw);
}

static int on_watch(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct gateway *gw = userdata;
	struct kk_err err = {0};
	struct ports now = {0};

	(void)usec;
	if (!tunnel_alive(&gw->tunnel))
		return make_anew(gw);
	watch_place(gw);
	if (gateway_ports(gw, &now, &err) < 0)
		kk_debug("%s", err.msg);
	else if (!ports_equal(&now, &gw->ports))
		kk_link_report(gw->link);
	ports_clean(&now);
	sd_event_source_set_time_relative(source, WATCH_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int start_loop(struct gateway *gw, struct kk_err *err)
{
	int r;

	r = sd_event_new(&gw->event);
	if (r >= 0)
		r = sd_event_add_signal(gw->event, NULL, SIGTERM, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_signal(gw->event, NULL, SIGINT, NULL, NULL);
	if (r >= 0)
		r = sd_event_set_watchdog(gw->event, true);
	if (r >= 0)
		r = sd_event_add_time_relative(gw->event, NULL, CLOCK_MONOTONIC, WATCH_US, 0,
					       on_watch, gw);
	return r < 0 ? kk_err_set(err, -r, NULL, "cannot make the event loop: %s", strerror(-r))
		     : 0;
}

static int watch_links(struct gateway *gw, struct kk_err *err)
{
	int r;

	gw->links_fd = kk_net_watch_links(err);
	if (gw->links_fd < 0)
		return gw->links_fd;
	r = sd_event_add_io(gw->event, NULL, gw->links_fd, EPOLLIN, on_links, gw);
	return r < 0 ? kk_err_set(err, -r, NULL, "cannot watch the interfaces: %s", strerror(-r))
		     : 0;
}

static int start_link(struct gateway *gw, struct kk_err *err)
{
	const struct kk_link_config config = {
		.identity = &gw->identity,
		.public_key = gw->tunnel.public_key,
		.apply = gateway_apply,
		.report = gateway_report,
		.userdata = gw,
	};
	int r = kk_link_new(gw->event, &config, &gw->link);

	return r < 0 ? kk_err_set(err, -r, NULL, "cannot reach for Control: %s", strerror(-r)) : 0;
}

static int start_http(struct gateway *gw, struct kk_err *err)
{
	const struct kk_httpd_config config = {
		.listen = gw->options->metrics_at,
		.body_max = BODY_MAX,
		.connections_max = CONNECTIONS_MAX,
		.handle = gateway_http,
		.userdata = gw,
	};

	return kk_httpd_new(gw->event, &config, &gw->httpd, err);
}

static int start(struct gateway *gw, struct kk_err *err)
{
	int r;

	/* What can be refused for its arguments comes before what is made on the machine. */
	r = place_find(gw->options, &gw->place, err);
	if (r == 0)
		r = start_loop(gw, err);
	if (r == 0)
		r = start_http(gw, err);
	if (r == 0)
		r = tunnel_open(gw->options, &gw->tunnel, err);
	if (r == 0)
		r = watch_links(gw, err);
	if (r == 0)
		r = health_start(&gw->health, gw->event, gw->tunnel.ifname, gateway_follow_health,
				 gw, err);
	if (r == 0)
		r = probe_start(&gw->probe, gw->event, gw->tunnel.ifname, gateway_follow_health, gw,
				err);
	if (r == 0)
		r = gateway_watch_module(gw, err);
	if (r == 0)
		r = start_link(gw, err);
	return r;
}

/* Lets go of everything; tunnel and tables go on. */
static void stop(struct gateway *gw)
{
	kk_httpd_free(gw->httpd);
	kk_link_free(gw->link);
	probe_stop(&gw->probe);
	health_stop(&gw->health);
	kk_plane_close(gw->plane);
	kk_genl_watch_close(&gw->watch);
	if (gw->tunnel.wg)
		tunnel_close(&gw->tunnel);
	ports_clean(&gw->ports);
	sd_event_unref(gw->event);
	kk_close(gw->links_fd);
}

static int run_once(const struct options *o, const struct kk_identity *identity, struct kk_err *err)
{
	struct gateway gw = {.options = o,
			     .identity = *identity,
			     .health.fd = -1,
			     .probe = PROBE_NONE,
			     .links_fd = -1};
	int r;

	r = start(&gw, err);
	if (r == 0) {
		sd_notify(0, "READY=1");
		r = sd_event_loop(gw.event);
		if (r < 0)
			kk_err_set(err, -r, NULL, "the event loop failed: %s", strerror(-r));
	}
	stop(&gw);
	return r;
}

int gateway_run(const struct options *o, struct kk_err *err)
{
	KK_CLEANUP_CLOSE int lock = -1;
	struct kk_identity identity;
	int r;

	r = kk_link_load(o->state, "gateway", &identity, err);
	if (r < 0)
		return r;
	lock = gateway_lock(o->state, true, err);
	if (lock < 0)
		return lock;
	kk_info("gateway %s", identity.name);
	do
		r = run_once(o, &identity, err);
	while (r == AGAIN);
	sd_notify(0, "STOPPING=1");
	return r;
}
