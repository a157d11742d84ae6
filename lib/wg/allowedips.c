// SPDX-License-Identifier: MIT
#include "wg/allowedips.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wg/peer.h"

/* An address as two words in host order, most significant bit first; IPv4 in the upper half of hi. */
struct bits {
	uint64_t hi, lo;
};

struct wg_allowed_node {
	struct bits prefix;
	struct wg_allowed_node *parent, *child[2];
	struct wg_allowed *entries; /* NULL for a node that only branches */
	uint8_t len;		    /* bits of the prefix */
	uint8_t addr_len;
};

static struct bits load(const uint8_t *addr, uint8_t addr_len)
{
	struct bits b = {0, 0};
	uint32_t v4;

	if (addr_len == 4) {
		memcpy(&v4, addr, 4);
		b.hi = (uint64_t)be32toh(v4) << 32;
	} else {
		memcpy(&b.hi, addr, 8);
		memcpy(&b.lo, addr + 8, 8);
		b.hi = be64toh(b.hi);
		b.lo = be64toh(b.lo);
	}
	return b;
}

static struct bits mask(struct bits b, uint8_t len)
{
	if (len < 64)
		b.hi &= len ? ~0ull << (64 - len) : 0;
	if (len < 128)
		b.lo &= len > 64 ? ~0ull << (128 - len) : 0;
	return b;
}

static int bit_at(struct bits b, uint8_t i)
{
	return (int)((i < 64 ? b.hi >> (63 - i) : b.lo >> (127 - i)) & 1);
}

/* Leading bits that both have in common, 0 to 128. */
static uint8_t common(struct bits a, struct bits b)
{
	if (a.hi != b.hi)
		return (uint8_t)__builtin_clzll(a.hi ^ b.hi);
	if (a.lo != b.lo)
		return (uint8_t)(64 + __builtin_clzll(a.lo ^ b.lo));
	return 128;
}

static bool contains(const struct wg_allowed_node *n, struct bits b)
{
	return common(n->prefix, b) >= n->len;
}

static struct wg_allowed_node **root_of(struct wg_allowedips *t, uint8_t addr_len)
{
	return addr_len == 4 ? &t->root4 : &t->root6;
}

static struct wg_allowed_node **slot_of(struct wg_allowedips *t, struct wg_allowed_node *n)
{
	if (!n->parent)
		return root_of(t, n->addr_len);
	return &n->parent->child[n->parent->child[1] == n];
}

static struct wg_allowed *entry_alloc(struct wg_allowedips *t)
{
	struct wg_allowed *a = t->spare_entries;

	if (!a)
		return malloc(sizeof(*a));
	t->spare_entries = a->next_of_node;
	return a;
}

static struct wg_allowed_node *node_alloc(struct wg_allowedips *t, struct bits prefix, uint8_t len,
					  uint8_t addr_len)
{
	struct wg_allowed_node *n = t->spare_nodes;

	if (n) {
		t->spare_nodes = n->parent;
		n->parent = NULL;
	} else {
		n = calloc(1, sizeof(*n));
	}
	if (n) {
		n->prefix = mask(prefix, len);
		n->len = len;
		n->addr_len = addr_len;
	}
	return n;
}

/* The node of exactly this prefix, made where it is missing; NULL when out of memory. */
static struct wg_allowed_node *node_get(struct wg_allowedips *t, struct bits prefix, uint8_t len,
					uint8_t addr_len)
{
	struct wg_allowed_node **slot = root_of(t, addr_len), *parent = NULL, *n, *fresh, *fork;
	uint8_t same;

	while ((n = *slot) && n->len <= len && contains(n, prefix)) {
		if (n->len == len)
			return n;
		parent = n;
		slot = &n->child[bit_at(prefix, n->len)];
	}
	fresh = node_alloc(t, prefix, len, addr_len);
	if (!fresh)
		return NULL;
	fresh->parent = parent;
	if (!n) {
		*slot = fresh;
		return fresh;
	}
	same = common(n->prefix, prefix);
	if (same >= len) {
		fresh->child[bit_at(n->prefix, len)] = n;
		n->parent = fresh;
		*slot = fresh;
		return fresh;
	}
	fork = node_alloc(t, prefix, same, addr_len);
	if (!fork) {
		free(fresh);
		return NULL;
	}
	fork->parent = parent;
	fork->child[bit_at(n->prefix, same)] = n;
	fork->child[bit_at(prefix, same)] = fresh;
	n->parent = fork;
	fresh->parent = fork;
	*slot = fork;
	return fresh;
}

/* Removes nodes that neither hold an entry nor branch, from @n upwards. */
static void prune(struct wg_allowedips *t, struct wg_allowed_node *n)
{
	while (n && !n->entries && !(n->child[0] && n->child[1])) {
		struct wg_allowed_node *parent = n->parent;
		struct wg_allowed_node *child = n->child[0] ? n->child[0] : n->child[1];

		*slot_of(t, n) = child;
		if (child)
			child->parent = parent;
		free(n);
		n = parent;
	}
}

