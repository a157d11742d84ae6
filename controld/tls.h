/* SPDX-License-Identifier: MIT */
/* Control's TLS identity: an ECDSA P-256 key with a self-signed certificate, made once, known by its pin. */
#ifndef KK_CONTROLD_TLS_H
#define KK_CONTROLD_TLS_H

#include "util/err.h"

struct kk_tls_identity {
	char *cert, *key; /* PEM */
	char pin[64];	  /* base64 SHA-256 of the SubjectPublicKeyInfo (RFC 7469 section 2.4) */
};

/* Reads @dir/tls.key and @dir/tls.crt, and makes what is missing. */
int kk_tls_identity_load(const char *dir, struct kk_tls_identity *ret, struct kk_err *err);
void kk_tls_identity_clean(struct kk_tls_identity *identity);

#endif
