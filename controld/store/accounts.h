/* SPDX-License-Identifier: MIT */
/*
 * Who may use Control: organisations, their users, the users' sessions, API keys. As with the rest of the
 * store, what goes by names is of the organisation that was entered, and errors are those of store.h.
 */
#ifndef KK_CONTROLD_STORE_ACCOUNTS_H
#define KK_CONTROLD_STORE_ACCOUNTS_H

#include "controld/store/store.h"

#define KK_PASSWORD_MAX 256 /* of the text that stands for a password */

/* What a caller may do; each may do what those before it may. The values are in the database. */
enum kk_access {
	KK_NOBODY = 0,
	KK_VIEWER = 1,
	KK_OPERATOR = 2,
	KK_ADMIN = 3,
	KK_OWNER = 4,
};

/* "viewer" */
const char *kk_access_name(enum kk_access access);
/* -EINVAL with @err (field "role") for what is none that can be given. */
int kk_access_parse(const char *text, enum kk_access *ret, struct kk_err *err);

struct kk_org_row {
	int64_t id;
	char name[KK_NAME_MAX + 1];
	int64_t created_at;
};

struct kk_user_row {
	int64_t id;
	char name[KK_NAME_MAX + 1];
	enum kk_access access;
	int64_t created_at;
	char password[KK_PASSWORD_MAX]; /* what stands for it (controld/password.h) */
};

struct kk_api_key_row {
	int64_t id;
	char name[KK_NAME_MAX + 1];
	enum kk_access access;
	int64_t created_at, expires_at; /* UNIX seconds; 0: never */
};

struct kk_session_row {
	int64_t id, created_at, expires_at;
	char user[KK_NAME_MAX + 1], address[INET6_ADDRSTRLEN];
};

/* Who makes a call, found by what the call carries. */
struct kk_caller {
	int64_t org, user, session, key; /* ids; user and session, or key, are 0 */
	enum kk_access access;
	char name[KK_NAME_MAX + 1];
	char who[KK_NAME_MAX + 16]; /* "user ann", "key admin", for the audit log */
	char org_name[KK_NAME_MAX + 1];
};

/* Makes an organisation; it is not entered. */
int kk_store_org_add(struct kk_store *store, struct kk_org_row *row, struct kk_err *err);
int kk_store_org_get(struct kk_store *store, const char *name, struct kk_org_row *ret,
		     struct kk_err *err);
int kk_store_org_list(struct kk_store *store,
		      int (*row)(const struct kk_org_row *row, void *userdata), void *userdata,
		      struct kk_err *err);
/* -EBUSY while it has a gateway or an Agent, and for KK_ORG_FIRST. Its users and keys go with it. */
int kk_store_org_remove(struct kk_store *store, const char *name, struct kk_err *err);

/* An organisation keeps somebody who may do everything: the last owner's removal is -EBUSY. */
int kk_store_user_add(struct kk_store *store, struct kk_user_row *row, struct kk_err *err);
int kk_store_user_get(struct kk_store *store, const char *name, struct kk_user_row *ret,
		      struct kk_err *err);
int kk_store_user_list(struct kk_store *store,
		       int (*row)(const struct kk_user_row *row, void *userdata), void *userdata,
		       struct kk_err *err);
/* Gives the user of @row's id its role and password. With another password every session ends. */
int kk_store_user_set(struct kk_store *store, const struct kk_user_row *row, struct kk_err *err);
int kk_store_user_remove(struct kk_store *store, const char *name, struct kk_err *err);

int kk_store_session_add(struct kk_store *store, const uint8_t hash[KK_HASH_LEN], int64_t user,
			 const char *address, int64_t now, int64_t expires_at, struct kk_err *err);
/* -EACCES where the session is unknown or over. */
int kk_store_session_find(struct kk_store *store, const uint8_t hash[KK_HASH_LEN], int64_t now,
			  struct kk_caller *ret, struct kk_err *err);
int kk_store_session_list(struct kk_store *store, int64_t now,
			  int (*row)(const struct kk_session_row *row, void *userdata),
			  void *userdata, struct kk_err *err);
int kk_store_session_remove(struct kk_store *store, int64_t id, struct kk_err *err);

/* @row's name, access and expires_at are read. */
int kk_store_api_key_add(struct kk_store *store, const uint8_t hash[KK_HASH_LEN],
			 struct kk_api_key_row *row, struct kk_err *err);
/* Makes or replaces the owner's key of that name. */
int kk_store_api_key_put(struct kk_store *store, const uint8_t hash[KK_HASH_LEN], const char *name,
			 struct kk_err *err);
/* -EACCES where the key is unknown, removed or has expired at @now. */
int kk_store_api_key_find(struct kk_store *store, const uint8_t hash[KK_HASH_LEN], int64_t now,
			  struct kk_caller *ret, struct kk_err *err);
int kk_store_api_key_get(struct kk_store *store, const char *name, struct kk_api_key_row *ret,
			 struct kk_err *err);
int kk_store_api_key_list(struct kk_store *store,
			  int (*row)(const struct kk_api_key_row *row, void *userdata),
			  void *userdata, struct kk_err *err);
int kk_store_api_key_remove(struct kk_store *store, const char *name, struct kk_err *err);

/* -EBUSY if the organisation that was entered would be without an owner; for the files of the store. */
int kk_store_check_owner(struct kk_store *store, const char *what, struct kk_err *err);

#endif
