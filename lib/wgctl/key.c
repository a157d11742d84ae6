// SPDX-License-Identifier: MIT
#include "wgctl/wgctl.h"

#include <errno.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

int wgctl_genkey(uint8_t private_key[KK_KEY_LEN])
{
	if (RAND_priv_bytes(private_key, KK_KEY_LEN) != 1)
		return -EIO;
	/* RFC 7748 section 5: a multiple of 8, and bit 254 the highest one set. */
	private_key[0] &= 248;
	private_key[31] = (private_key[31] & 127) | 64;
	return 0;
}

int wgctl_pubkey(const uint8_t private_key[KK_KEY_LEN], uint8_t public_key[KK_KEY_LEN])
{
	size_t len = KK_KEY_LEN;
	EVP_PKEY *key =
		EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, private_key, KK_KEY_LEN);
	int r = -EIO;

	if (!key)
		return -ENOMEM;
	if (EVP_PKEY_get_raw_public_key(key, public_key, &len) == 1 && len == KK_KEY_LEN)
		r = 0;
	EVP_PKEY_free(key);
	return r;
}
