/* SPDX-License-Identifier: MIT */
/* The parts of the running daemon, for those that need more than one of them. */
#ifndef KK_CONTROLD_CONTROL_H
#define KK_CONTROLD_CONTROL_H

#include <systemd/sd-event.h>

#include "controld/push/push.h"
#include "controld/store/store.h"
#include "httpd/httpd.h"

struct kk_control {
	sd_event *event;
	struct kk_store *store;
	struct kk_push *push; /* NULL while the daemon ends */
	struct kk_httpd *httpd;
	sd_event_source *expiry; /* expiry.c's */
	char url[256]; /* what nodes are told */
	char pin[64];
};

#endif
