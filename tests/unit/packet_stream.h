/* SPDX-License-Identifier: MIT */
/*
 * Packets that are nearly right, made of the cases: the same on every machine and for every host of the core, which
 * have to agree on each.
 */
#ifndef KK_TEST_PACKET_STREAM_H
#define KK_TEST_PACKET_STREAM_H

#include "packet_cases.h"

/* A stream of packets that are nearly right, from the cases. */
struct stream {
	struct packet_case *cases;
	size_t n;
	uint64_t random; /* xorshift64: the same stream on every machine */
};

static inline uint32_t draw(struct stream *s, uint32_t below)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	return (uint32_t)(s->random >> 33) % below;
}

static inline bool is_ip6(const struct packet *p)
{
	return p->data[0] >> 4 == 6;
}

static inline void put16(struct packet *p, uint32_t offset, uint16_t value)
{
	if (offset + 2 > p->len)
		return;
	p->data[offset] = (uint8_t)(value >> 8);
	p->data[offset + 1] = (uint8_t)value;
}

/* Fields that decide get values that matter more often than chance would have it. */
static inline void mutate_field(struct stream *s, struct packet *p)
{
	static const char addresses[][4] = {
		"\xc6\x33\x64\x01", "\x0a\x01\x00\x64", "\x0a\x01\x00\x01", "\x0a\x02\x00\x64",
		"\xcb\x00\x71\x07", "\x7f\x00\x00\x01", "\xa9\xfe\xa9\xfe", "\xff\xff\xff\xff",
	};
	static const uint16_t ports[] = {22, 53, 80, 1, 2222, 3000, 8080, 27015, 65535, 0};
	static const uint8_t protocols[] = {1, 6, 17, 47};
	uint32_t l4 = (p->data[0] & 0xfu) * 4;

	switch (draw(s, 11)) {
	case 0:
		p->data[0] = (uint8_t)(0x40 | draw(s, 16));
		break;
	case 1:
		put16(p, 2, (uint16_t)(p->len + draw(s, 9) - 4));
		break;
	case 2:
		put16(p, 6, (uint16_t)(draw(s, 2) ? 0x4000 : draw(s, 65536)));
		break;
	case 3:
		p->data[8] = (uint8_t)draw(s, 4);
		break;
	case 4:
		p->data[9] = protocols[draw(s, ARRAY_SIZE(protocols))];
		break;
	case 5:
		memcpy(p->data + (draw(s, 2) ? 12 : 16), addresses[draw(s, ARRAY_SIZE(addresses))],
		       4);
		break;
	case 6:
		put16(p, l4 + draw(s, 2) * 2, ports[draw(s, ARRAY_SIZE(ports))]);
		break;
	case 7:
		put16(p, l4 + 4 + draw(s, 10), (uint16_t)draw(s, 32));
		break;
	case 8:
		put16(p, l4 + (p->data[9] == KK_TCP ? 16 : 6), draw(s, 2) ? 0 : 0xffff);
		break;
	case 9: /* the header that an error quotes */
		put16(p, l4 + 8 + draw(s, 20), (uint16_t)draw(s, 65536));
		break;
	case 10: /* and what follows it */
		put16(p, l4 + 28 + draw(s, 5) * 2,
		      draw(s, 2) ? ports[draw(s, ARRAY_SIZE(ports))] : (uint16_t)draw(s, 65536));
		break;
	}
}

/* Extension headers and what may take their place. */
static const uint8_t nexts[] = {0, 6, 17, 43, 44, 50, 58, 59, 60};

/* The extension header at @at turns into another, its length, its fragment or its route changes. */
static inline void mutate_extension(struct stream *s, struct packet *p, uint32_t at)
{
	if (at + 8 > p->len)
		return;
	switch (draw(s, 5)) {
	case 0:
		p->data[at] = nexts[draw(s, ARRAY_SIZE(nexts))];
		break;
	case 1:
		p->data[at + 1] = (uint8_t)draw(s, draw(s, 2) ? 20 : 256);
		break;
	case 2:
		put16(p, at + 2, (uint16_t)(draw(s, 2) ? draw(s, 16) : draw(s, 65536)));
		break;
	case 3:
		p->data[at + 3] = (uint8_t)draw(s, 2);
		break;
	case 4: /* one more, in front */
		if (p->len + 8 > PACKET_MAX)
			return;
		memmove(p->data + at + 8, p->data + at, p->len - at);
		memset(p->data + at, 0, 8);
		p->data[at] = p->data[6];
		p->data[6] = nexts[draw(s, ARRAY_SIZE(nexts))];
		p->len += 8;
		put16(p, 4, (uint16_t)(p->len - 40));
		break;
	}
}

