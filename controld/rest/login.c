// SPDX-License-Identifier: MIT
/* Users come in with a password and have a session from then on. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "controld/event.h"
#include "controld/rest/call.h"
#include "controld/secret.h"
#include "util/log.h"
#include "util/parse.h"

#define SESSION_S (12 * 3600)

struct fields {
	const char *organisation, *name, *password;
	bool cookie;
};

static const struct kk_json_field login_fields[] = {
	KK_JSON_FIELD("organisation", KK_JSON_STRING, 0, struct fields, organisation),
	KK_JSON_FIELD("name", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, name),
	KK_JSON_FIELD("password", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, password),
	KK_JSON_FIELD("cookie", KK_JSON_BOOL, 0, struct fields, cookie),
};

static int read_fields(struct kk_call *call, struct fields *f)
{
	*f = (struct fields){.organisation = "default", .cookie = true};
	return kk_json_read(call->body, login_fields, ARRAY_SIZE(login_fields), f, &call->err);
}

/* Who tries passwords is slowed down, by the account and by the address that it is done from. */
static int check_limits(struct kk_call *call, const struct fields *f)
{
	char account[192];

	snprintf(account, sizeof(account), "%.64s/%.64s", f->organisation, f->name);
	if (kk_attempts_allowed(&call->control->by_address, kk_call_from(call)) &&
	    kk_attempts_allowed(&call->control->by_account, account))
		return 0;
	return kk_err_set(&call->err, EAGAIN, NULL,
			  "there were too many attempts to log in; wait some seconds");
}

static void count_failure(struct kk_call *call, const struct fields *f)
{
	char account[192];

	snprintf(account, sizeof(account), "%.64s/%.64s", f->organisation, f->name);
	kk_attempts_failed(&call->control->by_address, kk_call_from(call));
	kk_attempts_failed(&call->control->by_account, account);
	kk_event(LOG_WARNING,
		 (const struct kk_event_field[]){{"event", "login-failed"},
						 {"user", f->name},
						 {"organisation", f->organisation},
						 {"from", kk_call_from(call)}},
		 4, "a login as %.64s failed", f->name);
}

int kk_login_prepare(struct kk_call *call)
{
	struct kk_store *store = call->control->store;
	struct kk_org_row org;
	struct fields f;
	int r = read_fields(call, &f);

	if (r == 0)
		r = check_limits(call, &f);
	if (r < 0)
		return r;
	/* An unknown organisation or user has no password, which is compared as slowly. */
	r = kk_store_org_get(store, f.organisation, &org, NULL);
	if (r == 0) {
		kk_store_enter(store, org.id, "nobody", kk_call_from(call));
		r = kk_store_user_get(store, f.name, &call->user, NULL);
		call->caller.org = org.id;
		strcpy(call->org_name, org.name);
	}
	return r == -ENOENT ? 0 : r;
}

static int set_cookie(struct kk_call *call, const char *secret, int64_t seconds)
{
	char value[256];

	snprintf(value, sizeof(value),
		 KK_SESSION_COOKIE "=%s; Path=/; Max-Age=%lld; HttpOnly; Secure; SameSite=Strict",
		 secret, (long long)seconds);
	return kk_httpd_add_header(call->req, "Set-Cookie", value);
}

static json_t *session_json(struct kk_call *call, int64_t expires_at)
{
	return json_pack("{s:s, s:s, s:s, s:I}", "organisation", call->org_name, "name",
			 call->user.name, "role", kk_access_name(call->user.access), "expires_at",
			 (json_int_t)expires_at);
}

