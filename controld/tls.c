// SPDX-License-Identifier: MIT
#include "controld/tls.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>

#include "util/cleanup.h"
#include "util/encode.h"
#include "util/file.h"
#include "util/log.h"

#define FILE_MAX     (64u << 10)
#define SERIAL_BYTES 16
#define NAME	     "kakuremichi control"

/* Callers know the key by its pin, so there is nothing that an end of validity could protect. */
#define VALID_S (100ll * 365 * 86400)

static char *bio_text(BIO *bio)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);

	return strndup(data, (size_t)len);
}

static char *key_text(EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL;

	if (bio && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1)
		text = bio_text(bio);
	BIO_free(bio);
	return text;
}

static char *cert_text(X509 *cert)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL;

	if (bio && PEM_write_bio_X509(bio, cert) == 1)
		text = bio_text(bio);
	BIO_free(bio);
	return text;
}

static EVP_PKEY *parse_key(const char *text)
{
	BIO *bio = BIO_new_mem_buf(text, -1);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;

	BIO_free(bio);
	return key;
}

static int set_serial(X509 *cert)
{
	unsigned char bytes[SERIAL_BYTES];
	BIGNUM *number;
	int ok;

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return 0;
	bytes[0] &= 0x7f;
	number = BN_bin2bn(bytes, sizeof(bytes), NULL);
	ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
	BN_free(number);
	return ok;
}

static char *make_cert(EVP_PKEY *key)
{
	X509 *cert = X509_new();
	X509_NAME *name = cert ? X509_get_subject_name(cert) : NULL;
	time_t now = time(NULL);
	char *text = NULL;

	if (cert && X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
	    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)NAME, -1,
				       -1, 0) == 1 &&
	    X509_set_issuer_name(cert, name) == 1 &&
	    /* A node's clock may be behind ours. */
	    X509_time_adj_ex(X509_getm_notBefore(cert), -1, 0, &now) &&
	    X509_time_adj_ex(X509_getm_notAfter(cert), VALID_S / 86400, 0, &now) &&
	    X509_set_pubkey(cert, key) == 1 && X509_sign(cert, key, EVP_sha256()))
		text = cert_text(cert);
	X509_free(cert);
	return text;
}

static int make_pin(EVP_PKEY *key, char pin[64])
{
	unsigned char hash[EVP_MAX_MD_SIZE], *der = NULL;
	unsigned int hash_len = 0;
	int len = i2d_PUBKEY(key, &der), ok;

	ok = len > 0 && EVP_Digest(der, (size_t)len, hash, &hash_len, EVP_sha256(), NULL) == 1;
	OPENSSL_free(der);
	if (!ok)
		return -ENOMEM;
	kk_base64(hash, hash_len, pin);
	return 0;
}

/* *@ret is NULL where there is no such file. */
static int read_pem(const char *path, char **ret, struct kk_err *err)
{
	int r = kk_file_read(path, FILE_MAX, ret, NULL);

	if (r == -ENOENT)
		*ret = NULL;
	else if (r < 0)
		return kk_err_set(err, -r, "state", "cannot read %s: %s", path, strerror(-r));
	return 0;
}

static int write_pem(const char *path, const char *text, mode_t mode, struct kk_err *err)
{
	int r = text ? kk_file_write(path, text, strlen(text), mode) : -ENOMEM;

	if (r < 0)
		return kk_err_set(err, -r, "state", "cannot write %s: %s", path, strerror(-r));
	return 0;
}

static int load_key(const char *path, char **text, EVP_PKEY **ret, struct kk_err *err)
{
	int r = read_pem(path, text, err);

	if (r < 0)
		return r;
	if (*text) {
		*ret = parse_key(*text);
		return *ret ? 0
			    : kk_err_set(err, EINVAL, "state", "%s is not a private key in PEM",
					 path);
	}
	*ret = EVP_EC_gen("P-256");
	if (!*ret)
		return kk_err_set(err, ENOMEM, NULL, "cannot make a TLS key");
	kk_info("making the TLS key %s", path);
	*text = key_text(*ret);
	return write_pem(path, *text, 0600, err);
}

static int load_cert(const char *path, EVP_PKEY *key, char **text, struct kk_err *err)
{
	int r = read_pem(path, text, err);

	if (r < 0 || *text)
		return r;
	*text = make_cert(key);
	return write_pem(path, *text, 0644, err);
}

