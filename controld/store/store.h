/* SPDX-License-Identifier: MIT */
/*
 * What Control knows, in a database: who exists and what is published. Every change is one transaction
 * that makes the next generation and is on disk when the call returns. Texts and keys go in and out;
 * secrets are kept as SHA-256 only.
 *
 * Functions return 0 or a negative errno with @err filled in:
 * -ENOENT there is no such object, -EEXIST it conflicts with another, -EBUSY it is in use, -EINVAL a bad
 * reference, -ENOSPC nothing left to allocate, -EACCES a secret that opens nothing, -EIO the database failed.
 */
#ifndef KK_CONTROLD_STORE_STORE_H
#define KK_CONTROLD_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>

#include "proto/model.h"
#include "util/address.h"
#include "util/err.h"

#define KK_HASH_LEN	     32 /* SHA-256 */
#define KK_EPOCH_LEN	     32 /* characters */
#define KK_GATEWAYS_MAX	     253
#define KK_AGENTS_MAX	     65024  /* 254 x 256, requirement K4 */
#define KK_ANY_NUMBER	     (-1)   /* for one that is made: the lowest that is free */
#define KK_CHANGES_MAX	     10000  /* generations that the change log reaches back */
#define KK_CHANGE_ROWS_MAX   200000 /* changes that it holds */
#define KK_SCHEMA_VERSION    6
#define KK_SERVICE_RULES_MAX 64	   /* allowed and denied prefixes of one service */
#define KK_DENIALS_MAX	     10000 /* denied prefixes of all services of an organisation */
#define KK_BANS_MAX	     10000
#define KK_RULES_MAX	     131072 /* prefixes of an organisation: what a gateway's table has room for */
#define KK_HOST_PREFIXES_MAX 64	  /* of one host */
#define KK_GROUP_HOSTS_MAX   256  /* in one group */
#define KK_SOURCES_MAX	     4096 /* prefixes that access rules let in to one service */
#define KK_PREFIX_MAX	     24	  /* of the names of Agents that are made when they join */
#define KK_ORG_FIRST	     1 /* the organisation that is made with the database, its operator's */

enum kk_kind {
	KK_GATEWAY,
	KK_AGENT,
	KK_SERVICE,
	KK_RULE,
	KK_BAN,
	/* Of these no node is told: */
	KK_HOST,
	KK_GROUP,
	KK_ACCESS_RULE,
};

enum kk_op {
	KK_ADD,
	KK_SET,
	KK_REMOVE,
};

struct kk_change {
	int64_t generation;
	enum kk_kind kind;
	enum kk_op op;
	int64_t id;
	int64_t agent; /* a service's change is noted for the gateways (0) and for each Agent concerned */
	int64_t org;
};

struct kk_gateway_row {
	int64_t id, org;
	char name[KK_NAME_MAX + 1];
	uint8_t index;
	/* Public; Agents reach its tunnel at the first. */
	struct kk_address addresses[KK_GATEWAY_ADDRESSES_MAX];
	size_t n_addresses;
	uint16_t wg_port;
	bool has_key, joined;
	uint8_t public_key[KK_KEY_LEN];
	int64_t generation;
};

struct kk_agent_row {
	int64_t id, org;
	char name[KK_NAME_MAX + 1];
	bool plain; /* a WireGuard client without our software: it never joins, its key is set when it is made */
	int64_t number;
	struct kk_prefix4 subnet;
	bool has_key, joined;
	uint8_t public_key[KK_KEY_LEN];
	int64_t generation;
};

struct kk_member {
	int64_t agent;
	char name[KK_NAME_MAX + 1];
};

/* Whom a service lets in; the longest prefix wins. Where something is allowed, all else is denied. */
struct kk_service_rule {
	struct kk_prefix prefix;
	bool allow;
};

struct kk_service_row {
	int64_t id;
	char name[KK_NAME_MAX + 1];
	struct kk_member members[KK_MEMBERS_MAX]; /* the Agents behind it, in order of id */
	size_t n_members;
	uint8_t protocol;	   /* IPPROTO_TCP or IPPROTO_UDP */
	uint16_t port, last_port;  /* a range, or one port twice */
	uint16_t agent_port;	   /* the first of as many */
	struct kk_address address; /* none: the first of each family of every gateway */
	char target[KK_TARGET_MAX];
	bool proxy_protocol;
	bool snat; /* behind it is a plain peer, which sees gateways in the clients' place; filled in */
	uint32_t limit_packets, limit_connections; /* a second of one source; 0: no limit */
	struct kk_service_rule rules[KK_SERVICE_RULES_MAX]; /* in order of prefix */
	size_t n_rules;
	bool closed;	     /* to all but whom access rules let in, and its own */
	int64_t drain_until; /* UNIX seconds: takes nothing new and is removed then; 0: it stays */
	int64_t generation;
};

