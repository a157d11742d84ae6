/* SPDX-License-Identifier: MIT */
/* What the files of the store share: statements that are kept, transactions, the next generation. */
#ifndef KK_CONTROLD_STORE_SQL_H
#define KK_CONTROLD_STORE_SQL_H

#include <sqlite3.h>

#include "controld/store/store.h"
#include "util/cleanup.h"

#define KK_STATEMENTS_MAX 256
#define KK_WHO_MAX	  96

struct kk_store {
	sqlite3 *db;
	struct {
		const char *sql; /* by its address */
		sqlite3_stmt *stmt;
	} statements[KK_STATEMENTS_MAX];
	size_t n_statements;
	char epoch[KK_EPOCH_LEN + 1];
	struct kk_prefix4 pool;
	struct kk_prefix pool6;
	uint8_t flow_key[KK_FLOW_KEY_LEN];
	int64_t generation;
	int64_t agent_hint; /* every Agent number below is taken */
	int64_t org;	    /* of the actor; 0: nothing is found */
	char who[KK_WHO_MAX], from[INET6_ADDRSTRLEN];
	unsigned int depth;		/* of transactions in transactions */
	bool failed;			/* one of them did */
	bool released;			/* services gave up their ports in it */
	bool check_access, check_rules; /* at its end, see access.c */
	struct kk_change *changes;	/* of the open transaction */
	size_t n_changes, changes_size;
	struct {
		int64_t from, generation; /* what @rows were read for, 0: nothing */
		struct kk_change *rows;
		size_t n, size;
		const struct kk_change **sorted; /* those that Agents hear of, by Agent */
		size_t n_sorted;
	} log; /* what is asked for many nodes in a row */
	void (*changed)(const struct kk_change *changes, size_t n, void *userdata);
	void *userdata;
};

/*
 * The statement for @sql, a literal that lives as long as the store, reset and with its parameters bound:
 * a letter of @types each: i int64_t, t text (NULL: null), b a blob of KK_HASH_LEN bytes (NULL: null),
 * B a blob and its length as int64_t.
 * NULL with @err on failure. Reset it with kk_sql_done() when rows are left over.
 */
sqlite3_stmt *kk_sql(struct kk_store *store, struct kk_err *err, const char *sql, const char *types,
		     ...);