static inline void mutate_field6(struct stream *s, struct packet *p)
{
	static const char *const addresses[] = {
		"2001:db8:1::1",
		"2001:db8:1::2",
		"fd4b:6b6b:1:2:3:4:a01:64",
		"2001:db8:77::7",
		"fd4b:6b6b:1:2:3:4:a02:64",
		"fd4b:6b6b:1:2:3:4:a01:1",
		"fe80::1",
		"ff02::1",
		"::ffff:203.0.113.7",
		"::1",
	};
	static const uint16_t ports[] = {22, 53, 80, 443, 2222, 8080, 27015, 0};
	uint32_t l4 = draw(s, 4) ? 40 : 40 + 8 * draw(s, 6);

	switch (draw(s, 11)) {
	case 0:
		put16(p, 4, (uint16_t)(p->len - 40 + draw(s, 9) - 4));
		break;
	case 1:
		p->data[6] = nexts[draw(s, ARRAY_SIZE(nexts))];
		break;
	case 2:
		p->data[7] = (uint8_t)draw(s, 4);
		break;
	case 3:
		assert_int_equal(inet_pton(AF_INET6, addresses[draw(s, ARRAY_SIZE(addresses))],
					   p->data + (draw(s, 2) ? 8 : 24)),
				 1);
		break;
	case 4:
	case 5:
		mutate_extension(s, p, l4);
		break;
	case 6:
		put16(p, l4 + draw(s, 2) * 2, ports[draw(s, ARRAY_SIZE(ports))]);
		break;
	case 7:
		put16(p, l4 + 4 + draw(s, 10), (uint16_t)draw(s, 32));
		break;
	case 8:
		put16(p, l4 + (p->data[6] == KK_TCP ? 16 : 6), draw(s, 2) ? 0 : 0xffff);
		break;
	case 9: /* what an error quotes: its extensions ... */
		mutate_extension(s, p, l4 + 48);
		break;
	case 10: /* ... header and ports */
		put16(p, l4 + 8 + draw(s, 30) * 2,
		      draw(s, 2) ? ports[draw(s, ARRAY_SIZE(ports))] : (uint16_t)draw(s, 65536));
		break;
	}
}

static inline void mutate(struct stream *s, struct packet *p)
{
	for (uint32_t n = draw(s, 4); n > 0; n--) {
		if (p->len < (is_ip6(p) ? 40 : 20))
			return;
		switch (draw(s, 6)) {
		case 0:
			p->data[draw(s, p->len)] ^= (uint8_t)(1u << draw(s, 8));
			break;
		case 1:
			p->len = draw(s, 2) ? draw(s, p->len) + 1 : p->len;
			break;
		case 2:
			p->len += p->len + 8 <= PACKET_MAX ? draw(s, 8) : 0;
			break;
		default:
			if (is_ip6(p))
				mutate_field6(s, p);
			else
				mutate_field(s, p);
		}
	}
}

/* Room for @n more, all zero. */
static inline void stream_grow(struct stream *s, size_t n)
{
	s->cases = reallocarray(s->cases, s->n + n, sizeof(*s->cases));
	assert_non_null(s->cases);
	memset(s->cases + s->n, 0, n * sizeof(*s->cases));
}

static inline void stream_add(struct stream *s, const json_t *world_obj)
{
	const json_t *cases = json_object_get(world_obj, "cases"), *obj;
	size_t i;

	stream_grow(s, json_array_size(cases));
	json_array_foreach(cases, i, obj) {
		case_of(world_obj, obj, &s->cases[s->n++]);
	}
}

static inline void stream_init(struct stream *s, const json_t *world_obj)
{
	s->random = 0x9e3779b97f4a7c15;
	stream_add(s, world_obj);
}

#endif
