/* SPDX-License-Identifier: MIT */
/*
 * ChaCha20 and Poly1305 as OpenSSL's provider hands them out (provider-cipher(7), provider-mac(7)). EVP asks the
 * provider for parameters at each call; for a packet that is a tenth of what sealing it takes.
 */
#ifndef WG_PROVIDER_H
#define WG_PROVIDER_H

#include <openssl/core_dispatch.h>

struct wg_provider {
	void *ctx; /* the provider's own, for the two functions that make a context */
	struct {
		OSSL_FUNC_cipher_newctx_fn *new_ctx;
		OSSL_FUNC_cipher_freectx_fn *free_ctx; /* clears the key */
		OSSL_FUNC_cipher_encrypt_init_fn *init;
		OSSL_FUNC_cipher_cipher_fn *cipher;
	} chacha20;
	struct {
		OSSL_FUNC_mac_newctx_fn *new_ctx;
		OSSL_FUNC_mac_freectx_fn *free_ctx;
		OSSL_FUNC_mac_init_fn *init;
		OSSL_FUNC_mac_update_fn *update;
		OSSL_FUNC_mac_final_fn *final;
	} poly1305;
};

/* Returns 0, or -ENOTSUP where something is missing. */
int wg_provider_init(struct wg_provider *p);

#endif
