// SPDX-License-Identifier: MIT
/*
 * Packets through the forwarding core, one after another, with the listeners of the packet cases. An
 * input is a sequence of packets, each behind 5 bytes: direction (lowest bit), size of its segments
 * and its own length, both in little endian. What was right before has to be right afterwards.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <kk/core/parse.h>

#include "core/user.h"

#define PUBLIC	   0xc6336401 /* 198.51.100.1 */
#define PUBLIC2	   0xc633644d
#define POOL	   0x0a000000
#define MTU	   1420
#define PACKET_MAX 8192

/* As tests/packets/ip6.py has them. */
static const uint8_t public6[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 1, [15] = 1};
static const uint8_t second6[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 1, [15] = 2};
static const uint8_t pool6[16] = {0xfd, 0x4b, 0x6b, 0x6b, 0, 1, 0, 2, 0, 3, 0, 4};

static struct kk_user *user;

/* Answers of both Agents that are in the group count as its own. */
static void publish(const struct kk_user_listener *l)
{
	kk_user_publish(user, l);
	if ((l->flags & (KK_LISTENER_GROUP | KK_LISTENER_SNAT)) != KK_LISTENER_GROUP)
		return;
	kk_user_origin(user, l, htonl(0x0a010064));
	kk_user_origin(user, l, htonl(0x0a020064));
}

static void set_up(void)
{
	static const struct {
		uint32_t slot; /* two addresses of each family */
		uint8_t protocol;
		uint16_t port;
		uint32_t agent; /* of a group its place */
		uint16_t agent_port;
		__u64 flags;
	} listeners[] = {
		{0, KK_TCP, 2222, 0x0a010064, 2222},
		{0, KK_TCP, 8080, 0x0a020064, 80},
		{0, KK_TCP, 80, 0x0a010064, 80},
		{0, KK_TCP, 65535, 0x0a020064, 1},
		{0, KK_UDP, 27015, 0x0a010064, 27015},
		{0, KK_UDP, 2222, 0x0a020064, 53},
		{0, KK_UDP, 1, 0x0a020064, 65535},
		{0, KK_TCP, 3000, 0x0a020064, 2222},
		{2, KK_TCP, 2222, 0x0a020064, 22},
		{2, KK_UDP, 28000, 0x0a020064, 28000},
		{1, KK_TCP, 2222, 0x0a010064, 2222},
		{1, KK_TCP, 8080, 0x0a020064, 80},
		{1, KK_TCP, 444, 0x0a010064, 444},
		{1, KK_UDP, 27015, 0x0a010064, 27015},
		{1, KK_UDP, 2222, 0x0a020064, 53},
		{3, KK_TCP, 2222, 0x0a020064, 22},
		{3, KK_UDP, 28000, 0x0a020064, 28000},
		/* As tests/packets/shared.py has them. */
		{0, KK_TCP, 443, 0, 8443, KK_LISTENER_GROUP},
		{0, KK_UDP, 53, 0, 53, KK_LISTENER_GROUP},
		{1, KK_TCP, 443, 0, 8443, KK_LISTENER_GROUP},
		{1, KK_UDP, 53, 0, 53, KK_LISTENER_GROUP},
		{0, KK_TCP, 2022, 0x0a010064, 22, KK_LISTENER_SNAT},
		{0, KK_UDP, 2053, 0x0a010064, 5353, KK_LISTENER_SNAT},
		{0, KK_UDP, 6000, 0x0a010064, 6000, KK_LISTENER_SNAT},
		{1, KK_TCP, 2022, 0x0a010064, 22, KK_LISTENER_SNAT},
		{1, KK_UDP, 2053, 0x0a010064, 5353, KK_LISTENER_SNAT},
		{0, KK_TCP, 9443, 0, 9443, KK_LISTENER_GROUP | KK_LISTENER_SNAT},
		{0, KK_TCP, 81, 0x0a020064, 81, KK_LISTENER_DRAINING},
		{0, KK_UDP, 81, 0x0a010064, 81, KK_LISTENER_DRAINING | KK_LISTENER_SNAT},
	};

	user = kk_user_new();
	assert(user);
	user->settings = (struct kk_settings){.address4 = {htonl(PUBLIC), htonl(PUBLIC2)},
					      .pool = htonl(POOL),
					      .pool_mask = htonl(0xff000000),
					      .host = htonl(1),
					      .mtu = MTU};
	memcpy(&user->settings.address6[0], public6, sizeof(public6));
	memcpy(&user->settings.address6[1], second6, sizeof(second6));
	memcpy(&user->settings.pool6, pool6, sizeof(pool6));
	for (uint16_t i = 0; i < sizeof(listeners) / sizeof(listeners[0]); i++)
		publish(&(struct kk_user_listener){
			.slot = listeners[i].slot,
			.protocol = listeners[i].protocol,
			.port = listeners[i].port,
			.agent = listeners[i].flags & KK_LISTENER_GROUP ? listeners[i].agent
									: htonl(listeners[i].agent),
			.agent_port = listeners[i].agent_port,
			.service = i + 1u,
			.flags = listeners[i].flags,
		});
	for (size_t i = 0; i < KK_MAGLEV_SIZE; i++)
		user->groups[i] = i % 2 ? 0x010064 : 0x020064;
}