static void unlink_from_peer(struct wg_allowed *a)
{
	struct wg_allowed **at = &a->peer->allowed;

	while (*at != a)
		at = &(*at)->next_of_peer;
	*at = a->next_of_peer;
}

static void unlink_from_node(struct wg_allowed *a)
{
	struct wg_allowed **at = &a->node->entries;

	while (*at != a)
		at = &(*at)->next_of_node;
	*at = a->next_of_node;
}

int wg_allowed_prefix(const struct wg_allowed *a, uint8_t ret_addr[16], uint8_t *ret_bits)
{
	uint64_t hi = htobe64(a->node->prefix.hi), lo = htobe64(a->node->prefix.lo);

	memcpy(ret_addr, &hi, 8);
	memcpy(ret_addr + 8, &lo, 8);
	*ret_bits = a->node->len;
	return a->node->addr_len;
}

static void tell(const struct wg_allowedips *t, const struct wg_allowed_node *n)
{
	uint64_t addr[2] = {htobe64(n->prefix.hi), htobe64(n->prefix.lo)};

	if (t->changed)
		t->changed(t->ctx, (const uint8_t *)addr, n->addr_len, n->len, n->entries);
}

bool wg_allowed_is_newest(const struct wg_allowed *a)
{
	return a->node->entries == a;
}

void wg_allowedips_release(struct wg_allowedips *t)
{
	while (t->spare_entries) {
		struct wg_allowed *next = t->spare_entries->next_of_node;

		free(t->spare_entries);
		t->spare_entries = next;
	}
	while (t->spare_nodes) {
		struct wg_allowed_node *next = t->spare_nodes->parent;

		free(t->spare_nodes);
		t->spare_nodes = next;
	}
}

/* The most that one prefix takes: its entry, its node, and a node where the trie forks. */
static int reserve_one(struct wg_allowedips *t)
{
	struct wg_allowed *a = malloc(sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->next_of_node = t->spare_entries;
	t->spare_entries = a;
	for (int i = 0; i < 2; i++) {
		struct wg_allowed_node *n = calloc(1, sizeof(*n));

		if (!n)
			return -ENOMEM;
		n->parent = t->spare_nodes;
		t->spare_nodes = n;
	}
	return 0;
}

int wg_allowedips_reserve(struct wg_allowedips *t, size_t n)
{
	int r = 0;

	while (r == 0 && n--)
		r = reserve_one(t);
	if (r < 0)
		wg_allowedips_release(t);
	return r;
}

int wg_allowedips_add(struct wg_allowedips *t, const uint8_t *addr, uint8_t addr_len, uint8_t bits,
		      struct wg_peer *peer)
{
	struct wg_allowed *a = entry_alloc(t), **end;
	struct wg_allowed_node *n;

	if (!a)
		return -ENOMEM;
	n = node_get(t, mask(load(addr, addr_len), bits), bits, addr_len);
	if (!n) {
		free(a);
		return -ENOMEM;
	}
	for (struct wg_allowed *old = n->entries; old; old = old->next_of_node) {
		if (old->peer == peer) {
			free(a);
			return 0;
		}
	}
	if (!t->shared && n->entries) {
		/* Moves from the peer that has it. */
		free(a);
		a = n->entries;
		unlink_from_peer(a);
	} else {
		a->node = n;
		a->next_of_node = n->entries;
		n->entries = a;
	}
	a->peer = peer;
	a->next_of_peer = NULL;
	for (end = &peer->allowed; *end; end = &(*end)->next_of_peer)
		;
	*end = a;
	tell(t, n);
	return 0;
}

int wg_allowedips_del(struct wg_allowedips *t, const uint8_t *addr, uint8_t addr_len, uint8_t bits,
		      struct wg_peer *peer)
{
	struct bits prefix = mask(load(addr, addr_len), bits);

	for (struct wg_allowed *a = peer->allowed; a; a = a->next_of_peer) {
		struct wg_allowed_node *n = a->node;

		if (n->addr_len != addr_len || n->len != bits || common(n->prefix, prefix) < bits)
			continue;
		unlink_from_peer(a);
		unlink_from_node(a);
		free(a);
		tell(t, n);
		prune(t, n);
		return 0;
	}
	return -ENOENT;
}

void wg_allowedips_flush(struct wg_allowedips *t, struct wg_peer *peer)
{
	struct wg_allowed *a;

	while ((a = peer->allowed)) {
		struct wg_allowed_node *n = a->node;

		peer->allowed = a->next_of_peer;
		unlink_from_node(a);
		free(a);
		tell(t, n);
		prune(t, n);
	}
}

const struct wg_allowed *wg_allowedips_find(const struct wg_allowedips *t, const uint8_t *addr,
					    uint8_t addr_len)
{
	const struct wg_allowed_node *n = addr_len == 4 ? t->root4 : t->root6;
	const struct wg_allowed *found = NULL;
	struct bits b = load(addr, addr_len);

	while (n && contains(n, b)) {
		if (n->entries)
			found = n->entries;
		if (n->len == addr_len * 8)
			break;
		n = n->child[bit_at(b, n->len)];
	}
	return found;
}
