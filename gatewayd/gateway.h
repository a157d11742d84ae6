/* SPDX-License-Identifier: MIT */
/* The daemon while it runs: what all its parts share. */
#ifndef KK_GATEWAYD_GATEWAY_H
#define KK_GATEWAYD_GATEWAY_H

#include <systemd/sd-event.h>

#include "gatewayd/health.h"
#include "gatewayd/options.h"
#include "gatewayd/place.h"
#include "gatewayd/probe.h"
#include "gatewayd/ports.h"
#include "gatewayd/tunnel.h"
#include "genl/watch.h"
#include "httpd/httpd.h"
#include "link/link.h"
#include "plane/plane.h"

struct gateway {
	const struct options *options;
	struct kk_identity identity;
	struct place place;
	sd_event *event;
	struct tunnel tunnel;
	struct kk_plane *plane; /* NULL until the first configuration */
	bool in_step;		/* its tables are those of the configuration in force */
	struct kk_genl_watch watch;
	/* what the data path was opened with */
	struct kk_self self;
	struct kk_address addresses[PLACE_ADDRESSES_MAX];
	size_t n_addresses;
	struct health health;
	struct probe probe;
	struct kk_link *link;
	struct kk_httpd *httpd;
	struct ports ports; /* as they were told to Control last */
	int links_fd;	    /* readable when an interface has changed */
	int complaint; /* errno of what was wrong with the public interface when last looked at */
};

/*
 * One daemon a state directory: a descriptor that holds the lock, which goes with the process. -EAGAIN: another
 * has it. Without @make a lock that nobody ever held is -ENOENT, with no @err.
 */
int gateway_lock(const char *state, bool make, struct kk_err *err);

/* Runs until it is told to end. Returns 0 or a negative errno with @err. */
int gateway_run(const struct options *o, struct kk_err *err);

/* Removes tunnel, programs and tables from this machine. */
int gateway_down(const struct options *o, struct kk_err *err);

/* Of struct kk_link_config: brings tunnel and tables from @old to @next. @userdata is the struct gateway. */
int gateway_apply(const struct kk_config *old, const struct kk_config *next, void *userdata,
		  struct kk_err *err);

/*
 * Looks whether the public interface was made anew or has another address, and brings the data plane along. It can
 * be called again after a failure.
 */
int gateway_follow_place(struct gateway *gw, struct kk_err *err);

/* Of struct health and struct probe: an Agent fell silent, or answers again. Groups follow. */
void gateway_follow_health(void *userdata);

/* Puts the configuration in force into the tables once more. */
int gateway_set_again(struct gateway *gw, struct kk_err *err);

/* Follows the kernel module as it comes and goes. */
int gateway_watch_module(struct gateway *gw, struct kk_err *err);

/* Of struct kk_link_config: the fields of a report, or NULL when memory is short. */
json_t *gateway_report(void *userdata);

/* The ports that the host itself serves on the managed address, and its WireGuard port. */
int gateway_ports(const struct gateway *gw, struct ports *ret, struct kk_err *err);

/* Of struct kk_httpd_config: /healthz and /metrics. */
void gateway_http(struct kk_httpd_request *req, void *userdata);

#endif