static uint32_t sum(const uint8_t *data, uint32_t len)
{
	uint32_t total = 0;

	for (uint32_t i = 0; i < len; i++)
		total += i % 2 ? data[i] : (uint32_t)data[i] << 8;
	return total;
}

static uint32_t fold(uint32_t total)
{
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return total;
}

static bool is_whole(uint32_t total)
{
	return fold(total) == 0xffff;
}

static bool header_right(const uint8_t *p)
{
	return is_whole(sum(p, (p[0] & 0xfu) * 4));
}

/* Of a whole packet: neither a fragment nor of segments. */
static bool transport_right(const uint8_t *p)
{
	uint32_t l4 = (p[0] & 0xfu) * 4, len = ((uint32_t)p[2] << 8 | p[3]) - l4;
	uint32_t udp_len = (uint32_t)p[l4 + 4] << 8 | p[l4 + 5];

	if (p[9] == KK_ICMP)
		return is_whole(sum(p + l4, len));
	if (p[9] == KK_UDP) {
		if (!p[l4 + 6] && !p[l4 + 7])
			return true;
		len = udp_len;
	}
	return is_whole(sum(p + 12, 8) + p[9] + len + sum(p + l4, len));
}

static uint32_t address_at(const uint8_t *p, uint32_t offset)
{
	uint32_t address;

	memcpy(&address, p + offset, sizeof(address));
	return ntohl(address);
}

static void check_forwarded(const struct kk_user_packet *before, const struct kk_user_packet *after,
			    enum kk_reason reason)
{
	bool inbound = kk_verdict(reason) == KK_TO_TUNNEL;
	const uint8_t *in = before->data, *out = after->data;

	assert(after->len <= before->len);
	assert(header_right(in) == header_right(out));
	if (inbound)
		assert(address_at(out, 16) >> 24 == POOL >> 24);
	else
		assert(address_at(out, 12) == PUBLIC || address_at(out, 12) == PUBLIC2);
	/* The other end stays, but for the gateway, which stands for a client of a service with snat. */
	if (inbound)
		assert(address_at(out, 12) == address_at(in, 12) ||
		       (address_at(out, 12) >> 24 == POOL >> 24 && out[15] == 1) ||
		       address_at(in, 12) >> 24 == POOL >> 24); /* a router's, not shown */
	else
		assert(address_at(out, 16) == address_at(in, 16) ||
		       (address_at(in, 16) >> 24 == POOL >> 24 && in[19] == 1));
	assert(out[8] == in[8] - 1);
	if (before->gso_size || (in[6] & 0x3f) || in[7])
		return;
	assert(transport_right(in) == transport_right(out));
}

static void check_answered(const struct kk_user_packet *before, const struct kk_user_packet *after)
{
	assert(after->len < before->len && before->len > MTU);
	assert(header_right(after->data) && transport_right(after->data));
	assert(address_at(after->data, 12) == address_at(before->data, 16));
	assert(address_at(after->data, 16) == address_at(before->data, 12));
	assert(((uint32_t)after->data[2] << 8 | after->data[3]) == after->len);
}

static uint32_t length6(const uint8_t *p)
{
	return 40 + ((uint32_t)p[4] << 8 | p[5]);
}

/* Where the transport header is; 0: behind a fragment header, or there is none that is known here. */
static uint32_t find_transport(const uint8_t *p, uint8_t *protocol)
{
	uint32_t at = 40;

	*protocol = p[6];
	while (*protocol == 0 || *protocol == 43 || *protocol == 60) {
		*protocol = p[at];
		at += 8 + 8 * (uint32_t)p[at + 1];
	}
	return *protocol == KK_TCP || *protocol == KK_UDP || *protocol == KK_ICMP6 ? at : 0;
}