int kk_tls_identity_load(const char *dir, struct kk_tls_identity *ret, struct kk_err *err)
{
	struct kk_tls_identity identity = {0};
	char path[PATH_MAX];
	EVP_PKEY *key = NULL;
	int r;

	snprintf(path, sizeof(path), "%s/tls.key", dir);
	r = load_key(path, &identity.key, &key, err);
	if (r == 0) {
		snprintf(path, sizeof(path), "%s/tls.crt", dir);
		r = load_cert(path, key, &identity.cert, err);
	}
	if (r == 0) {
		r = make_pin(key, identity.pin);
		if (r < 0)
			kk_err_set(err, -r, NULL, "cannot make the pin of the TLS key");
	}
	EVP_PKEY_free(key);
	if (r < 0)
		kk_tls_identity_clean(&identity);
	else
		*ret = identity;
	return r;
}

/* ---- what the operator gives ---- */

static int read_given(const char *field, const char *path, char **ret, struct kk_err *err)
{
	int r = kk_file_read(path, FILE_MAX, ret, NULL);

	if (r < 0)
		return kk_err_set(err, EINVAL, field, "%s: cannot read %s: %s", field, path,
				  strerror(-r));
	return 0;
}

/* Nobody is there to be asked for one. */
static int no_password(char *buf, int size, int writing, void *userdata)
{
	(void)buf;
	(void)size;
	(void)writing;
	*(bool *)userdata = true;
	return -1;
}

static EVP_PKEY *read_given_key(const char *path, const char *text, struct kk_err *err)
{
	BIO *bio = BIO_new_mem_buf(text, -1);
	bool encrypted = false;
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, &encrypted) : NULL;

	BIO_free(bio);
	if (!key)
		kk_err_set(err, EINVAL, "tls-key", "tls-key: %s %s", path,
			   encrypted ? "is encrypted" : "is not a private key in PEM");
	return key;
}

static X509 *read_given_cert(const char *path, const char *text, struct kk_err *err)
{
	BIO *bio = BIO_new_mem_buf(text, -1);
	X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

	BIO_free(bio);
	if (!cert)
		kk_err_set(err, EINVAL, "tls-cert", "tls-cert: %s is not a certificate in PEM",
			   path);
	return cert;
}

static int64_t unix_time(const ASN1_TIME *time)
{
	struct tm tm = {0};

	return ASN1_TIME_to_tm(time, &tm) == 1 ? timegm(&tm) : 0;
}

static int check_given(const char *cert_path, X509 *cert, const char *key_path, EVP_PKEY *key,
		       int64_t *ret_until, struct kk_err *err)
{
	const int64_t now = time(NULL), from = unix_time(X509_get0_notBefore(cert));
	time_t edge;
	char text[32];

	*ret_until = unix_time(X509_get0_notAfter(cert));
	if (X509_check_private_key(cert, key) != 1)
		return kk_err_set(err, EINVAL, "tls-key",
				  "tls-key: the key in %s is not that of the certificate in %s",
				  key_path, cert_path);
	if (from <= now && now < *ret_until)
		return 0;
	edge = from > now ? from : *ret_until;
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", gmtime(&edge));
	return kk_err_set(err, EINVAL, "tls-cert", "tls-cert: the certificate in %s %s %s",
			  cert_path, from > now ? "is not valid before" : "was valid until", text);
}

int kk_tls_identity_read(const char *cert_path, const char *key_path, struct kk_tls_identity *ret,
			 int64_t *ret_until, struct kk_err *err)
{
	struct kk_tls_identity identity = {0};
	EVP_PKEY *key = NULL;
	X509 *cert = NULL;
	int r = read_given("tls-cert", cert_path, &identity.cert, err);

	if (r == 0)
		r = read_given("tls-key", key_path, &identity.key, err);
	if (r == 0) {
		cert = read_given_cert(cert_path, identity.cert, err);
		key = cert ? read_given_key(key_path, identity.key, err) : NULL;
		r = key ? check_given(cert_path, cert, key_path, key, ret_until, err) : -EINVAL;
	}
	if (r == 0 && make_pin(key, identity.pin) < 0)
		r = kk_err_set(err, ENOMEM, NULL, "cannot make the pin of the TLS key");
	ERR_clear_error();
	X509_free(cert);
	EVP_PKEY_free(key);
	if (r < 0)
		kk_tls_identity_clean(&identity);
	else
		*ret = identity;
	return r;
}

void kk_tls_identity_clean(struct kk_tls_identity *identity)
{
	if (identity->key)
		explicit_bzero(identity->key, strlen(identity->key));
	free(identity->key);
	free(identity->cert);
	*identity = (struct kk_tls_identity){0};
}
