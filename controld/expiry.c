// SPDX-License-Identifier: MIT
#include "controld/expiry.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "util/log.h"

#define SECOND_US   1000000ull
#define RETRY_US    (10 * SECOND_US) /* after the database failed */
#define ACCURACY_US 100000

static void remove_drained(struct kk_control *control, int64_t now)
{
	char name[KK_NAME_MAX + 1];
	struct kk_err err = {0};
	int r;

	while ((r = kk_store_service_expire(control->store, now, name, &err)) == 0)
		kk_info("service %s has drained and is removed", name);
	if (r != -ENOENT)
		kk_error("drained services cannot be removed: %s", err.msg);
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct kk_control *control = userdata;
	struct kk_err err = {0};
	const int64_t now = time(NULL);

	(void)source;
	remove_drained(control, now);
	if (kk_store_ban_expire(control->store, now, &err) < 0)
		kk_error("bans that are over cannot be removed: %s", err.msg);
	if (kk_expiry_look(control, &err) < 0) {
		kk_error("%s", err.msg);
		sd_event_source_set_time(control->expiry, usec + RETRY_US);
		sd_event_source_set_enabled(control->expiry, SD_EVENT_ONESHOT);
	}
	return 0;
}

int kk_expiry_look(struct kk_control *control, struct kk_err *err)
{
	int64_t at;
	int r = kk_store_next_expiry(control->store, &at, err);

	if (r < 0)
		return r;
	r = sd_event_source_set_time(control->expiry, (uint64_t)at * SECOND_US);
	if (r >= 0)
		r = sd_event_source_set_enabled(control->expiry,
						at ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
	return r < 0 ? kk_err_set(err, -r, NULL, "a time cannot be kept: %s", strerror(-r)) : 0;
}

int kk_expiry_start(struct kk_control *control, struct kk_err *err)
{
	int r = sd_event_add_time(control->event, &control->expiry, CLOCK_REALTIME, UINT64_MAX,
				  ACCURACY_US, on_time, control);

	if (r < 0)
		return kk_err_set(err, -r, NULL, "cannot start: %s", strerror(-r));
	return kk_expiry_look(control, err);
}

void kk_expiry_stop(struct kk_control *control)
{
	control->expiry = sd_event_source_disable_unref(control->expiry);
}
