// SPDX-License-Identifier: MIT
/*
 * Packets by the two ways through the core (tests/unit/two_ways.h), with tables drawn at random: both have to agree. An input
 * is the number that the tables are drawn by, of 4 bytes, and a sequence of packets, each behind 5 bytes: what it comes
 * by and how much time has passed, the size of its segments, its own length. In the place of a length, DRAWN and a number say that the
 * packet is one of a flow of those tables. Numbers are in little endian.
 */
#include "../unit/two_ways.h"

#define DRAWN 0x8000

/* The first byte of a packet's five. */
enum {
	OUTBOUND = 1 << 0,
	AT_TC = 1 << 1,
	PARTIAL = 1 << 2,
	TIME_SHIFT = 3, /* the rest: nanoseconds, as a power of 2 */
};

static uint32_t number(const uint8_t *data)
{
	return (uint32_t)data[0] | (uint32_t)data[1] << 8;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct edge_world world;
	struct stream s = {.random = 0x9e3779b97f4a7c15};
	static struct two_ways ways;

	if (size < 4)
		return 0;
	if (!ways.general)
		two_ways_init(&ways);
	s.random += (uint64_t)number(data) << 16 | number(data + 2);
	random_world(&s, &world);
	two_ways_begin(&ways, &world);
	for (data += 4, size -= 4; size >= 5;) {
		enum kk_direction direction = data[0] & OUTBOUND ? KK_OUTBOUND : KK_INBOUND;
		enum two_ways_host host = data[0] & AT_TC ? AS_TC : AS_XDP;
		static struct packet p;
		struct kk_user_packet in = {
			.data = p.data, .gso_size = number(data + 1), .partial = data[0] & PARTIAL};
		uint32_t len = number(data + 3);

		ways.general->now += (1ULL << (data[0] >> TIME_SHIFT)) - 1;
		ways.brief->now = ways.general->now;
		data += 5;
		size -= 5;
		if (len & DRAWN && world.base.n_listeners) {
			struct stream one = {.random = 1 + len};

			direction = random_packet(&one, &world.base, &p);
			len = 0;
		} else {
			len = len < size ? len : (uint32_t)size;
			p.len = len < PACKET_MAX ? len : PACKET_MAX;
			memcpy(p.data, data, p.len);
		}
		in.len = p.len;
		two_ways_run(&ways, &in, direction, host);
		data += len;
		size -= len;
	}
	two_ways_end(&ways);
	return 0;
}
