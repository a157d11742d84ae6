/* SPDX-License-Identifier: MIT */
/* The parts of the running daemon, for those that need more than one of them. */
#ifndef KK_CONTROLD_CONTROL_H
#define KK_CONTROLD_CONTROL_H

#include <sys/queue.h>

#include <systemd/sd-event.h>

#include "controld/attempts.h"
#include "controld/password.h"
#include "controld/push/push.h"
#include "controld/store/store.h"
#include "controld/tls.h"
#include "httpd/httpd.h"

struct kk_call;

struct kk_control {
	sd_event *event;
	struct kk_store *store;
	struct kk_push *push; /* NULL while the daemon ends */
	struct kk_httpd *httpd;
	sd_event_source *expiry; /* expiry.c's */
	struct kk_passwords *passwords;
	struct kk_attempts by_address, by_account; /* to log in */
	LIST_HEAD(, kk_call) held;		   /* calls that wait for gateways */
	uint64_t requests;
	const char *state;		/* directory */
	char url[256];			/* what nodes are told */
	const char *tls_cert, *tls_key; /* files that the operator gave, or NULL */
	struct kk_tls_identity identity;
};

#endif
