/* SPDX-License-Identifier: MIT */
/* Packets drawn at random for such tables (random_world.h): of their flows, and of the cases, as they are and mutated. */
#ifndef KK_TEST_RANDOM_PACKETS_H
#define KK_TEST_RANDOM_PACKETS_H

#include "random_world.h"

static inline void random_ip6(struct stream *s, const struct kk_settings *set, struct packet *p,
			      const struct kk_listener *l, __be32 agent,
			      enum kk_direction direction)
{
	struct kk_in6 client = in6_of("2001:db8:77::7"), public, inside = set->pool6;
	struct kk_ip6 ip = {
		.version_class = 0x60,
		.payload = htons((uint16_t)(p->len - sizeof(ip))),
		.next = l->protocol,
		.hops = (uint8_t)draw(s, 256),
	};

	inside.word[3] = agent;
	memcpy(&public, l->address.bytes, sizeof(public));
	ip.source = direction == KK_INBOUND ? client : inside;
	ip.dest = direction == KK_INBOUND ? public : client;
	memcpy(p->data, &ip, sizeof(ip));
}

static inline void random_ip4(struct stream *s, struct packet *p, const struct kk_listener *l,
			      __be32 agent, enum kk_direction direction)
{
	static const __be32 clients[] = {KK_BE32(0xcb007107), KK_BE32(0xcb007132),
					 KK_BE32(0xc0000233)};
	__be32 client = PICK(s, clients);
	struct kk_ip4 ip = {
		.version_ihl = 0x45,
		.tos = (uint8_t)draw(s, 256),
		.total = htons((uint16_t)p->len),
		.id = (uint16_t)draw(s, 65536),
		.fragment = draw(s, 2) ? htons(KK_IP4_DF) : 0,
		.ttl = (uint8_t)draw(s, 256),
		.protocol = l->protocol,
		.check = (uint16_t)draw(s, 65536),
		.source = direction == KK_INBOUND ? client : agent,
		.dest = direction == KK_INBOUND ? l->address.v4.s_addr : client,
	};

	memcpy(p->data, &ip, sizeof(ip));
}

/*
 * A packet of a flow of one of the world's listeners, as nearly all are. Checksums are whatever: that a wrong one stays
 * wrong is the same for all hosts.
 */
static inline enum kk_direction random_packet(struct stream *s, const struct packet_world *world,
					      struct packet *p)
{
	/* ACK, now and then with more; SYN, SYN and ACK, RST, FIN and ACK */
	static const uint8_t flags[] = {0x10, 0x10, 0x10, 0x18, 0x10, 0x02, 0x12, 0x04, 0x11, 0x10};
	enum kk_direction direction = draw(s, 2) ? KK_INBOUND : KK_OUTBOUND;
	const struct kk_listener *l = &world->listeners[draw(s, (uint32_t)world->n_listeners)];
	uint32_t header = l->address.family == AF_INET6 ? 40 : 20;
	uint32_t transport = l->protocol == KK_TCP ? 20 : 8;
	uint32_t payload = draw(s, 8) ? draw(s, 64) : 1300 + draw(s, 200);
	uint16_t client_port = (uint16_t)(40000 + draw(s, 4));
	__be32 agents[MEMBERS_MAX];
	size_t n = agents_of(world, l, agents);

	*p = (struct packet){.len = header + transport + payload};
	for (uint32_t i = header; i < header + transport + 16 && i < p->len; i++)
		p->data[i] = (uint8_t)draw(s, 256);
	if (header == 40)
		random_ip6(s, &world->settings, p, l, agents[draw(s, (uint32_t)n)], direction);
	else
		random_ip4(s, p, l, agents[draw(s, (uint32_t)n)], direction);
	put16(p, header, direction == KK_INBOUND ? client_port : l->agent_port);
	put16(p, header + 2, direction == KK_INBOUND ? l->port : client_port);
	if (l->protocol == KK_TCP) {
		p->data[header + 12] = 0x50;
		p->data[header + 13] = PICK(s, flags);
	} else {
		put16(p, header + 4, (uint16_t)(transport + payload));
		if (draw(s, 4) == 0)
			put16(p, header + 6, draw(s, 2) ? 0 : 0xffff);
	}
	return direction;
}

/*
 * The next packet of a stream: half of them of the world's flows, and of the cases sixty from number @often on come often,
 * for what they leave behind.
 */
static inline enum kk_direction random_next(struct stream *s, const struct edge_world *world,
					    uint32_t often, struct packet *p)
{
	uint32_t n = (uint32_t)s->n, which = draw(s, 2) ? (often + draw(s, 60)) % n : draw(s, n);
	enum kk_direction direction = s->cases[which].direction;

	if (world->base.n_listeners && draw(s, 2)) {
		direction = random_packet(s, &world->base, p);
		if (draw(s, 2))
			return direction;
	} else {
		*p = s->cases[which].in;
	}
	mutate(s, p);
	return direction;
}

/* The packets of all worlds, those of the edge too. */
static inline void stream_init_all(struct stream *s, const json_t *doc, const json_t *edge)
{
	const json_t *world_obj, *obj;
	size_t i, j;

	s->random = 0x9e3779b97f4a7c15;
	json_array_foreach(json_object_get(doc, "worlds"), i, world_obj) {
		stream_add(s, world_obj);
	}
	json_array_foreach(json_object_get(edge, "worlds"), i, world_obj) {
		const json_t *cases = json_object_get(world_obj, "cases");

		stream_grow(s, json_array_size(cases));
		json_array_foreach(cases, j, obj) {
			packet_of(text_of(obj, "in"), &s->cases[s->n].in);
			s->cases[s->n++].direction = KK_INBOUND;
		}
	}
}

#endif