/* 1: a row, 0: the end (and the statement is reset), or -EIO. */
int kk_sql_step(struct kk_store *store, sqlite3_stmt *stmt, struct kk_err *err);
void kk_sql_done(sqlite3_stmt *stmt);
/* For a statement that returns no rows. */
#define kk_sql_run(store, err, sql, types, ...)                                                    \
	kk_sql_finish(store, kk_sql(store, err, sql, types, ##__VA_ARGS__), err)
int kk_sql_finish(struct kk_store *store, sqlite3_stmt *stmt, struct kk_err *err);
/* The first column of the only row; -ENOENT without @err if there is none. */
#define kk_sql_number(store, ret, err, sql, types, ...)                                            \
	kk_sql_only(store, kk_sql(store, err, sql, types, ##__VA_ARGS__), ret, err)
int kk_sql_only(struct kk_store *store, sqlite3_stmt *stmt, int64_t *ret, struct kk_err *err);
int kk_sql_failed(struct kk_store *store, struct kk_err *err);
/*
 * Reads every row of @stmt into the variable @one by @read(stmt, &one) and calls @row(&one, userdata) with it,
 * until that returns non-zero, which is what it comes to then; or 0, or -EIO.
 */
#define kk_sql_each(store, stmt, read, one, row, userdata, err)                                    \
	({                                                                                         \
		sqlite3_stmt *const stmt_ = (stmt);                                                \
		int r_;                                                                            \
                                                                                                   \
		while ((r_ = kk_sql_step(store, stmt_, err)) > 0) {                                \
			read(stmt_, &(one));                                                       \
			r_ = row(&(one), userdata);                                                \
			if (r_) {                                                                  \
				kk_sql_done(stmt_);                                                \
				break;                                                             \
			}                                                                          \
		}                                                                                  \
		r_;                                                                                \
	})
/* Reads the only row of @stmt into *@ret by @read(stmt, ret): 0, -ENOENT without @err where there is none, or -EIO. */
#define kk_sql_one(store, stmt, read, ret, err)                                                    \
	({                                                                                         \
		sqlite3_stmt *const stmt_ = (stmt);                                                \
		int r_ = kk_sql_step(store, stmt_, err);                                           \
                                                                                                   \
		if (r_ > 0) {                                                                      \
			read(stmt_, ret);                                                          \
			kk_sql_done(stmt_);                                                        \
		}                                                                                  \
		r_ > 0 ? 0 : r_ < 0 ? r_ : -ENOENT;                                                \
	})
/* 0 where @stmt has no row; -EEXIST, "name: there is already @what @name", where it has one; or -EIO. */
int kk_sql_free(struct kk_store *store, sqlite3_stmt *stmt, const char *what, const char *name,
		struct kk_err *err);
/* Says in @err of an object that was looked for, @r as of kk_sql_one(), that there is none; returns @r. */
int kk_sql_named(int r, const char *what, const char *name, struct kk_err *err);
int kk_sql_numbered(int r, const char *what, int64_t id, struct kk_err *err);
/* Copies a text column, cut to @len. */
void kk_sql_text(sqlite3_stmt *stmt, int column, char *out, size_t len);
/* A key column; false for null. */
bool kk_sql_key(sqlite3_stmt *stmt, int column, uint8_t key[KK_KEY_LEN]);

/* An address as text in a column; none for "". */
struct kk_address kk_sql_address(sqlite3_stmt *stmt, int column);
struct kk_prefix kk_sql_prefix(sqlite3_stmt *stmt, int column);

/*
 * A transaction. kk_tx_end() commits where @r is 0, else rolls back, and returns what is to be returned.
 * One within another is a part of it.
 */
int kk_tx_begin(struct kk_store *store, struct kk_err *err);
int kk_tx_end(struct kk_store *store, int r, struct kk_err *err);
/* The generation that the open transaction makes. */
int64_t kk_tx_generation(const struct kk_store *store);
/* Notes a change in the log. */
int kk_tx_change(struct kk_store *store, enum kk_kind kind, enum kk_op op, int64_t id,
		 int64_t agent, struct kk_err *err);

/*
 * ports.c: -EEXIST where another service has one of @row's ports on an address that it would be published on, or a
 * gateway has one for WireGuard.
 */
int kk_ports_check(struct kk_store *store, const struct kk_service_row *row, struct kk_err *err);
/* Chooses row->agent_port: what it is, the public port, or the lowest range that is free on every member. */
int kk_ports_choose(struct kk_store *store, struct kk_service_row *row, struct kk_err *err);
const char *kk_ports_text(uint16_t first, uint16_t last, char out[12]);
const char *kk_ports_protocol(uint8_t protocol);
/*
 * plain.c: sets row->agent_port of a service with snat, which is the target's port since nobody passes connections on
 * there. -EINVAL: a plain peer cannot serve that; -EEXIST: another service leads to one of the ports.
 */
int kk_plain_settle(struct kk_store *store, struct kk_service_row *row, struct kk_err *err);

/* members.c: @row's names as ids, without twins and in order. -EINVAL: there is no such Agent. */
int kk_members_find(struct kk_store *store, struct kk_service_row *row, struct kk_err *err);
int kk_members_write(struct kk_store *store, const struct kk_service_row *row, struct kk_err *err);
/* Notes @op for the gateways, and for the Agents of @before and @after what it is to each. */
int kk_members_note(struct kk_store *store, enum kk_op op, const struct kk_service_row *before,
		    const struct kk_service_row *after, struct kk_err *err);

/*
 * rules.c: brings the service's own rules to those of @row, touching only what differs; and then those that follow
 * from access rules to what they are now, for one service or for all whose access rules are of a source.
 */
int kk_rules_write(struct kk_store *store, const struct kk_service_row *row, struct kk_err *err);
int kk_rules_follow(struct kk_store *store, int64_t service, struct kk_err *err);
/* access.c: the same for every service that a rule of the host, or of the group, lets in to; the other is 0. */
int kk_access_follow(struct kk_store *store, int64_t host, int64_t group, struct kk_err *err);
/* Rules that mean nothing, and more prefixes than a gateway takes, where a transaction may have made such. */
int kk_access_check(struct kk_store *store, struct kk_err *err);
/* hosts.c: -EEXIST where a host or a group has the name. */
int kk_host_name_free(struct kk_store *store, const char *name, struct kk_err *err);
/* -EBUSY where a row of @stmt (kind, name) has the object "host x" of @what and @name. */
int kk_sql_unused(struct kk_store *store, sqlite3_stmt *stmt, const char *what, const char *name,
		  struct kk_err *err);

/* Notes the actor's changes of every table that people know of in the audit log, from now on. */
int kk_audit_start(struct kk_store *store, struct kk_err *err);

/* migrations.c: brings the schema up to @version, KK_SCHEMA_VERSION but for tests. */
int kk_store_migrate(sqlite3 *db, const char *path, int version, struct kk_err *err);

#endif
