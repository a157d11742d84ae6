/* SPDX-License-Identifier: MIT */
/*
 * Random services, and the tables that they make: whole, or those of some services alone, as a change of a part names them.
 * Ports and Agents are few, so that services get in each other's way now and then.
 */
#ifndef KK_TEST_TABLE_MODEL_H
#define KK_TEST_TABLE_MODEL_H

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "bpf/datapath.h"

#define MODEL_SERVICES	40
#define MODEL_ADDRESSES 3 /* two of IPv4, one of IPv6 */
#define MODEL_MEMBERS	4
#define MODEL_RULES	8
#define MODEL_PORTS	4
#define MODEL_LISTENERS (MODEL_SERVICES * MODEL_PORTS * MODEL_ADDRESSES)

struct model_service {
	bool there, snat, draining, guarded;
	uint8_t protocol, addresses; /* of the latter a bit each */
	uint16_t port, n_ports, agent_port;
	uint8_t n_members; /* several are a group */
	uint8_t members[MODEL_MEMBERS];
	bool healthy[MODEL_MEMBERS];
	uint8_t rules; /* a bit each */
	uint32_t packets, connections;
};

struct model {
	struct kk_address addresses[MODEL_ADDRESSES];
	struct model_service services[MODEL_SERVICES + 1]; /* by id */
	uint8_t denied;					   /* a bit each */
};

struct model_tables {
	struct kk_datapath_tables all;
	struct kk_listener listeners[MODEL_LISTENERS];
	struct kk_group groups[MODEL_SERVICES];
	struct kk_member members[MODEL_SERVICES * MODEL_MEMBERS];
	struct kk_guard guards[MODEL_SERVICES];
	struct kk_list lists[MODEL_SERVICES + 1];
	struct kk_rule rules[(MODEL_SERVICES + 1) * MODEL_RULES];
	size_t n_members, n_rules;
};

static uint64_t model_seed;

/* The same sequence everywhere: a failure can be had again. */
static inline uint32_t model_random(uint32_t below)
{
	model_seed = model_seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(model_seed >> 33) % below;
}

static inline struct kk_prefix model_prefix(uint32_t i)
{
	struct kk_prefix p = {.addr = {.family = AF_INET}, .len = 24};

	if (i % 2) {
		p = (struct kk_prefix){.addr = {.family = AF_INET6}, .len = 48};
		inet_pton(AF_INET6, "2001:db8::", &p.addr.v6);
		p.addr.bytes[5] = (uint8_t)i;
	} else {
		/* One in another, as lists have them. */
		p.addr.v4.s_addr = htonl(0xc6120000 | (i < 4 ? 0 : i << 8));
		p.len = i == 0 ? 15 : i == 2 ? 16 : 24;
	}
	return p;
}

static inline struct in_addr model_agent(uint32_t i)
{
	return (struct in_addr){htonl(0x0a000064 | (i + 1) << 16)};
}

/* ---- what is there ---- */

static inline void model_service_random(struct model_service *s)
{
	*s = (struct model_service){
		.there = true,
		.snat = model_random(8) == 0,
		.draining = model_random(8) == 0,
		.protocol = model_random(3) ? IPPROTO_TCP : IPPROTO_UDP,
		.addresses = (uint8_t)(1 + model_random((1 << MODEL_ADDRESSES) - 1)),
		.port = (uint16_t)(100 + model_random(400)),
		.n_ports = (uint16_t)(1 + model_random(MODEL_PORTS)),
		.n_members = (uint8_t)(model_random(4) ? 1 : 1 + model_random(MODEL_MEMBERS)),
	};
	/* Mostly the same, so that the array answers; on two addresses of a family that cannot be. */
	s->agent_port = model_random(2) ? s->port : (uint16_t)(100 + model_random(400));
	if ((s->addresses & 3) == 3 && model_random(8))
		s->addresses &= (uint8_t)~2;
	for (uint32_t i = 0, first = model_random(6); i < s->n_members; i++) {
		s->members[i] = (uint8_t)((first + i) % 6);
		s->healthy[i] = model_random(3);
	}
	s->guarded = model_random(3) == 0;
	s->rules = s->guarded ? (uint8_t)model_random(1 << MODEL_RULES) : 0;
	s->packets = model_random(3) * 1000;
	s->connections = model_random(2) * 10;
}

