// SPDX-License-Identifier: MIT
#include "wg/timers.h"

#include <string.h>

#include "wg/constants.h"
#include "wg/device.h"
#include "wg/peer.h"

static void arm(struct wg_peer *p, enum wg_timer t, uint64_t when)
{
	p->timers[t] = when;
	if (when < p->wake)
		wg_device_wake_at(p->dev, p, when);
}

/* The random part keeps both sides from starting handshakes at the same moment for ever. */
static uint64_t jitter(struct wg_peer *p)
{
	struct wg_device *d = p->dev;

	/* Armed with every round trip, so not worth a call to the system; nobody gains by guessing it. */
	d->jitter++;
	return wg_siphash(&d->hash_key, &d->jitter, sizeof(d->jitter)) % WG_REKEY_JITTER;
}

void wg_timers_data_sent(struct wg_peer *p, uint64_t now)
{
	if (!p->timers[WG_TIMER_NEW_HANDSHAKE])
		arm(p, WG_TIMER_NEW_HANDSHAKE,
		    now + WG_KEEPALIVE_TIMEOUT + WG_REKEY_TIMEOUT + jitter(p));
}

void wg_timers_data_received(struct wg_peer *p, uint64_t now)
{
	if (!p->timers[WG_TIMER_KEEPALIVE])
		arm(p, WG_TIMER_KEEPALIVE, now + WG_KEEPALIVE_TIMEOUT);
	else
		p->keepalive_again = true;
}

static void traversal(struct wg_peer *p, uint64_t now)
{
	if (p->persistent_keepalive)
		arm(p, WG_TIMER_PERSISTENT, now + p->persistent_keepalive * WG_SEC);
}

void wg_timers_message_sent(struct wg_peer *p, uint64_t now)
{
	p->timers[WG_TIMER_KEEPALIVE] = 0;
	traversal(p, now);
}

void wg_timers_message_received(struct wg_peer *p, uint64_t now)
{
	p->timers[WG_TIMER_NEW_HANDSHAKE] = 0;
	traversal(p, now);
}

uint64_t wg_timers_patience(const struct wg_peer *p)
{
	uint64_t wait = WG_EAGER_FIRST;

	if (!p->dev->first->eager ||
	    (p->unanswered > WG_EAGER_ATTEMPTS && p->unanswered % WG_EAGER_PATIENT == 0))
		return WG_REKEY_TIMEOUT;
	for (unsigned int i = 1; i < p->unanswered && wait < WG_EAGER_LAST; i++)
		wait *= 2;
	return wait < WG_EAGER_LAST ? wait : WG_EAGER_LAST;
}

void wg_timers_initiation_sent(struct wg_peer *p, uint64_t now)
{
	if (p->unanswered < UINT8_MAX)
		p->unanswered++;
	else
		p->unanswered = UINT8_MAX - WG_EAGER_PATIENT + 1;
	arm(p, WG_TIMER_RETRANSMIT, now + wg_timers_patience(p) + jitter(p));
}

void wg_timers_handshake_complete(struct wg_peer *p)
{
	p->timers[WG_TIMER_RETRANSMIT] = 0;
	p->attempts = 0;
	p->unanswered = 0;
	p->sent_last_minute = false;
	wg_peer_publish(p);
	p->last_handshake_realtime = p->dev->env.realtime(p->dev->env.ctx);
}

void wg_timers_session_begun(struct wg_peer *p, uint64_t now)
{
	arm(p, WG_TIMER_ZERO_KEYS, now + 3 * WG_REJECT_AFTER_TIME);
}

void wg_timers_stop(struct wg_peer *p)
{
	memset(p->timers, 0, sizeof(p->timers));
	p->attempts = 0;
	p->unanswered = 0;
	p->keepalive_again = false;
	p->sent_last_minute = false;
}

static void retransmit(struct wg_peer *p, uint64_t now)
{
	const bool eager = p->dev->first->eager;

	if (p->attempts >= (eager ? WG_EAGER_ATTEMPTS : WG_REKEY_ATTEMPTS)) {
		p->timers[WG_TIMER_KEEPALIVE] = 0;
		wg_stage_flush(&p->dev->stage, &p->staged);
		if (!p->timers[WG_TIMER_ZERO_KEYS])
			arm(p, WG_TIMER_ZERO_KEYS, now + 3 * WG_REJECT_AFTER_TIME);
		if (!eager || !p->persistent_keepalive)
			return;
	} else {
		p->attempts++;
	}
	/* Perhaps that address is no longer ours. */
	wg_endpoint_forget_source(&p->endpoint);
	wg_peer_initiate(p, true, now);
}

static void expire(struct wg_peer *p, enum wg_timer t, uint64_t now)
{
	switch (t) {
	case WG_TIMER_RETRANSMIT:
		retransmit(p, now);
		break;
	case WG_TIMER_KEEPALIVE:
		wg_peer_keepalive(p, now);
		if (p->keepalive_again) {
			p->keepalive_again = false;
			arm(p, WG_TIMER_KEEPALIVE, now + WG_KEEPALIVE_TIMEOUT);
		}
		break;
	case WG_TIMER_NEW_HANDSHAKE:
		wg_endpoint_forget_source(&p->endpoint);
		wg_peer_initiate(p, false, now);
		break;
	case WG_TIMER_ZERO_KEYS:
		/* A handshake under way is younger; when it is given up, this timer is set again. */
		if (p->timers[WG_TIMER_RETRANSMIT])
			wg_peer_clear_sessions(p);
		else
			wg_peer_clear_keys(p);
		break;
	case WG_TIMER_PERSISTENT:
		if (p->persistent_keepalive) {
			/* Armed here as well: without an endpoint nothing is sent that would do it. */
			traversal(p, now);
			wg_peer_keepalive(p, now);
		}
		break;
	case WG_TIMER_COUNT:
		break;
	}
}

void wg_timers_run(struct wg_peer *p, uint64_t now)
{
	uint64_t wake = UINT64_MAX;

	for (int t = 0; t < WG_TIMER_COUNT; t++) {
		if (p->timers[t] && p->timers[t] <= now) {
			p->timers[t] = 0;
			expire(p, (enum wg_timer)t, now);
		}
	}
	for (int t = 0; t < WG_TIMER_COUNT; t++)
		if (p->timers[t] && p->timers[t] < wake)
			wake = p->timers[t];
	wg_device_wake_at(p->dev, p, wake);
}
