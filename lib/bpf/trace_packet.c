// SPDX-License-Identifier: MIT
/* The packet of a trace: made of what is known of it, and read again. */
#include "bpf/trace_run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#define HOPS 64

/* ---- making ---- */

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

/* What opens a connection says its MSS, as nearly every one does. */
static uint32_t transport_header(const struct kk_trace_packet *p)
{
	if (p->protocol != IPPROTO_TCP)
		return 8;
	return p->tcp_flags & TH_SYN ? 24 : 20;
}

static void put_mss(const struct kk_trace_packet *p, uint8_t *at)
{
	at[0] = TCPOPT_MAXSEG;
	at[1] = TCPOLEN_MAXSEG;
	put16(at + 2, p->source.family == AF_INET ? 1460 : 1440);
}

static void put_transport(const struct kk_trace_packet *p, uint8_t *at, uint32_t len)
{
	uint32_t size = address_size(&p->source), check = p->protocol == IPPROTO_TCP ? 16 : 6;
	uint32_t sum = p->protocol + len;

	put16(at, p->source_port);
	put16(at + 2, p->dest_port);
	if (p->protocol == IPPROTO_TCP) {
		at[12] = (uint8_t)(transport_header(p) / 4 << 4);
		at[13] = p->tcp_flags;
		if (p->tcp_flags & TH_SYN)
			put_mss(p, at + 20);
	} else {
		put16(at + 4, len);
	}
	sum = sum16(p->source.bytes, size, sum16(p->dest.bytes, size, sum));
	put16(at + check, fold(sum16(at, len, sum)));
}

uint8_t *kk_trace_packet_make(const struct kk_trace_packet *packet, uint32_t *ret_len)
{
	uint32_t transport, ip = packet->source.family == AF_INET6 ? 40 : 20, len;
	uint8_t *buffer;

	transport = packet->data ? 0 : transport_header(packet) + packet->payload;
	len = packet->data ? packet->len : ip + transport;
	buffer = calloc(1, KK_USER_HEADROOM + len);
	if (!buffer)
		return NULL;
	if (packet->data) {
		memcpy(buffer + KK_USER_HEADROOM, packet->data, len);
	} else {
		put_ip(packet, buffer + KK_USER_HEADROOM, transport);
		put_transport(packet, buffer + KK_USER_HEADROOM + ip, transport);
	}
	*ret_len = len;
	return buffer;
}

/* ---- reading ---- */

static struct kk_address address_at(const uint8_t *at, sa_family_t family)
{
	struct kk_address address = {.family = family};

	memcpy(address.bytes, at, family == AF_INET ? 4 : 16);
	return address;
}

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

/* The offset of the transport header, or @len if there is none; *@ret_protocol is that of what is there. */
static uint32_t find_transport6(const uint8_t *data, uint32_t len, uint8_t *ret_protocol)
{
	uint8_t next = data[6];
	uint32_t at = 40;

	for (int i = 0; i < KK_IP6_EXTENSIONS_MAX && at + 8 <= len; i++) {
		bool fragment = next == KK_IP6_FRAGMENT;

		if (!fragment && next != KK_IP6_HOP_BY_HOP && next != KK_IP6_ROUTING &&
		    next != KK_IP6_DESTINATION)
			break;
		if (fragment && get16(data + at + 2) >> 3)
			return len;
		next = data[at];
		at += fragment ? 8 : (data[at + 1] + 1U) * 8;
	}
	*ret_protocol = next;
	return at;
}

static uint32_t find_transport(const uint8_t *data, uint32_t len, uint8_t *ret_protocol)
{
	if (data[0] >> 4 == 6)
		return find_transport6(data, len, ret_protocol);
	*ret_protocol = data[9];
	return get16(data + 6) & KK_IP4_OFFSET ? len : (data[0] & 15U) * 4;
}

/* 0: it says none. */
static uint16_t mss_of(const uint8_t *tcp, uint32_t len)
{
	uint32_t end = (tcp[12] >> 4) * 4U, at = 20;

	if (end > len || !(tcp[13] & TH_SYN))
		return 0;
	while (at + TCPOLEN_MAXSEG <= end && tcp[at] != TCPOPT_EOL) {
		if (tcp[at] == TCPOPT_MAXSEG)
			return get16(tcp + at + 2);
		if (tcp[at] != TCPOPT_NOP && tcp[at + 1] < 2)
			return 0;
		at += tcp[at] == TCPOPT_NOP ? 1 : tcp[at + 1];
	}
	return 0;
}

int kk_trace_head_read(const uint8_t *data, uint32_t len, struct kk_trace_head *ret)
{
	bool v6 = len && data[0] >> 4 == 6;
	sa_family_t family = v6 ? AF_INET6 : AF_INET;
	uint32_t at;

	if (len < (v6 ? 40 : 20) || (!v6 && data[0] >> 4 != 4))
		return -EBADMSG;
	*ret = (struct kk_trace_head){
		.source = address_at(data + (v6 ? 8 : 12), family),
		.dest = address_at(data + (v6 ? 24 : 16), family),
		.hops = data[v6 ? 7 : 8],
	};
	at = find_transport(data, len, &ret->protocol);
	if ((ret->protocol != IPPROTO_TCP && ret->protocol != IPPROTO_UDP) || at + 8 > len)
		return 0;
	ret->source_port = get16(data + at);
	ret->dest_port = get16(data + at + 2);
	if (ret->protocol == IPPROTO_TCP && at + 20 <= len)
		ret->mss = mss_of(data + at, len - at);
	return 0;
}
