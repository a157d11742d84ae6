/* SPDX-License-Identifier: MIT */
/* Keys and secrets: 32 random bytes as text, of which Control keeps the SHA-256. */
#ifndef KK_CONTROLD_SECRET_H
#define KK_CONTROLD_SECRET_H

#include <stdint.h>

#include "controld/store/store.h"

#define KK_SECRET_LEN	  64 /* of the text, with the final NUL */
#define KK_API_PREFIX	  "kka_"
#define KK_NODE_PREFIX	  "kkn_"
#define KK_SESSION_PREFIX "kks_"
#define KK_SESSION_COOKIE "kk_session"

/* A fresh secret behind @prefix ("" for a join secret), and its hash. -EIO when there is no randomness. */
int kk_secret_make(const char *prefix, char text[KK_SECRET_LEN], uint8_t hash[KK_HASH_LEN]);
int kk_secret_hash(const char *text, uint8_t hash[KK_HASH_LEN]);

#endif