/* In order of prefix, as qsort(3) wants it. */
int kk_service_rule_compare(const void *a, const void *b);

/* A prefix that no service of any gateway lets in. */
struct kk_denial_row {
	int64_t id;
	struct kk_prefix prefix;
	int64_t generation;
};

/*
 * As a node is told: a rule of one service, or (service 0) a denial. Those of a service are its own, and those that
 * follow from access rules.
 */
struct kk_rule_row {
	int64_t id, service;
	struct kk_prefix prefix;
	bool allow;
};

struct kk_ban_row {
	int64_t id;
	struct kk_address address;
	int64_t service; /* 0: from all */
	char service_name[KK_NAME_MAX + 1];
	int64_t expires_at; /* UNIX seconds; 0: never */
	int64_t generation;
};

/* A name for where somebody may come from. */
struct kk_host_row {
	int64_t id;
	char name[KK_NAME_MAX + 1];
	struct kk_prefix prefixes[KK_HOST_PREFIXES_MAX]; /* in order, without twins */
	size_t n_prefixes;
	int64_t generation;
};

/* A name for some hosts, and maybe for none. Hosts and groups have one name space. */
struct kk_group_row {
	int64_t id;
	char name[KK_NAME_MAX + 1];
	char hosts[KK_GROUP_HOSTS_MAX][KK_NAME_MAX + 1]; /* in order of name, without twins */
	size_t n_hosts;
	int64_t generation;
};

/*
 * Who may reach what (requirement H2). Without ports the destination is a service, and the gateways hold to the
 * rule; with ports it is a host or a group, and between those nothing is carried yet.
 */
struct kk_access_rule_row {
	int64_t id;
	char name[KK_NAME_MAX + 1];
	char source[KK_NAME_MAX + 1]; /* a host or a group */
	char destination[KK_NAME_MAX + 1];
	uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP; 0: the destination is a service */
	uint16_t port, last_port;
	bool enforced; /* the gateways are told of it */
	int64_t generation;
};

struct kk_token_row {
	int64_t id;
	enum kk_kind role;
	char node[KK_NAME_MAX + 1];   /* that it is bound to, or "" */
	char prefix[KK_NAME_MAX + 1]; /* of the names of the Agents that it makes, or "" */
	int64_t uses;		      /* that are left, -1: any number */
	int64_t expires_at;	      /* UNIX seconds */
};

struct kk_store;

/*
 * Opens or makes the database and brings it up to this version's schema. A database of a newer version is
 * refused, and one whose Agents have addresses from another @pool (a /8).
 */
int kk_store_open(const char *path, const struct kk_prefix4 *pool, struct kk_store **ret,
		  struct kk_err *err);
void kk_store_close(struct kk_store *store);
int64_t kk_store_generation(const struct kk_store *store);
const char *kk_store_epoch(const struct kk_store *store);
const struct kk_prefix4 *kk_store_pool(const struct kk_store *store);
/* The /96 behind which every address of the pool is an IPv6 address too (RFC 6052 section 2.2); made once. */
const struct kk_prefix *kk_store_pool6(const struct kk_store *store);
/* What all gateways choose the Agent of a flow with. */
const uint8_t *kk_store_flow_key(const struct kk_store *store);
/* Is told every transaction's changes after it is on disk, in order. */
void kk_store_on_change(struct kk_store *store,
			void (*changed)(const struct kk_change *changes, size_t n, void *userdata),
			void *userdata);
/* The generation of the changes made last, those of a transaction that is not over included. */
int64_t kk_store_latest(const struct kk_store *store);

/*
 * On whose behalf the store is used from now on. What goes by names finds, makes and changes objects of
 * @org only (0: there are none); the audit log tells @who and @from what address. The texts are copied.
 * A store that was just opened is used on behalf of Control in KK_ORG_FIRST.
 */
void kk_store_enter(struct kk_store *store, int64_t org, const char *who, const char *from);
int64_t kk_store_org(const struct kk_store *store);
/* Enters another organisation, with the same actor, and returns the one before. */
int64_t kk_store_set_org(struct kk_store *store, int64_t org);

/*
 * Makes everything until kk_store_end() one transaction and one generation: all of it is on disk when that
 * returns 0, or nothing where @r or its result is negative. Transactions may lie within each other.
 */
