// SPDX-License-Identifier: MIT
#include "agentd/agent.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "agentd/joining.h"
#include "util/cleanup.h"
#include "util/log.h"

static int on_relay(sd_event_source *source, int fd, uint32_t events, void *userdata);

/* The relay says nothing unasked: what the watch hears is its end. */
static int open_relay(struct agent *a, struct kk_err *err)
{
	int r = relayctl_open(&a->relay, a->run_dir, err);

	if (r < 0)
		return r;
	r = sd_event_add_io(a->event, &a->relay_watch, a->relay.fd, EPOLLIN, on_relay, a);
	return r < 0 ? kk_err_set(err, -r, NULL, "cannot watch the relay: %s", strerror(-r)) : 0;
}

/* Makes again what is gone: the relay, an engine. Tried again at the next turn if it fails. */
static void mend(struct agent *a)
{
	const struct kk_config *config = kk_link_config(a->link);
	struct kk_err err = {0};
	int r = a->relay.fd < 0 ? open_relay(a, &err) : 0;

	if (r == 0 && config->generation)
		r = agent_bring(a, config, &err);
	if (r == 0)
		kk_info("everything is in its place again");
	else if (a->troubled != config->generation + 1)
		kk_error("cannot mend: %s", err.msg);
	a->troubled = r == 0 ? 0 : config->generation + 1;
	kk_link_report(a->link);
}

static int on_relay(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct agent *a = userdata;

	(void)source;
	(void)fd;
	(void)events;
	kk_warn("the line to the relay is lost, it is started again if it has ended");
	a->relay_watch = sd_event_source_disable_unref(a->relay_watch);
	relayctl_close(&a->relay);
	mend(a);
	return 0;
}

static int on_check(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct agent *a = userdata;
	bool well = tunnel_check(a->tunnel);

	(void)usec;
	if (!well || a->relay.fd < 0 || a->troubled)
		mend(a);
	sd_event_source_set_time_relative(source, AGENT_CHECK_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int on_again(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct agent *a = userdata;

	(void)source;
	(void)usec;
	kk_info("asking Control again for what could not be made");
	kk_link_ask_again(a->link);
	return 0;
}

/* What failed may work later (an engine that could not start, a port not yet free): nobody shall have to help. */
static void ask_later(struct agent *a)
{
	sd_event_source_set_time_relative(a->again, a->again_us);
	sd_event_source_set_enabled(a->again, SD_EVENT_ONESHOT);
	if (a->again_us < AGENT_AGAIN_MAX_US)
		a->again_us *= 2;
}

static void ask_no_more(struct agent *a)
{
	sd_event_source_set_enabled(a->again, SD_EVENT_OFF);
	a->again_us = AGENT_AGAIN_US;
}

static int apply(const struct kk_config *old, const struct kk_config *next, void *userdata,
		 struct kk_err *err)
{
	struct agent *a = userdata;
	struct kk_err undo = {0};
	int r = 0;

	if (a->relay.fd < 0)
		r = open_relay(a, err);
	if (r == 0)
		r = agent_bring(a, next, err);
	if (r == 0) {
		a->troubled = 0;
		ask_no_more(a);
		return 0;
	}
	ask_later(a);
	/* After a start nothing is known of what was; then what was done stays until Control says better. */
	if (old->generation && agent_bring(a, old, &undo) < 0)
		kk_error("generation %lld cannot be restored: %s", (long long)old->generation,
			 undo.msg);
	return r;
}

static json_t *report(void *userdata)
{
	return agent_report(userdata);
}

static int start_link(struct agent *a, struct kk_err *err)
{
	const struct kk_link_config config = {
		.identity = &a->identity,
		.public_key = tunnel_public_key(a->tunnel),
		.apply = apply,
		.report = report,
		.userdata = a,
	};
	int r = sd_event_add_time_relative(a->event, &a->again, CLOCK_MONOTONIC, 0, 0, on_again, a);

	if (r >= 0) {
		ask_no_more(a);
		r = kk_link_new(a->event, &config, &a->link);
	}
	if (r >= 0)
		r = sd_event_add_time_relative(a->event, &a->check, CLOCK_MONOTONIC, AGENT_CHECK_US,
					       0, on_check, a);
	return r < 0 ? kk_err_set(err, -r, NULL, "cannot start: %s", strerror(-r)) : 0;
}

/* With a joining of its own comes a key of its own, and sessions with it that the gateways know. */
static int drop_earlier(const struct agent *a, const struct agent_options *options,
			struct kk_err *err)
{
	int r = joining_changed(options->run_dir, &a->identity, err);

	if (r > 0) {
		kk_info("this machine has joined anew: the tunnel is made afresh, with another key");
		r = tunnel_destroy(&options->tunnel, err);
	}
	return r < 0 ? r : joining_note(options->run_dir, &a->identity, err);
}

int agent_init(struct agent *a, sd_event *event, const struct agent_options *options,
	       struct kk_err *err)
{
	int r;

	*a = (struct agent){
		.event = sd_event_ref(event), .run_dir = options->run_dir, .relay.fd = -1};
	r = kk_link_load(options->state_dir, "agent", &a->identity, err);
	if (r == 0)
		r = relayctl_init(&a->relay, options->run_dir, err);
	if (r == 0)
		r = drop_earlier(a, options, err);
	if (r == 0)
		r = tunnel_new(&options->tunnel, &a->tunnel, err);
	if (r == 0)
		r = open_relay(a, err);
	if (r == 0)
		r = start_link(a, err);
	if (r < 0)
		agent_clean(a);
	return r;
}

void agent_clean(struct agent *a)
{
	kk_link_free(a->link);
	sd_event_source_disable_unref(a->check);
	sd_event_source_disable_unref(a->again);
	sd_event_source_disable_unref(a->relay_watch);
	relayctl_close(&a->relay);
	tunnel_free(a->tunnel);
	sd_event_unref(a->event);
}
