// SPDX-License-Identifier: MIT
#include "bpf/trace_run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/address.h"
#include "core/names.h"
#include "core/note.h"
#include "util/cleanup.h"

static int check_packet(const struct kk_trace_packet *p, struct kk_err *err)
{
	if (p->data)
		return p->len ? 0 : kk_err_set(err, EINVAL, "packet", "the packet has no bytes");
	if (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP)
		return kk_err_set(err, EINVAL, "protocol", "protocol %u has no ports", p->protocol);
	if (p->source.family != p->dest.family)
		return kk_err_set(err, EINVAL, "destination",
				  "source and destination are of different families");
	if (p->payload > KK_TRACE_PAYLOAD_MAX)
		return kk_err_set(err, EINVAL, "size", "%u bytes are more than %d", p->payload,
				  KK_TRACE_PAYLOAD_MAX);
	return 0;
}

static bool is_agent(const struct kk_settings *set, const struct kk_address *address)
{
	if (address->family == AF_INET)
		return (address->v4.s_addr & set->pool_mask) == set->pool;
	return memcmp(address->bytes, &set->pool6, 12) == 0 &&
	       memcmp(&set->pool6, &(struct kk_in6){0}, 12) != 0;
}

int kk_trace_run_init(struct kk_trace_run *ret, struct kk_user *user,
		      const struct kk_trace_packet *packet,
		      void (*note)(void *data, const char *line), void *note_data,
		      struct kk_err *err)
{
	struct kk_trace_run run = {.user = user, .gso_size = packet->gso_size};
	int r = check_packet(packet, err);

	if (r < 0)
		return r;
	run.buffer = kk_trace_packet_make(packet, &run.len);
	run.work = run.buffer ? malloc(KK_USER_HEADROOM + run.len) : NULL;
	if (!run.work) {
		free(run.buffer);
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	}
	run.outbound = packet->data ? packet->outbound : is_agent(&user->settings, &packet->source);
	user->now = packet->now;
	user->note = note;
	user->note_data = note_data;
	*ret = run;
	return 0;
}

void kk_trace_run_clean(struct kk_trace_run *run)
{
	free(run->buffer);
	free(run->work);
}

/* ---- in words ---- */

static const char *end_text(const struct kk_address *address, uint16_t port,
			    char text[KK_ENDPOINT_TEXT])
{
	const union kk_sockaddr end = kk_sockaddr_make(address, port);

	return port ? kk_sockaddr_text(&end, text) : kk_address_text(address, text);
}

static void note_end(const struct kk_user *user, const char *what, const struct kk_address *a,
		     uint16_t a_port, const struct kk_address *b, uint16_t b_port)
{
	char from[KK_ENDPOINT_TEXT], to[KK_ENDPOINT_TEXT];

	if (!kk_address_equal(a, b) || a_port != b_port)
		kk_note(user, "rewrite: %s %s becomes %s", what, end_text(a, a_port, from),
			end_text(b, b_port, to));
}

static void note_rewrite(const struct kk_user *user, const struct kk_trace_head *was,
			 const struct kk_trace_head *is)
{
	note_end(user, "source", &was->source, was->source_port, &is->source, is->source_port);
	note_end(user, "destination", &was->dest, was->dest_port, &is->dest, is->dest_port);
	if (was->hops != is->hops)
		kk_note(user, "rewrite: hop limit %u becomes %u", was->hops, is->hops);
	if (was->mss != is->mss)
		kk_note(user, "rewrite: MSS %u becomes %u, the tunnel's MTU is %u", was->mss,
			is->mss, user->settings.mtu);
}

/* Our own answer in the packet's place. */
static bool is_answer(enum kk_reason reason)
{
	return reason == KK_REASON_TOO_BIG || reason == KK_REASON_SYN_CHALLENGE;
}

static bool leaves(enum kk_reason reason)
{
	return kk_verdict(reason) != KK_PASS && kk_verdict(reason) != KK_DROP;
}

void kk_trace_run_end(const struct kk_trace_run *run, const char *where, enum kk_reason reason,
		      const uint8_t *data, uint32_t len, struct kk_trace *ret)
{
	struct kk_trace_head was, is;
	bool read = leaves(reason) &&
		    kk_trace_head_read(run->buffer + KK_USER_HEADROOM, run->len, &was) == 0 &&
		    kk_trace_head_read(data, len, &is) == 0;

	ret->reason = kk_reason_name(reason);
	ret->verdict = kk_verdict_name(kk_verdict(reason));
	ret->forwarded = read && !is_answer(reason);
	kk_note(run->user, "%s: %s (%s)", where, ret->verdict, ret->reason);
	if (!ret->forwarded)
		return;
	note_rewrite(run->user, &was, &is);
	ret->source = is.source;
	ret->dest = is.dest;
	ret->source_port = is.source_port;
	ret->dest_port = is.dest_port;
}

/* ---- the steps ---- */

/* Whether the destination is an address of the gateway's: the edge looks at no other packet. */
static void note_managed(const struct kk_trace_run *run)
{
	const struct kk_settings *set = &run->user->settings;
	const char *is = "not managed here";
	struct kk_trace_head head;
	char text[KK_ADDRESS_TEXT];
	struct kk_in6 dest;

	if (kk_trace_head_read(run->buffer + KK_USER_HEADROOM, run->len, &head) < 0)
		return;
	dest = kk_in6_of(&head.dest);
	for (uint32_t i = 0; i < KK_ADDRESSES_MAX; i++)
		if (head.dest.family == AF_INET
			    ? set->address4[i] == head.dest.v4.s_addr
			    : memcmp(&set->address6[i], &dest, sizeof(dest)) == 0)
			is = "managed";
	kk_note(run->user, "addresses: %s is %s", kk_address_text(&head.dest, text), is);
}

/* The packet as it came, to be changed in place. */
static struct kk_user_packet packet_of(const struct kk_trace_run *run)
{
	memcpy(run->work, run->buffer, KK_USER_HEADROOM + run->len);
	return (struct kk_user_packet){
		.data = run->work + KK_USER_HEADROOM, .len = run->len, .gso_size = run->gso_size};
}

bool kk_trace_run_edge(struct kk_trace_run *run, const char *where, struct kk_trace *ret)
{
	struct kk_user_packet p = packet_of(run);
	enum kk_reason reason;

	note_managed(run);
	reason = kk_user_edge(run->user, &p);
	ret->edge = reason != KK_REASON_MAX;
	if (ret->edge)
		kk_trace_run_end(run, where, reason, p.data, p.len, ret);
	else
		kk_note(run->user, "%s: goes on", where);
	return ret->edge;
}

void kk_trace_run_look_up(struct kk_trace_run *run)
{
	struct kk_user_packet p = packet_of(run);

	kk_user_forward(run->user, &p, run->outbound ? KK_OUTBOUND : KK_INBOUND);
}

void kk_trace_run_forward(struct kk_trace_run *run, const char *where, struct kk_trace *ret)
{
	struct kk_user_packet p = packet_of(run);
	enum kk_reason reason =
		kk_user_forward(run->user, &p, run->outbound ? KK_OUTBOUND : KK_INBOUND);

	kk_trace_run_end(run, where, reason, p.data, p.len, ret);
}