int kk_store_begin(struct kk_store *store, struct kk_err *err);
int kk_store_end(struct kk_store *store, int r, struct kk_err *err);
/* What the outermost kk_store_end() would find wrong, for a transaction that is not to come to anything. */
int kk_store_check(struct kk_store *store, struct kk_err *err);

/*
 * Until kk_store_read_end() everything is read as it is now, which takes the database's locks once and not for each
 * query. Nothing can be changed meanwhile. Where it does not come about, queries are as usual.
 */
void kk_store_read_begin(struct kk_store *store);
void kk_store_read_end(struct kk_store *store);

/* The subnet of Agent @number, 0 to KK_AGENTS_MAX - 1 (requirement K4). */
struct kk_prefix4 kk_agent_subnet(const struct kk_prefix4 *pool, int64_t number);
/* The number of the Agent with the tunnel address @address, its subnet's .100; -EINVAL: none can have it. */
int64_t kk_agent_number(const struct kk_prefix4 *pool, struct in_addr address);

/* Rows come in order of id; a callback that returns non-zero ends the list, which returns that. */

/* @name, @addresses and @wg_port are read; the rest is filled in. */
int kk_store_gateway_add(struct kk_store *store, struct kk_gateway_row *row, struct kk_err *err);
/* Gives the gateway of @row's id the addresses of @row; generation is filled in. */
int kk_store_gateway_set(struct kk_store *store, struct kk_gateway_row *row, struct kk_err *err);
int kk_store_gateway_get(struct kk_store *store, const char *name, struct kk_gateway_row *ret,
			 struct kk_err *err);
int kk_store_gateway_get_id(struct kk_store *store, int64_t id, struct kk_gateway_row *ret,
			    struct kk_err *err);
int kk_store_gateway_list(struct kk_store *store,
			  int (*row)(const struct kk_gateway_row *row, void *userdata),
			  void *userdata, struct kk_err *err);
/*
 * Remembers the ports that a gateway's host serves itself, "ports_in_use" of its report as text: they are not
 * to be published while the gateway or its report is away, either. Makes no generation.
 */
int kk_store_gateway_set_ports(struct kk_store *store, int64_t id, const char *ports,
			       struct kk_err *err);
/* The gateways that have told their ports, with that text. */
int kk_store_gateway_list_ports(struct kk_store *store,
				int (*row)(const char *name, const char *ports, void *userdata),
				void *userdata, struct kk_err *err);
int kk_store_gateway_remove(struct kk_store *store, const char *name, struct kk_err *err);

/* @name is read; the rest is filled in. */
int kk_store_agent_add(struct kk_store *store, struct kk_agent_row *row, struct kk_err *err);
int kk_store_agent_get(struct kk_store *store, const char *name, struct kk_agent_row *ret,
		       struct kk_err *err);
int kk_store_agent_get_id(struct kk_store *store, int64_t id, struct kk_agent_row *ret,
			  struct kk_err *err);
int kk_store_agent_list(struct kk_store *store,
			int (*row)(const struct kk_agent_row *row, void *userdata), void *userdata,
			struct kk_err *err);
int kk_store_agent_remove(struct kk_store *store, const char *name, struct kk_err *err);
/* How many Agents there are, or plain peers. */
int kk_store_agent_count(struct kk_store *store, bool plain, int64_t *ret, struct kk_err *err);

/*
 * Plain WireGuard peers are Agents to which nothing is said: they share numbers and names with them, and nodes are told
 * of both alike. What goes by name finds one kind only; kk_store_agent_get_id() finds both.
 */
/*
 * @name, @public_key and @number (KK_ANY_NUMBER: the lowest that is free) are read; the rest is filled in. -EEXIST also
 * for a key or number that a node or peer has.
 */
int kk_store_peer_add(struct kk_store *store, struct kk_agent_row *row, struct kk_err *err);
int kk_store_peer_get(struct kk_store *store, const char *name, struct kk_agent_row *ret,
		      struct kk_err *err);
int kk_store_peer_list(struct kk_store *store,
		       int (*row)(const struct kk_agent_row *row, void *userdata), void *userdata,
		       struct kk_err *err);
int kk_store_peer_remove(struct kk_store *store, const char *name, struct kk_err *err);

/* All is read but id, the members' ids, agent_port and generation, which are filled in. */
int kk_store_service_add(struct kk_store *store, struct kk_service_row *row, struct kk_err *err);
int kk_store_service_get(struct kk_store *store, const char *name, struct kk_service_row *ret,
			 struct kk_err *err);
