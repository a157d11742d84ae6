/* SPDX-License-Identifier: MIT */
/*
 * Allowed IPs: one path-compressed binary trie per address family, prefix -> peers. Ordinarily a prefix
 * belongs to one peer, and adding it to another takes it away from the first. In a shared table (reply
 * to ingress) a prefix may belong to several.
 */
#ifndef WG_ALLOWEDIPS_H
#define WG_ALLOWEDIPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wg_peer;
struct wg_allowed_node;

/* One prefix of one peer; linked into the list of its peer and of its trie node. */
struct wg_allowed {
	struct wg_peer *peer;
	struct wg_allowed_node *node;
	struct wg_allowed *next_of_peer; /* order of addition */
	struct wg_allowed *next_of_node;
};

struct wg_allowedips {
	struct wg_allowed_node *root4, *root6;
	bool shared; /* a prefix may have several peers; set while empty */
	/* Told of each change: the prefix and its entries, linked by next_of_node, or NULL. NULL: nobody wants to know. */
	void (*changed)(void *ctx, const uint8_t *addr, uint8_t addr_len, uint8_t bits,
			const struct wg_allowed *entries);
	void *ctx;
	/* Set aside by wg_allowedips_reserve(). */
	struct wg_allowed *spare_entries;    /* by next_of_node */
	struct wg_allowed_node *spare_nodes; /* by parent */
};

/* The prefix of an entry: @ret_addr gets 4 or 16 bytes. Returns the length of the address. */
int wg_allowed_prefix(const struct wg_allowed *a, uint8_t ret_addr[16], uint8_t *ret_bits);

/* Whether no other peer got the same prefix later. */
bool wg_allowed_is_newest(const struct wg_allowed *a);

/*
 * Adds @addr/@bits (@addr_len 4 or 16, network byte order, host bits ignored) to @peer, whose list
 * begins at @list. Adding what is there changes nothing. Returns 0 or -ENOMEM with nothing changed.
 */
int wg_allowedips_add(struct wg_allowedips *t, const uint8_t *addr, uint8_t addr_len, uint8_t bits,
		      struct wg_peer *peer);
/*
 * Sets memory aside, so that none of the next @n calls of wg_allowedips_add() fails. Returns 0, or -ENOMEM with
 * nothing set aside. wg_allowedips_release() frees what is left of it.
 */
int wg_allowedips_reserve(struct wg_allowedips *t, size_t n);
void wg_allowedips_release(struct wg_allowedips *t);
/* Takes one prefix from @peer. Returns 0 or -ENOENT. */
int wg_allowedips_del(struct wg_allowedips *t, const uint8_t *addr, uint8_t addr_len, uint8_t bits,
		      struct wg_peer *peer);
/* Takes all prefixes from @peer. */
void wg_allowedips_flush(struct wg_allowedips *t, struct wg_peer *peer);

/* Entries of the longest prefix that contains @addr, linked by next_of_node; NULL where none does. */
const struct wg_allowed *wg_allowedips_find(const struct wg_allowedips *t, const uint8_t *addr,
					    uint8_t addr_len);

#endif
