// SPDX-License-Identifier: MIT
#include "agentd/joining.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "util/cleanup.h"
#include "util/encode.h"
#include "util/file.h"

#define HASH_LEN  32
#define MARK_SIZE (2 * HASH_LEN + 1)

static int file_path(const char *run_dir, char path[PATH_MAX], struct kk_err *err)
{
	if (snprintf(path, PATH_MAX, "%s/joining", run_dir) >= PATH_MAX)
		return kk_err_set(err, ENAMETOOLONG, "run-dir", "run-dir: the path is too long");
	return 0;
}

/* Every joining gives the node another key. */
static int make_mark(const struct kk_identity *identity, char mark[MARK_SIZE], struct kk_err *err)
{
	uint8_t hash[EVP_MAX_MD_SIZE];
	unsigned int len = 0;

	if (EVP_Digest(identity->key, strlen(identity->key), hash, &len, EVP_sha256(), NULL) != 1 ||
	    len != HASH_LEN)
		return kk_err_set(err, EIO, NULL, "a key could not be hashed");
	kk_hex(hash, HASH_LEN, mark);
	return 0;
}

int joining_changed(const char *run_dir, const struct kk_identity *identity, struct kk_err *err)
{
	char path[PATH_MAX], mark[MARK_SIZE];
	KK_CLEANUP_FREE char *text = NULL;
	int r = file_path(run_dir, path, err);

	if (r == 0)
		r = make_mark(identity, mark, err);
	if (r < 0)
		return r;
	r = kk_file_read(path, MARK_SIZE, &text, NULL);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return kk_err_set(err, -r, "run-dir", "cannot read %s: %s", path, strerror(-r));
	return strcmp(text, mark) != 0;
}

int joining_note(const char *run_dir, const struct kk_identity *identity, struct kk_err *err)
{
	char path[PATH_MAX], mark[MARK_SIZE];
	int r = file_path(run_dir, path, err);

	if (r == 0)
		r = make_mark(identity, mark, err);
	if (r < 0)
		return r;
	r = kk_file_write(path, mark, strlen(mark), 0600);
	if (r < 0)
		return kk_err_set(err, -r, "run-dir", "cannot write %s: %s", path, strerror(-r));
	return 0;
}

void joining_forget(const char *run_dir)
{
	char path[PATH_MAX];

	if (file_path(run_dir, path, NULL) == 0)
		unlink(path);
}