int kk_store_service_get_id(struct kk_store *store, int64_t id, struct kk_service_row *ret,
			    struct kk_err *err);
/* Of one Agent, or of all where @agent is 0. */
int kk_store_service_list(struct kk_store *store, int64_t agent,
			  int (*row)(const struct kk_service_row *row, void *userdata),
			  void *userdata, struct kk_err *err);
int kk_store_service_count(struct kk_store *store, int64_t *ret, struct kk_err *err);
/* Gives the service of @row's id what is in @row but name and protocol; the rest is filled in as above. */
int kk_store_service_set(struct kk_store *store, struct kk_service_row *row, struct kk_err *err);
/* The same where the caller has read, in the same transaction, what it is now: @before. @row's id is filled in, too. */
int kk_store_service_replace(struct kk_store *store, const struct kk_service_row *before,
			     struct kk_service_row *row, struct kk_err *err);
/* Whether @after needs other ports than @before, of gateways or of Agents. */
bool kk_service_row_moves(const struct kk_service_row *before, const struct kk_service_row *after);
/* Whether the two are one in all that a caller says of a service. */
bool kk_service_row_same(const struct kk_service_row *a, const struct kk_service_row *b);
/*
 * The service gives up its ports, so that another can have them, until it is given others (or its own again) in the
 * same open transaction, which fails otherwise: by a row that moves it, or kk_store_service_restore().
 */
int kk_store_service_release(struct kk_store *store, int64_t id, struct kk_err *err);
int kk_store_service_remove(struct kk_store *store, const char *name, struct kk_err *err);
/*
 * Undoes a change: @before is what the service was, or NULL if it was made then; @id is the service's.
 * @before's generation is filled in.
 */
int kk_store_service_restore(struct kk_store *store, int64_t id, struct kk_service_row *before,
			     struct kk_err *err);

/* The services whose time to drain is over at @now: removes one and says which, or returns -ENOENT. */
int kk_store_service_expire(struct kk_store *store, int64_t now, char ret_name[KK_NAME_MAX + 1],
			    struct kk_err *err);
/* When the next service or ban expires, UNIX seconds; 0: none does. */
int kk_store_next_expiry(struct kk_store *store, int64_t *ret, struct kk_err *err);

/* @prefix is read; the rest is filled in. */
int kk_store_denial_add(struct kk_store *store, struct kk_denial_row *row, struct kk_err *err);
int kk_store_denial_list(struct kk_store *store,
			 int (*row)(const struct kk_denial_row *row, void *userdata),
			 void *userdata, struct kk_err *err);
int kk_store_denial_remove(struct kk_store *store, int64_t id, struct kk_err *err);
int kk_store_rule_get(struct kk_store *store, int64_t id, struct kk_rule_row *ret,
		      struct kk_err *err);
/* Services' and denials. */
int kk_store_rule_list(struct kk_store *store,
		       int (*row)(const struct kk_rule_row *row, void *userdata), void *userdata,
		       struct kk_err *err);

/* @address, @service_name ("": all) and @expires_at are read; an earlier ban of the same is replaced. */
int kk_store_ban_add(struct kk_store *store, struct kk_ban_row *row, struct kk_err *err);
int kk_store_ban_get(struct kk_store *store, int64_t id, struct kk_ban_row *ret,
		     struct kk_err *err);
int kk_store_ban_list(struct kk_store *store,
		      int (*row)(const struct kk_ban_row *row, void *userdata), void *userdata,
		      struct kk_err *err);
int kk_store_ban_remove(struct kk_store *store, int64_t id, struct kk_err *err);
/* Removes the bans that are over at @now. */
int kk_store_ban_expire(struct kk_store *store, int64_t now, struct kk_err *err);

/* @row but id and generation is read. A group or a rule that has the host makes its removal -EBUSY. */
int kk_store_host_add(struct kk_store *store, struct kk_host_row *row, struct kk_err *err);
int kk_store_host_get(struct kk_store *store, const char *name, struct kk_host_row *ret,
		      struct kk_err *err);
int kk_store_host_list(struct kk_store *store,
		       int (*row)(const struct kk_host_row *row, void *userdata), void *userdata,
		       struct kk_err *err);
/* Gives the host of @row's id the prefixes of @row. */
int kk_store_host_set(struct kk_store *store, struct kk_host_row *row, struct kk_err *err);
int kk_store_host_remove(struct kk_store *store, const char *name, struct kk_err *err);

