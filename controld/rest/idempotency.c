// SPDX-License-Identifier: MIT
/*
 * Idempotency-Key: who asks for a creation a second time gets the first answer. An answer has secrets in it, of
 * which Control keeps nothing that it could read: it is sealed (AES-256-GCM) with a key made of the caller's own
 * secret, of which Control has the hash only.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>

#include "controld/rest/operations.h"
#include "controld/secret.h"
#include "controld/store/answers.h"

#define KEY_MAX	 128
#define NONCE	 12
#define TAG	 16
#define OVERHEAD (NONCE + TAG)

struct names {
	uint8_t id[KK_HASH_LEN], key[KK_HASH_LEN], request[KK_HASH_LEN];
};

/* @count texts as one hash, each with its end. */
static int hash_texts(const char *const *texts, size_t count, uint8_t hash[KK_HASH_LEN])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;

	for (size_t i = 0; i < count && ok; i++)
		ok = EVP_DigestUpdate(ctx, texts[i], strlen(texts[i]) + 1) == 1;
	ok = ok && EVP_DigestFinal_ex(ctx, hash, NULL) == 1;
	EVP_MD_CTX_free(ctx);
	return ok ? 0 : -EIO;
}

/* 0: the call has no Idempotency-Key; 1: @ret is filled in. */
static int read_names(struct kk_call *call, struct names *ret)
{
	const char *key = kk_httpd_header(call->req, "Idempotency-Key");
	const char *secret = kk_httpd_header(call->req, "Authorization");
	size_t len = key ? strlen(key) : 0;
	int r;

	if (!key || !(call->op->flags & KK_OP_CREATE))
		return 0;
	if (!len || len > KEY_MAX)
		return kk_err_set(&call->err, EINVAL, "Idempotency-Key",
				  "Idempotency-Key: 1 to %d characters are wanted", KEY_MAX);
	if (!secret)
		secret = kk_httpd_cookie(call->req, KK_SESSION_COOKIE);
	if (!secret)
		return 0;
	r = hash_texts((const char *[]){"id", secret, key}, 3, ret->id);
	if (r == 0)
		r = hash_texts((const char *[]){"key", secret, key}, 3, ret->key);
	if (r == 0)
		r = hash_texts((const char *[]){call->op->id, kk_httpd_body(call->req, &len)}, 2,
			       ret->request);
	return r < 0 ? kk_err_set(&call->err, EIO, NULL, "no hash could be made") : 1;
}

/* @out gets the nonce, the text and the tag. */
static int seal(const uint8_t key[KK_HASH_LEN], const char *text, size_t len, uint8_t *out)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t hash[KK_HASH_LEN];
	char unused[KK_SECRET_LEN];
	int n = 0, ok;

	ok = kk_secret_make("", unused, hash) == 0;
	memcpy(out, hash, NONCE);
	ok = ok && ctx && EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, out) == 1 &&
	     EVP_EncryptUpdate(ctx, out + NONCE, &n, (const uint8_t *)text, (int)len) == 1 &&
	     EVP_EncryptFinal_ex(ctx, out + NONCE + n, &n) == 1 &&
	     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG, out + NONCE + len) == 1;
	EVP_CIPHER_CTX_free(ctx);
	return ok ? 0 : -EIO;
}

static char *unseal(const uint8_t key[KK_HASH_LEN], const uint8_t *sealed, size_t len)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	char *text = len > OVERHEAD ? calloc(1, len - OVERHEAD + 1) : NULL;
	int n = 0, ok;

	ok = text && ctx && EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, sealed) == 1 &&
	     EVP_DecryptUpdate(ctx, (uint8_t *)text, &n, sealed + NONCE, (int)(len - OVERHEAD)) ==
		     1 &&
	     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG, (void *)(sealed + len - TAG)) ==
		     1 &&
	     EVP_DecryptFinal_ex(ctx, (uint8_t *)text + n, &n) == 1;
	EVP_CIPHER_CTX_free(ctx);
	if (ok)
		return text;
	free(text);
	return NULL;
}

static int give_again(struct kk_call *call, const struct names *names,
		      const struct kk_answer_row *row)
{
	KK_CLEANUP_FREE char *text = NULL;
	json_t *answer;

	if (memcmp(row->request, names->request, KK_HASH_LEN) != 0)
		return kk_err_set(&call->err, EEXIST, "Idempotency-Key",
				  "Idempotency-Key: it came with another request before");
	text = unseal(names->key, row->sealed, row->len);
	answer = text ? kk_json_parse(text, strlen(text), NULL) : NULL;
	if (!answer)
		return kk_err_set(&call->err, EIO, NULL, "an earlier answer is damaged");
	kk_httpd_add_header(call->req, "Idempotent-Replayed", "true");
	return kk_call_answer(call, row->status, answer);
}

int kk_answer_find(struct kk_call *call)
{
	struct kk_answer_row row;
	struct names names;
	int r = read_names(call, &names);

	if (r <= 0)
		return r;
	r = kk_store_answer_get(call->control->store, names.id, time(NULL), &row, &call->err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = give_again(call, &names, &row);
	free(row.sealed);
	if (r == 0 && call->op->flags & KK_OP_WAIT)
		r = kk_call_wait(call, NULL, 0);
	return r < 0 ? r : 1;
}

int kk_answer_keep(struct kk_call *call)
{
	KK_CLEANUP_FREE char *text = NULL;
	KK_CLEANUP_FREE uint8_t *sealed = NULL;
	struct kk_answer_row row;
	struct names names;
	size_t len;
	int r = read_names(call, &names);

	if (r <= 0)
		return r;
	text = kk_json_text(call->answer);
	len = text ? strlen(text) : 0;
	sealed = len ? malloc(len + OVERHEAD) : NULL;
	if (!sealed || seal(names.key, text, len, sealed) < 0)
		return kk_err_set(&call->err, EIO, NULL, "the answer could not be kept");
	row = (struct kk_answer_row){
		.status = call->status, .sealed = sealed, .len = len + OVERHEAD};
	memcpy(row.request, names.request, KK_HASH_LEN);
	return kk_store_answer_add(call->control->store, names.id, &row, time(NULL), &call->err);
}

void kk_answer_forget(struct kk_call *call)
{
	struct names names;

	if (read_names(call, &names) > 0)
		kk_store_answer_remove(call->control->store, names.id, NULL);
}
