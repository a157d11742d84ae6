// SPDX-License-Identifier: MIT
#include "controld/password.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/random.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "util/cleanup.h"
#include "util/encode.h"

/* 32 MiB and some 100 ms of one core. */
#define LOG2_N	 15
#define BLOCK_R	 8
#define PARALLEL 1
#define SALT_LEN 16
#define KEY_LEN	 32
#define MEMORY	 (64u << 20)
#define LOG2_MAX 20 /* of what is stored, so that nothing stored can take all the memory */

/* ---- the function ---- */

static int derive(const char *password, const uint8_t *salt, size_t salt_len, unsigned int log2_n,
		  uint32_t r, uint32_t p, uint8_t key[KEY_LEN])
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "SCRYPT", NULL);
	EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	uint64_t n = 1ull << log2_n, memory = MEMORY << (log2_n > LOG2_N ? log2_n - LOG2_N : 0);
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PASSWORD, (void *)password,
						  strlen(password)),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)salt, salt_len),
		OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_N, &n),
		OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_R, &r),
		OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_P, &p),
		OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_MAXMEM, &memory),
		OSSL_PARAM_construct_end(),
	};
	int ok = ctx && EVP_KDF_derive(ctx, key, KEY_LEN, params) == 1;

	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return ok ? 0 : -EIO;
}

int kk_password_make(const char *password, char text[256])
{
	char salt_text[KK_BASE64_LEN(SALT_LEN) + 1], key_text[KK_BASE64_LEN(KEY_LEN) + 1];
	uint8_t salt[SALT_LEN], key[KEY_LEN];
	int r;

	if (getrandom(salt, sizeof(salt), 0) != (ssize_t)sizeof(salt))
		return -EIO;
	r = derive(password, salt, sizeof(salt), LOG2_N, BLOCK_R, PARALLEL, key);
	if (r < 0)
		return r;
	kk_base64url(salt, sizeof(salt), salt_text);
	kk_base64url(key, sizeof(key), key_text);
	snprintf(text, 256, "scrypt$%d$%d$%d$%s$%s", LOG2_N, BLOCK_R, PARALLEL, salt_text,
		 key_text);
	return 0;
}

int kk_password_check(const char *password, const char *stored, bool *ret)
{
	char salt_text[64], key_text[64];
	uint8_t salt[48], wanted[KEY_LEN], key[KEY_LEN];
	unsigned int log2_n;
	uint32_t block, parallel;
	int salt_len, r;

	if (!*stored) {
		/* Nobody's: as slow as somebody's, so that nobody can tell. */
		memset(salt, 0, sizeof(salt));
		*ret = false;
		return derive(password, salt, SALT_LEN, LOG2_N, BLOCK_R, PARALLEL, key);
	}
	if (sscanf(stored, "scrypt$%u$%u$%u$%63[^$]$%63[^$]", &log2_n, &block, &parallel, salt_text,
		   key_text) != 5 ||
	    log2_n < 1 || log2_n > LOG2_MAX || !block || block > 32 || !parallel || parallel > 16)
		return -EINVAL;
	salt_len = kk_unbase64url(salt_text, salt, sizeof(salt));
	if (salt_len <= 0 || kk_unbase64url(key_text, wanted, sizeof(wanted)) != KEY_LEN)
		return -EINVAL;
	r = derive(password, salt, (size_t)salt_len, log2_n, block, parallel, key);
	if (r == 0)
		*ret = CRYPTO_memcmp(key, wanted, KEY_LEN) == 0;
	return r;
}

int kk_password_acceptable(const char *password, struct kk_err *err)
{
	size_t n = 0;

	for (const char *at = password; *at; at++)
		n += ((unsigned char)*at & 0xc0) != 0x80;
	if (n < KK_PASSWORD_MIN || strlen(password) > KK_PASSWORD_LONG)
		return kk_err_set(err, EINVAL, "password",
				  "password: %zu characters; %d at least and %d bytes at most are "
				  "wanted",
				  n, KK_PASSWORD_MIN, KK_PASSWORD_LONG);
	return 0;
}

/* ---- beside the event loop ---- */

struct kk_password_job {
	char *password, *stored;
	void (*done)(const struct kk_password_result *result, void *userdata); /* NULL: cancelled */
	void *userdata;
	struct kk_password_result result;
	TAILQ_ENTRY(kk_password_job) link;
};

TAILQ_HEAD(jobs, kk_password_job);