/* As above; -EINVAL where there is no host of a name. */
int kk_store_group_add(struct kk_store *store, struct kk_group_row *row, struct kk_err *err);
int kk_store_group_get(struct kk_store *store, const char *name, struct kk_group_row *ret,
		       struct kk_err *err);
int kk_store_group_list(struct kk_store *store,
			int (*row)(const struct kk_group_row *row, void *userdata), void *userdata,
			struct kk_err *err);
int kk_store_group_set(struct kk_store *store, struct kk_group_row *row, struct kk_err *err);
int kk_store_group_remove(struct kk_store *store, const char *name, struct kk_err *err);

/*
 * -EINVAL for a source or destination that is not there. The transaction fails with -EEXIST at its end where a rule
 * names a service that is open to all, and so would mean nothing.
 */
int kk_store_access_rule_add(struct kk_store *store, struct kk_access_rule_row *row,
			     struct kk_err *err);
int kk_store_access_rule_get(struct kk_store *store, const char *name,
			     struct kk_access_rule_row *ret, struct kk_err *err);
int kk_store_access_rule_list(struct kk_store *store,
			      int (*row)(const struct kk_access_rule_row *row, void *userdata),
			      void *userdata, struct kk_err *err);
/* Gives the rule of @row's id everything of @row but the name. */
int kk_store_access_rule_set(struct kk_store *store, struct kk_access_rule_row *row,
			     struct kk_err *err);
int kk_store_access_rule_remove(struct kk_store *store, const char *name, struct kk_err *err);

/* A node has said its WireGuard key; no change if it is the one that is known. */
int kk_store_node_set_key(struct kk_store *store, enum kk_kind role, int64_t id,
			  const uint8_t public_key[KK_KEY_LEN], struct kk_err *err);
/* Takes the node's key and its WireGuard key away. *@ret_id may be NULL. */
int kk_store_node_revoke(struct kk_store *store, enum kk_kind role, const char *name,
			 int64_t *ret_id, struct kk_err *err);
/* Which node's key it is; -EACCES if nobody's. */
int kk_store_node_find(struct kk_store *store, const uint8_t key_hash[KK_HASH_LEN],
		       enum kk_kind *ret_role, int64_t *ret_id, char ret_name[KK_NAME_MAX + 1],
		       struct kk_err *err);

/* All but the id is read, @node or @prefix; the id is filled in. */
int kk_store_token_add(struct kk_store *store, const uint8_t secret_hash[KK_HASH_LEN],
		       struct kk_token_row *row, struct kk_err *err);
/* Those that can still be spent at @now. */
int kk_store_token_list(struct kk_store *store, int64_t now,
			int (*row)(const struct kk_token_row *row, void *userdata), void *userdata,
			struct kk_err *err);
int kk_store_token_remove(struct kk_store *store, int64_t id, struct kk_err *err);
/*
 * Spends the token and gives its node, or the Agent that is made for it, the key with hash @key_hash, in
 * place of an earlier one. Whoever has the secret acts for its organisation: that is entered.
 */
int kk_store_token_spend(struct kk_store *store, const uint8_t secret_hash[KK_HASH_LEN],
			 const uint8_t key_hash[KK_HASH_LEN], int64_t now, const char *from,
			 enum kk_kind *ret_role, int64_t *ret_id, char ret_name[KK_NAME_MAX + 1],
			 struct kk_err *err);

/* What there is of all organisations. */
struct kk_store_counts {
	int64_t organisations, gateways, agents, services;
};

int kk_store_count(struct kk_store *store, struct kk_store_counts *ret, struct kk_err *err);
/*
 * A copy of the whole database as it is now, in one block that is freed with kk_store_backup_free(). The
 * @n_files of @files (name and content) are put into it, table "files".
 */
struct kk_store_file {
	const char *name;
	const void *data;
	size_t len;
};

int kk_store_backup(struct kk_store *store, const struct kk_store_file *files, size_t n_files,
		    void **ret, size_t *ret_len, struct kk_err *err);
void kk_store_backup_free(void *backup);

/*
 * The changes after generation @from, oldest first. -ESTALE if the log does not reach back that far, or
 * @from is not of this database.
 */
int kk_store_changes(struct kk_store *store, int64_t from,
		     int (*change)(const struct kk_change *change, void *userdata), void *userdata,
		     struct kk_err *err);
/* Those of them that concern this Agent, those of gateways first. */
int kk_store_agent_changes(struct kk_store *store, int64_t from, int64_t agent,
			   int (*change)(const struct kk_change *change, void *userdata),
			   void *userdata, struct kk_err *err);

#endif