static int start_session(struct kk_call *call, bool cookie)
{
	struct kk_store *store = call->control->store;
	char secret[KK_SECRET_LEN], csrf[KK_SECRET_LEN], who[KK_NAME_MAX + 16];
	int64_t now = time(NULL);
	uint8_t hash[KK_HASH_LEN];
	json_t *answer;
	int r = kk_secret_make(KK_SESSION_PREFIX, secret, hash);

	if (r == 0)
		r = kk_caller_csrf(secret, csrf);
	if (r < 0)
		return kk_err_set(&call->err, -r, NULL, "no secret could be made");
	snprintf(who, sizeof(who), "user %s", call->user.name);
	kk_store_enter(store, call->caller.org, who, kk_call_from(call));
	r = kk_store_session_add(store, hash, call->user.id, kk_call_from(call), now,
				 now + SESSION_S, &call->err);
	if (r < 0)
		return r;
	answer = session_json(call, now + SESSION_S);
	/* What is for a browser is not for the scripts that run there. */
	if (cookie) {
		r = set_cookie(call, secret, SESSION_S);
		json_object_set_new(answer, "csrf_token", json_string(csrf));
	} else {
		json_object_set_new(answer, "key", json_string(secret));
	}
	explicit_bzero(secret, sizeof(secret));
	if (r < 0) {
		json_decref(answer);
		return kk_err_set(&call->err, ENOMEM, NULL, "out of memory");
	}
	return kk_call_answer(call, 200, answer);
}

int kk_login(struct kk_call *call)
{
	struct kk_user_row now;
	struct fields f;
	int r = read_fields(call, &f);

	if (r < 0)
		return r;
	kk_store_enter(call->control->store, call->caller.org, "nobody", kk_call_from(call));
	/* The user may have been removed, or got another password, while this one was compared. */
	if (call->password_ok &&
	    kk_store_user_get(call->control->store, call->user.name, &now, NULL) == 0 &&
	    strcmp(now.password, call->user.password) == 0) {
		call->user = now;
		return start_session(call, f.cookie);
	}
	count_failure(call, &f);
	return kk_err_set(&call->err, EACCES, NULL, "name or password is wrong");
}

int kk_logout(struct kk_call *call)
{
	int r;

	if (!call->caller.session)
		return kk_err_set(&call->err, EINVAL, NULL,
				  "a key has no session; remove the key instead");
	r = kk_store_session_remove(call->control->store, call->caller.session, &call->err);
	if (r == 0)
		r = set_cookie(call, "", 0);
	call->access_changed = true;
	return r < 0 ? r : kk_call_answer(call, 200, kk_call_generation(call));
}

int kk_caller_show(struct kk_call *call)
{
	const struct kk_caller *c = &call->caller;
	const char *cookie = kk_httpd_cookie(call->req, KK_SESSION_COOKIE);
	char csrf[KK_SECRET_LEN];
	json_t *answer =
		json_pack("{s:s, s:s, s:s, s:s}", "kind", c->session ? "user" : "key", "name",
			  c->name, "role", kk_access_name(c->access), "organisation", c->org_name);

	/* A page that was loaded anew has its cookie still, but not the token. */
	if (c->session && cookie && !kk_httpd_header(call->req, "Authorization") &&
	    kk_caller_csrf(cookie, csrf) == 0)
		json_object_set_new(answer, "csrf_token", json_string(csrf));
	return kk_call_answer(call, 200, answer);
}

/* ---- the sessions that there are ---- */

static int append(const struct kk_session_row *row, void *userdata)
{
	struct kk_page *page = userdata;

	if (!kk_page_wants(page, row->id))
		return 0;
	return kk_page_add(page, row->id,
			   json_pack("{s:I, s:s, s:s, s:I, s:I}", "id", (json_int_t)row->id, "user",
				     row->user, "address", row->address, "created_at",
				     (json_int_t)row->created_at, "expires_at",
				     (json_int_t)row->expires_at));
}

int kk_sessions_list(struct kk_call *call)
{
	struct kk_page page;
	int r = kk_page_start(&page, call);

	if (r < 0)
		return r;
	return kk_page_answer(&page, kk_store_session_list(call->control->store, time(NULL), append,
							   &page, &call->err));
}

int kk_sessions_remove(struct kk_call *call)
{
	int64_t id;
	int r;

	if (kk_parse_int("id", call->name, 1, INT64_MAX, &id, NULL) < 0)
		return kk_err_set(&call->err, ENOENT, NULL, "there is no session \"%.32s\"",
				  call->name);
	r = kk_store_session_remove(call->control->store, id, &call->err);
	call->access_changed = true;
	return r < 0 ? r : kk_call_answer(call, 200, kk_call_generation(call));
}