struct kk_passwords {
	sd_event_source *source;
	int fd; /* counts what is done */
	pthread_t thread;
	bool started, ending;
	pthread_mutex_t mutex;
	pthread_cond_t work;
	struct jobs waiting, done; /* under @mutex */
	size_t n;		   /* jobs that are not done; the loop's */
};

static void free_job(struct kk_password_job *job)
{
	if (job->password)
		explicit_bzero(job->password, strlen(job->password));
	free(job->password);
	free(job->stored);
	free(job);
}

static void work_on(struct kk_password_job *job)
{
	struct kk_password_result *result = &job->result;

	result->error = job->stored ? kk_password_check(job->password, job->stored, &result->ok)
				    : kk_password_make(job->password, result->text);
}

static void *worker(void *userdata)
{
	struct kk_passwords *p = userdata;
	const uint64_t one = 1;
	struct kk_password_job *job;

	pthread_mutex_lock(&p->mutex);
	while (!p->ending) {
		job = TAILQ_FIRST(&p->waiting);
		if (!job) {
			pthread_cond_wait(&p->work, &p->mutex);
			continue;
		}
		TAILQ_REMOVE(&p->waiting, job, link);
		pthread_mutex_unlock(&p->mutex);
		work_on(job);
		pthread_mutex_lock(&p->mutex);
		TAILQ_INSERT_TAIL(&p->done, job, link);
		if (write(p->fd, &one, sizeof(one)) < 0)
			break; /* a counter of jobs does not overflow */
	}
	pthread_mutex_unlock(&p->mutex);
	return NULL;
}

static int on_done(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct kk_passwords *p = userdata;
	struct kk_password_job *job;
	uint64_t count;

	(void)source;
	(void)revents;
	if (read(fd, &count, sizeof(count)) < 0)
		return 0;
	for (;;) {
		pthread_mutex_lock(&p->mutex);
		job = TAILQ_FIRST(&p->done);
		if (job)
			TAILQ_REMOVE(&p->done, job, link);
		pthread_mutex_unlock(&p->mutex);
		if (!job)
			return 0;
		p->n--;
		if (job->done)
			job->done(&job->result, job->userdata);
		free_job(job);
	}
}

int kk_passwords_new(sd_event *event, struct kk_passwords **ret)
{
	struct kk_passwords *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	TAILQ_INIT(&p->waiting);
	TAILQ_INIT(&p->done);
	pthread_mutex_init(&p->mutex, NULL);
	pthread_cond_init(&p->work, NULL);
	p->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = p->fd < 0 ? -errno : sd_event_add_io(event, &p->source, p->fd, EPOLLIN, on_done, p);
	if (r >= 0) {
		r = -pthread_create(&p->thread, NULL, worker, p);
		p->started = r == 0;
	}
	if (r < 0) {
		kk_passwords_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

void kk_passwords_free(struct kk_passwords *p)
{
	struct kk_password_job *job;

	if (!p)
		return;
	pthread_mutex_lock(&p->mutex);
	p->ending = true;
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->mutex);
	if (p->started)
		pthread_join(p->thread, NULL);
	while ((job = TAILQ_FIRST(&p->waiting))) {
		TAILQ_REMOVE(&p->waiting, job, link);
		free_job(job);
	}
	while ((job = TAILQ_FIRST(&p->done))) {
		TAILQ_REMOVE(&p->done, job, link);
		free_job(job);
	}
	sd_event_source_disable_unref(p->source);
	kk_close(p->fd);
	pthread_mutex_destroy(&p->mutex);
	pthread_cond_destroy(&p->work);
	free(p);
}

int kk_passwords_submit(struct kk_passwords *p, const char *password, const char *stored,
			void (*done)(const struct kk_password_result *result, void *userdata),
			void *userdata, struct kk_password_job **ret)
{
	struct kk_password_job *job;

	if (p->n >= KK_PASSWORD_QUEUED)
		return -EBUSY;
	job = calloc(1, sizeof(*job));
	if (!job)
		return -ENOMEM;
	job->password = strdup(password);
	job->stored = stored ? strdup(stored) : NULL;
	if (!job->password || (stored && !job->stored)) {
		free_job(job);
		return -ENOMEM;
	}
	job->done = done;
	job->userdata = userdata;
	p->n++;
	pthread_mutex_lock(&p->mutex);
	TAILQ_INSERT_TAIL(&p->waiting, job, link);
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->mutex);
	*ret = job;
	return 0;
}

void kk_password_cancel(struct kk_password_job *job)
{
	if (job)
		job->done = NULL;
}
