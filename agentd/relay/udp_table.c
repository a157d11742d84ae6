// SPDX-License-Identifier: MIT
#include "agentd/relay/udp_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

int udp_table_init(struct udp_table *table, unsigned int max)
{
	uint32_t size = 64;

	*table = (struct udp_table){.max = max};
	while (size < max && size < 1u << 20)
		size *= 2;
	if (getrandom(&table->secret, sizeof(table->secret), 0) != sizeof(table->secret))
		return -EIO;
	table->chains = calloc(size, sizeof(*table->chains));
	if (!table->chains)
		return -ENOMEM;
	table->mask = size - 1;
	TAILQ_INIT(&table->order);
	return 0;
}

void udp_table_clean(struct udp_table *table)
{
	free(table->chains);
	table->chains = NULL;
}

/* The finalizer of splitmix64: every bit of the key and the secret reaches every bit of the result. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static struct udp_chain *chain(const struct udp_table *table, const void *port,
			       const union kk_sockaddr *client)
{
	const struct kk_address address = kk_sockaddr_address(client);
	uint64_t high, low, hash;

	memcpy(&high, address.bytes, sizeof(high));
	memcpy(&low, address.bytes + sizeof(high), sizeof(low));
	hash = mix(high ^ table->secret);
	hash = mix(hash ^ low ^ (uint64_t)kk_sockaddr_port(client) << 48);
	hash = mix(hash + (uintptr_t)port + table->secret);
	return &table->chains[hash & table->mask];
}

struct udp_entry *udp_table_find(const struct udp_table *table, const void *port,
				 const union kk_sockaddr *client)
{
	struct udp_entry *e;

	LIST_FOREACH(e, chain(table, port, client), chain)
	if (e->port == port && kk_sockaddr_equal(&e->client, client))
		return e;
	return NULL;
}

int udp_table_add(struct udp_table *table, struct udp_entry *e, int64_t now)
{
	if (table->n >= table->max)
		return -ENOSPC;
	e->used = now;
	LIST_INSERT_HEAD(chain(table, e->port, &e->client), e, chain);
	TAILQ_INSERT_TAIL(&table->order, e, order);
	table->n++;
	return 0;
}

void udp_table_del(struct udp_table *table, struct udp_entry *e)
{
	LIST_REMOVE(e, chain);
	TAILQ_REMOVE(&table->order, e, order);
	table->n--;
}

void udp_table_touch(struct udp_table *table, struct udp_entry *e, int64_t now)
{
	e->used = now;
	TAILQ_REMOVE(&table->order, e, order);
	TAILQ_INSERT_TAIL(&table->order, e, order);
}

struct udp_entry *udp_table_oldest(const struct udp_table *table)
{
	return TAILQ_FIRST(&table->order);
}
