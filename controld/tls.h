/* SPDX-License-Identifier: MIT */
/*
 * Control's TLS identity, known by the pin of its key: an ECDSA P-256 key with a self-signed certificate that is made
 * once, or what the operator gives.
 */
#ifndef KK_CONTROLD_TLS_H
#define KK_CONTROLD_TLS_H

#include <stdint.h>

#include "util/err.h"

struct kk_tls_identity {
	char *cert, *key; /* PEM */
	char pin[64];	  /* base64 SHA-256 of the SubjectPublicKeyInfo (RFC 7469 section 2.4) */
};

/* Reads @dir/tls.key and @dir/tls.crt, and makes what is missing. */
int kk_tls_identity_load(const char *dir, struct kk_tls_identity *ret, struct kk_err *err);
/*
 * Reads what the operator gives: a certificate with its chain behind it, and its key. -EINVAL (field "tls-cert" or
 * "tls-key") for what cannot be read or is none, is no pair, or is not valid now. *@ret_until is the end of the
 * certificate's validity, UNIX seconds.
 */
int kk_tls_identity_read(const char *cert_path, const char *key_path, struct kk_tls_identity *ret,
			 int64_t *ret_until, struct kk_err *err);
void kk_tls_identity_clean(struct kk_tls_identity *identity);

#endif
