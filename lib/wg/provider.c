// SPDX-License-Identifier: MIT
#include "wg/provider.h"

#include <errno.h>
#include <strings.h>

#include <openssl/evp.h>
#include <openssl/provider.h>

/* The functions of the algorithm, or NULL. */
static const OSSL_DISPATCH *functions_of(const OSSL_PROVIDER *provider, int operation,
					 const char *name)
{
	const OSSL_DISPATCH *found = NULL;
	int no_cache;
	const OSSL_ALGORITHM *all = OSSL_PROVIDER_query_operation(provider, operation, &no_cache);

	for (const OSSL_ALGORITHM *a = all; a && a->algorithm_names && !found; a++)
		if (strcasecmp(a->algorithm_names, name) == 0)
			found = a->implementation;
	OSSL_PROVIDER_unquery_operation(provider, operation, all);
	return found;
}

static void take_chacha20(struct wg_provider *p, const OSSL_DISPATCH *f)
{
	for (; f && f->function_id; f++) {
		switch (f->function_id) {
		case OSSL_FUNC_CIPHER_NEWCTX:
			p->chacha20.new_ctx = OSSL_FUNC_cipher_newctx(f);
			break;
		case OSSL_FUNC_CIPHER_FREECTX:
			p->chacha20.free_ctx = OSSL_FUNC_cipher_freectx(f);
			break;
		case OSSL_FUNC_CIPHER_ENCRYPT_INIT:
			p->chacha20.init = OSSL_FUNC_cipher_encrypt_init(f);
			break;
		case OSSL_FUNC_CIPHER_CIPHER:
			p->chacha20.cipher = OSSL_FUNC_cipher_cipher(f);
			break;
		}
	}
}

static void take_poly1305(struct wg_provider *p, const OSSL_DISPATCH *f)
{
	for (; f && f->function_id; f++) {
		switch (f->function_id) {
		case OSSL_FUNC_MAC_NEWCTX:
			p->poly1305.new_ctx = OSSL_FUNC_mac_newctx(f);
			break;
		case OSSL_FUNC_MAC_FREECTX:
			p->poly1305.free_ctx = OSSL_FUNC_mac_freectx(f);
			break;
		case OSSL_FUNC_MAC_INIT:
			p->poly1305.init = OSSL_FUNC_mac_init(f);
			break;
		case OSSL_FUNC_MAC_UPDATE:
			p->poly1305.update = OSSL_FUNC_mac_update(f);
			break;
		case OSSL_FUNC_MAC_FINAL:
			p->poly1305.final = OSSL_FUNC_mac_final(f);
			break;
		}
	}
}

int wg_provider_init(struct wg_provider *p)
{
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "ChaCha20", "provider=default");
	const OSSL_PROVIDER *provider = cipher ? EVP_CIPHER_get0_provider(cipher) : NULL;

	if (!provider)
		return -ENOTSUP;
	take_chacha20(p, functions_of(provider, OSSL_OP_CIPHER, "ChaCha20"));
	take_poly1305(p, functions_of(provider, OSSL_OP_MAC, "POLY1305"));
	if (!p->chacha20.new_ctx || !p->chacha20.free_ctx || !p->chacha20.init ||
	    !p->chacha20.cipher || !p->poly1305.new_ctx || !p->poly1305.free_ctx ||
	    !p->poly1305.init || !p->poly1305.update || !p->poly1305.final)
		return -ENOTSUP;
	/* @cipher is kept: it keeps the provider. */
	p->ctx = OSSL_PROVIDER_get0_provider_ctx(provider);
	return 0;
}
