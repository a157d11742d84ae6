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
#define POOL	   0x0a000000
#define MTU	   1420
#define PACKET_MAX 8192

static struct kk_user *user;

static void set_up(void)
{
	static const struct {
		uint8_t protocol;
		uint16_t port;
		uint32_t agent;
		uint16_t agent_port;
	} listeners[] = {
		{KK_TCP, 2222, 0x0a010064, 2222},   {KK_TCP, 8080, 0x0a020064, 80},
		{KK_TCP, 80, 0x0a010064, 80},	    {KK_TCP, 65535, 0x0a020064, 1},
		{KK_UDP, 27015, 0x0a010064, 27015}, {KK_UDP, 2222, 0x0a020064, 53},
		{KK_UDP, 1, 0x0a020064, 65535},	    {KK_TCP, 3000, 0x0a020064, 2222},
	};

	user = kk_user_new();
	assert(user);
	user->settings = (struct kk_settings){.address4 = {htonl(PUBLIC)},
					      .pool = htonl(POOL),
					      .pool_mask = htonl(0xff000000),
					      .host = htonl(1),
					      .mtu = MTU};
	for (uint16_t i = 0; i < sizeof(listeners) / sizeof(listeners[0]); i++)
		kk_user_publish(user,
				&(struct kk_user_listener){.slot = kk_slot(KK_IP4, 0),
							   .protocol = listeners[i].protocol,
							   .port = listeners[i].port,
							   .agent = htonl(listeners[i].agent),
							   .agent_port = listeners[i].agent_port,
							   .service = i + 1u});
}

static uint32_t sum(const uint8_t *data, uint32_t len)
{
	uint32_t total = 0;

	for (uint32_t i = 0; i < len; i++)
		total += i % 2 ? data[i] : (uint32_t)data[i] << 8;
	return total;
}

static bool is_whole(uint32_t total)
{
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return total == 0xffff;
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
		assert(address_at(out, 12) == PUBLIC && address_at(out, 16) == address_at(in, 16));
	assert(out[8] == in[8] - 1);
	if (before->gso_size || (in[6] & 0x3f) || in[7])
		return;
	assert(transport_right(in) == transport_right(out));
}

static void check_answered(const struct kk_user_packet *before, const struct kk_user_packet *after)
{
	assert(after->len < before->len && before->len > MTU);
	assert(header_right(after->data) && transport_right(after->data));
	assert(address_at(after->data, 12) == PUBLIC);
	assert(address_at(after->data, 16) == address_at(before->data, 12));
	assert(((uint32_t)after->data[2] << 8 | after->data[3]) == after->len);
}

/* Buffers have the packet's very length, so that a sanitizer sees what is read beyond. */
static void run(const uint8_t *data, uint32_t len, enum kk_direction direction, uint32_t gso_size)
{
	uint8_t *copy = malloc(KK_USER_HEADROOM + len);
	struct kk_user_packet before = {.data = (uint8_t *)data, .len = len, .gso_size = gso_size};
	struct kk_user_packet after = {
		.data = copy + KK_USER_HEADROOM, .len = len, .gso_size = gso_size};
	enum kk_reason reason;

	assert(copy);
	memcpy(after.data, data, len);
	reason = kk_user_forward(user, &after, direction);
	assert(reason != KK_REASON_HOST);
	if (reason == KK_REASON_TOO_BIG)
		check_answered(&before, &after);
	else if (kk_verdict(reason) == KK_TO_TUNNEL || kk_verdict(reason) == KK_TO_NIC)
		check_forwarded(&before, &after, reason);
	else
		assert(after.len == len && memcmp(after.data, data, len) == 0);
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
