// SPDX-License-Identifier: MIT
#include "bpf/trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/ip6.h>

#include "bpf/address.h"
#include "bpf/snapshot.h"
#include "core/names.h"
#include "util/cleanup.h"

#define HOPS 64

/* ---- the packet ---- */

static uint32_t sum16(const uint8_t *data, uint32_t len, uint32_t sum)
{
	for (uint32_t i = 0; i < len; i++)
		sum += i % 2 ? data[i] : (uint32_t)data[i] << 8;
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint32_t address_size(const struct kk_address *address)
{
	return address->family == AF_INET ? 4 : 16;
}

/* Both addresses, as they are in the header of either family. */
static void put_addresses(const struct kk_trace_packet *p, uint8_t *at)
{
	uint32_t size = address_size(&p->source);

	memcpy(at, p->source.bytes, size);
	memcpy(at + size, p->dest.bytes, size);
}

static uint32_t put_ip(const struct kk_trace_packet *p, uint8_t *data, uint32_t transport)
{
	if (p->source.family == AF_INET6) {
		data[0] = 0x60;
		put16(data + 4, transport);
		data[6] = p->protocol;
		data[7] = HOPS;
		put_addresses(p, data + 8);
		return 40;
	}
	data[0] = 0x45;
	put16(data + 2, 20 + transport);
	data[6] = 0x40; /* not to be fragmented, as nearly all are */
	data[8] = HOPS;
	data[9] = p->protocol;
	put_addresses(p, data + 12);
	put16(data + 10, fold(sum16(data, 20, 0)));
	return 20;
}

static uint32_t transport_header(const struct kk_trace_packet *p)
{
	return p->protocol == IPPROTO_TCP ? 20 : 8;
}

static void put_transport(const struct kk_trace_packet *p, uint8_t *at, uint32_t len)
{
	uint32_t size = address_size(&p->source), check = p->protocol == IPPROTO_TCP ? 16 : 6;
	uint32_t sum = p->protocol + len;

	put16(at, p->source_port);
	put16(at + 2, p->dest_port);
	if (p->protocol == IPPROTO_TCP) {
		at[12] = 5 << 4;
		at[13] = p->tcp_flags;
	} else {
		put16(at + 4, len);
	}
	sum = sum16(p->source.bytes, size, sum16(p->dest.bytes, size, sum));
	put16(at + check, fold(sum16(at, len, sum)));
}

/* In a buffer with room in front; the packet begins at KK_USER_HEADROOM. */
static uint8_t *make_packet(const struct kk_trace_packet *p, uint32_t *ret_len)
{
	uint32_t transport = transport_header(p) + p->payload;
	uint8_t *buffer = calloc(1, KK_USER_HEADROOM + 40 + transport), *data;
	uint32_t ip;

	if (!buffer)
		return NULL;
	data = buffer + KK_USER_HEADROOM;
	ip = put_ip(p, data, transport);
	put_transport(p, data + ip, transport);
	*ret_len = ip + transport;
	return buffer;
}

uint8_t *kk_trace_packet_make(const struct kk_trace_packet *packet, uint32_t *ret_len)
{
	uint8_t *buffer = make_packet(packet, ret_len);

	if (buffer)
		memmove(buffer, buffer + KK_USER_HEADROOM, *ret_len);
	return buffer;
}

/* ---- what becomes of it ---- */

static struct kk_address address_at(const uint8_t *at, sa_family_t family)
{
	struct kk_address address = {.family = family};

	memcpy(address.bytes, at, family == AF_INET ? 4 : 16);
	return address;
}

void kk_trace_read(struct kk_trace *ret, enum kk_reason reason, const uint8_t *data)
{
	bool v6 = data[0] >> 4 == 6;
	const uint8_t *addresses = data + (v6 ? 8 : 12), *ports = data + (v6 ? 40 : 20);
	sa_family_t family = v6 ? AF_INET6 : AF_INET;

	ret->reason = kk_reason_name(reason);
	ret->verdict = kk_verdict_name(kk_verdict(reason));
	ret->forwarded = kk_verdict(reason) != KK_PASS && kk_verdict(reason) != KK_DROP &&
			 reason != KK_REASON_TOO_BIG;
	if (!ret->forwarded)
		return;
	ret->source = address_at(addresses, family);
	ret->dest = address_at(addresses + (v6 ? 16 : 4), family);
	ret->source_port = (uint16_t)(ports[0] << 8 | ports[1]);
	ret->dest_port = (uint16_t)(ports[2] << 8 | ports[3]);
}

static bool is_agent(const struct kk_settings *set, const struct kk_address *address)
{
	if (address->family == AF_INET)
		return (address->v4.s_addr & set->pool_mask) == set->pool;
	return memcmp(address->bytes, &set->pool6, 12) == 0 &&
	       memcmp(&set->pool6, &(struct kk_in6){0}, 12) != 0;
}

/* The host at the public interface judges clients before the core forwards. */
static enum kk_reason judge(struct kk_user *user, const struct kk_tables *tables,
			    const struct kk_trace_packet *p)
{
	const struct kk_in6 source = kk_in6_of(&p->source);
	int slot = kk_tables_slot(tables, &p->dest);
	__u64 word = slot < 0 ? 0
			      : user->listeners[kk_listener_index((uint32_t)slot, p->protocol,
								  p->dest_port)];

	if (!word)
		return KK_REASON_INBOUND;
	return kk_user_guard(user, word, &source,
			     p->protocol == IPPROTO_TCP && (p->tcp_flags & 0x12) == 0x02);
}

static int check_packet(const struct kk_trace_packet *p, struct kk_err *err)
{
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

static void user_freep(struct kk_user **user)
{
	kk_user_free(*user);
}

int kk_tables_trace(const struct kk_tables *tables, const struct kk_trace_packet *packet,
		    void (*note)(void *data, const char *line), void *note_data,
		    struct kk_trace *ret, struct kk_err *err)
{
	KK_CLEANUP(user_freep) struct kk_user *user = NULL;
	KK_CLEANUP_FREE uint8_t *buffer = NULL;
	struct kk_user_packet p = {0};
	enum kk_reason reason = KK_REASON_INBOUND;
	int r = check_packet(packet, err);

	if (r == 0)
		r = kk_tables_snapshot(tables, &user, err);
	if (r < 0)
		return r;
	buffer = make_packet(packet, &p.len);
	if (!buffer)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	p.data = buffer + KK_USER_HEADROOM;
	user->note = note;
	user->note_data = note_data;
	*ret = (struct kk_trace){.outbound = is_agent(&tables->settings, &packet->source)};
	if (!ret->outbound)
		reason = judge(user, tables, packet);
	ret->edge = reason != KK_REASON_INBOUND;
	if (!ret->edge)
		reason = kk_user_forward(user, &p, ret->outbound ? KK_OUTBOUND : KK_INBOUND);
	kk_trace_read(ret, reason, p.data);
	return 0;
}