/* Changes one to three services; which, is noted by id in @touched. */
static inline void model_change(struct model *m, bool touched[MODEL_SERVICES + 1])
{
	memset(touched, 0, MODEL_SERVICES + 1);
	for (uint32_t i = 0, n = 1 + model_random(3); i < n; i++) {
		uint32_t id = 1 + model_random(MODEL_SERVICES);
		struct model_service *s = &m->services[id];

		touched[id] = true;
		switch (s->there ? model_random(6) : 5) {
		case 0:
			s->there = false;
			break;
		case 1:
			s->draining = !s->draining;
			break;
		case 2:
			s->healthy[0] = !s->healthy[0];
			s->members[0] = (uint8_t)model_random(6);
			break;
		case 3:
			s->guarded = true;
			s->rules ^= (uint8_t)(1 << model_random(MODEL_RULES));
			break;
		case 4:
			s->agent_port = (uint16_t)(100 + model_random(400));
			break;
		default:
			model_service_random(s);
		}
	}
	if (model_random(4) == 0)
		m->denied ^= (uint8_t)(1 << model_random(MODEL_RULES));
}

/* ---- as tables ---- */

static inline void model_add_rules(struct model_tables *t, uint32_t id, uint8_t rules, bool deny)
{
	struct kk_list *list = &t->lists[t->all.n_lists];

	if (!rules)
		return;
	t->all.n_lists++;
	*list = (struct kk_list){.id = id, .rules = &t->rules[t->n_rules]};
	for (uint32_t i = 0; i < MODEL_RULES; i++)
		if (rules & 1 << i)
			t->rules[t->n_rules++] =
				(struct kk_rule){model_prefix(i), !deny && (i + id) % 3};
	list->n_rules = (size_t)(&t->rules[t->n_rules] - list->rules);
}

static inline void model_add_service(struct model_tables *t, const struct model *m, uint32_t id)
{
	const struct model_service *s = &m->services[id];
	struct kk_member *members = &t->members[t->n_members];

	for (uint32_t a = 0; a < MODEL_ADDRESSES; a++)
		for (uint16_t i = 0; i < s->n_ports && s->addresses & 1 << a; i++)
			t->listeners[t->all.n_listeners++] = (struct kk_listener){
				.protocol = s->protocol,
				.address = m->addresses[a],
				.port = (uint16_t)(s->port + i),
				.agent_address = model_agent(s->members[0]),
				.agent_port = (uint16_t)(s->agent_port + i),
				.service = id,
				.group = s->n_members > 1 ? id : 0,
				.snat = s->snat,
				.draining = s->draining,
			};
	for (uint32_t i = 0; i < s->n_members && s->n_members > 1; i++)
		t->members[t->n_members++] =
			(struct kk_member){model_agent(s->members[i]), s->healthy[i]};
	if (s->n_members > 1)
		t->groups[t->all.n_groups++] = (struct kk_group){id, members, s->n_members};
	if (!s->guarded)
		return;
	model_add_rules(t, id, s->rules, false);
	t->guards[t->all.n_guards++] = (struct kk_guard){
		.service = id,
		.list = s->rules ? id : 0,
		.deny_others = s->rules & 1,
		.packets = {s->packets, s->packets},
		.connections = {s->connections, s->connections},
	};
}

/* Of the services in @touched, or with NULL all; of list 0 the rules @denied. */
static inline const struct kk_datapath_tables *
model_tables(struct model_tables *t, const struct model *m, const bool *touched, uint8_t denied)
{
	memset(t, 0, sizeof(*t));
	for (uint32_t id = 1; id <= MODEL_SERVICES; id++)
		if (m->services[id].there && (!touched || touched[id]))
			model_add_service(t, m, id);
	model_add_rules(t, 0, denied, true);
	t->all.listeners = t->listeners;
	t->all.groups = t->groups;
	t->all.guards = t->guards;
	t->all.lists = t->lists;
	return &t->all;
}

#endif