static bool transport_right6(const uint8_t *p)
{
	uint8_t protocol;
	uint32_t at = find_transport(p, &protocol), len = length6(p) - at;

	if (!at)
		return true;
	if (protocol == KK_UDP)
		len = (uint32_t)p[at + 4] << 8 | p[at + 5];
	return is_whole(sum(p + 8, 32) + protocol + len + sum(p + at, len));
}

static void check_forwarded6(const struct kk_user_packet *before,
			     const struct kk_user_packet *after, enum kk_reason reason)
{
	const uint8_t *in = before->data, *out = after->data;

	assert(after->len <= before->len);
	assert(memcmp(in, out, 7) == 0 && out[7] == in[7] - 1);
	if (kk_verdict(reason) == KK_TO_TUNNEL) {
		assert(memcmp(out + 24, pool6, 12) == 0 && out[36] == POOL >> 24);
		assert(memcmp(out + 8, in + 8, 16) == 0 ||
		       (memcmp(out + 8, pool6, 12) == 0 && out[23] == 1));
	} else {
		assert(memcmp(out + 8, public6, 16) == 0 || memcmp(out + 8, second6, 16) == 0);
		assert(memcmp(out + 24, in + 24, 16) == 0 ||
		       (memcmp(in + 24, pool6, 12) == 0 && in[39] == 1));
	}
	/* What a device summed up is right still, fragments or not. */
	if (after->len == before->len)
		assert(ntohs((uint16_t)fold(after->sum)) % 0xffff == sum(out, after->len) % 0xffff);
	if (!before->gso_size)
		assert(transport_right6(in) == transport_right6(out));
}

static void check_answered6(const struct kk_user_packet *before, const struct kk_user_packet *after)
{
	assert(after->len < before->len && before->len > MTU);
	assert(transport_right6(after->data) && length6(after->data) == after->len);
	assert(memcmp(after->data + 8, before->data + 24, 16) == 0);
	assert(memcmp(after->data + 24, before->data + 8, 16) == 0);
}

static void check(const struct kk_user_packet *before, const struct kk_user_packet *after,
		  enum kk_reason reason)
{
	bool v6 = before->len && before->data[0] >> 4 == KK_IP6;

	assert(reason != KK_REASON_HOST);
	if (reason == KK_REASON_TOO_BIG) {
		if (v6)
			check_answered6(before, after);
		else
			check_answered(before, after);
	} else if (kk_verdict(reason) == KK_TO_TUNNEL || kk_verdict(reason) == KK_TO_NIC) {
		if (v6)
			check_forwarded6(before, after, reason);
		else
			check_forwarded(before, after, reason);
	} else {
		assert(after->len == before->len &&
		       memcmp(after->data, before->data, after->len) == 0);
	}
}

/* Buffers have the packet's very length, so that a sanitizer sees what is read beyond. */
static void run(const uint8_t *data, uint32_t len, enum kk_direction direction, uint32_t gso_size)
{
	uint8_t *copy = malloc(KK_USER_HEADROOM + len);
	struct kk_user_packet before = {.data = (uint8_t *)data, .len = len, .gso_size = gso_size};
	struct kk_user_packet after = {.data = copy + KK_USER_HEADROOM,
				       .len = len,
				       .gso_size = gso_size,
				       .complete = true,
				       .sum = fold(sum(data, len))};

	assert(copy);
	memcpy(after.data, data, len);
	/* The core's sums are of words as they lie in memory. */
	after.sum = htons((uint16_t)after.sum);
	check(&before, &after, kk_user_forward(user, &after, direction));
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!user)
		set_up();
	while (size >= 5) {
		uint32_t gso_size = (uint32_t)data[1] | (uint32_t)data[2] << 8;
		uint32_t len = (uint32_t)data[3] | (uint32_t)data[4] << 8;
		enum kk_direction direction = data[0] & 1 ? KK_OUTBOUND : KK_INBOUND;

		data += 5;
		size -= 5;
		if (len > size)
			len = (uint32_t)size;
		run(data, len < PACKET_MAX ? len : PACKET_MAX, direction, gso_size);
		data += len;
		size -= len;
	}
	kk_user_forget(user);
	return 0;
}
