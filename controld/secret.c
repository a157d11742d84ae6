// SPDX-License-Identifier: MIT
#include "controld/secret.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include <openssl/evp.h>

#include "util/encode.h"

#define SECRET_BYTES 32

int kk_secret_hash(const char *text, uint8_t hash[KK_HASH_LEN])
{
	unsigned int len = 0;

	if (EVP_Digest(text, strlen(text), hash, &len, EVP_sha256(), NULL) != 1 ||
	    len != KK_HASH_LEN)
		return -EIO;
	return 0;
}

int kk_secret_make(const char *prefix, char text[KK_SECRET_LEN], uint8_t hash[KK_HASH_LEN])
{
	uint8_t random[SECRET_BYTES];

	_Static_assert(KK_BASE64_LEN(SECRET_BYTES) + 1 + sizeof(KK_API_PREFIX) <= KK_SECRET_LEN,
		       "a secret fits");
	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -EIO;
	strcpy(text, prefix);
	kk_base64url(random, sizeof(random), text + strlen(prefix));
	explicit_bzero(random, sizeof(random));
	return kk_secret_hash(text, hash);
}
