/* SPDX-License-Identifier: GPL-2.0 */
/* What is told to the multicast group of events. */
#ifndef KK_KMOD_EVENTS_H
#define KK_KMOD_EVENTS_H

#include <linux/atomic.h>

#include <uapi/kakuremichi.h>
#include <kk/core/types.h>

struct net;
struct kk_net;

#define KK_EVENTS (KK_EVENT_FLOWS_FULL + 1)

/* What packets bring about is told ten times a second of each kind, and the rest counted. */
struct kk_events {
	struct {
		atomic64_t next; /* when the next one may be told, ns */
		atomic_t missed;
	} of[KK_EVENTS];
};

void kk_events_init(struct kk_events *events);

/* These may sleep. */
void kk_event_plain(struct net *net, enum kk_event event);
/* @until as in struct kk_ban. */
void kk_event_ban(struct net *net, enum kk_event event, const struct kk_ban_key *key, u64 until);
/* These may not, and are not told more often than that. */
void kk_event_limited(struct kk_net *kn, enum kk_event event, const struct kk_source_key *source);
void kk_event_flows(struct kk_net *kn, enum kk_event event);

#endif
