// SPDX-License-Identifier: MIT
#include "proto/token.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/encode.h"
#include "util/json.h"
#include "util/parse.h"

#define PREFIX	 "kkj1."
#define TEXT_MAX 1024 /* of the whole token; a good one has about 350 bytes */

struct fields {
	const char *url, *pin, *secret, *role, *node;
};

static const struct kk_json_field token_fields[] = {
	KK_JSON_FIELD("url", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, url, .max = 255),
	KK_JSON_FIELD("pin", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, pin, .max = 63),
	KK_JSON_FIELD("secret", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, secret, .min = 1,
		      .max = 63),
	KK_JSON_FIELD("role", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, role, .max = 15),
	KK_JSON_FIELD("node", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, node, .max = 39),
};

char *kk_token_format(const struct kk_token *token)
{
	KK_CLEANUP_JSON json_t *obj =
		json_pack("{s:s, s:s, s:s, s:s, s:s}", "url", token->url, "pin", token->pin,
			  "secret", token->secret, "role", token->role, "node", token->node);
	KK_CLEANUP_FREE char *json = obj ? kk_json_text(obj) : NULL;
	char *text;

	if (!json)
		return NULL;
	text = malloc(strlen(PREFIX) + KK_BASE64_LEN(strlen(json)) + 1);
	if (!text)
		return NULL;
	memcpy(text, PREFIX, strlen(PREFIX));
	kk_base64url(json, strlen(json), text + strlen(PREFIX));
	return text;
}

static int check_url(const char *url)
{
	char host[256];
	uint16_t port;

	if (strncmp(url, "https://", 8) != 0 || strpbrk(url + 8, "/?#@ "))
		return -EINVAL;
	return kk_parse_hostport("url", url + 8, false, host, sizeof(host), &port, NULL);
}

/* One word that says which part of the token is bad, or NULL. */
static const char *bad_part(const struct fields *f)
{
	uint8_t bytes[48];

	if (check_url(f->url) < 0)
		return "address";
	if (kk_key_parse(f->pin, bytes) < 0)
		return "pin";
	if (kk_unbase64url(f->secret, bytes, sizeof(bytes)) < 0)
		return "secret";
	if (strcmp(f->role, "gateway") != 0 && strcmp(f->role, "agent") != 0)
		return "role";
	if (kk_parse_name("node", f->node, NULL) < 0)
		return "node";
	return NULL;
}

static int bad_token(struct kk_err *err, const char *why)
{
	return kk_err_set(err, EINVAL, "token", "token: %s", why);
}

int kk_token_parse(const char *text, struct kk_token *ret, struct kk_err *err)
{
	KK_CLEANUP_JSON json_t *obj = NULL;
	struct kk_token token = {0};
	struct kk_err inner = {0};
	struct fields f = {0};
	char json[TEXT_MAX];
	const char *part;
	int len;

	if (strncmp(text, PREFIX, strlen(PREFIX)) != 0)
		return bad_token(err, "this is not a join token (they begin with " PREFIX ")");
	if (strlen(text) > TEXT_MAX)
		return bad_token(err, "this is not a join token: it is too long");
	len = kk_unbase64url(text + strlen(PREFIX), json, sizeof(json));
	if (len < 0)
		return bad_token(err, "the join token is damaged: was it copied whole?");
	obj = kk_json_parse(json, (size_t)len, &inner);
	if (!obj)
		return bad_token(err, "the join token is damaged: was it copied whole?");
	if (kk_json_read_lax(obj, token_fields, ARRAY_SIZE(token_fields), &f, &inner) < 0)
		return kk_err_set(err, EINVAL, "token", "token: the join token is not valid: %s",
				  inner.msg);
	part = bad_part(&f);
	if (part)
		return kk_err_set(err, EINVAL, "token", "token: the join token's %s is not valid",
				  part);
	/* The lengths were checked against the fields' sizes by the table. */
	strcpy(token.url, f.url);
	strcpy(token.pin, f.pin);
	strcpy(token.secret, f.secret);
	strcpy(token.role, f.role);
	strcpy(token.node, f.node);
	*ret = token;
	return 0;
}
