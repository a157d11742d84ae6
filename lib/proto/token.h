/* SPDX-License-Identifier: MIT */
/* Join tokens as doc/protocol.md gives them: where Control is, how to know it, and a secret. */
#ifndef KK_PROTO_TOKEN_H
#define KK_PROTO_TOKEN_H

#include "util/err.h"

struct kk_token {
	char url[256];	 /* https://HOST:PORT */
	char pin[64];	 /* base64 SHA-256 of the SubjectPublicKeyInfo */
	char secret[64]; /* base64url */
	char role[16];	 /* "gateway" or "agent" */
	char node[40];
};

/* Returns a fresh text that the caller frees, or NULL when memory is short. */
char *kk_token_format(const struct kk_token *token);
/* -EINVAL with @err (field "token") for anything that is not a whole token. */
int kk_token_parse(const char *text, struct kk_token *ret, struct kk_err *err);

#endif
