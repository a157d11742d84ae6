// SPDX-License-Identifier: MIT
/* kkctl backup and restore: Control's database and TLS key as one SQLite file. */
#include "ctl/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <sqlite3.h>

#include "ctl/api.h"
#include "util/cleanup.h"
#include "util/file.h"

static int backup(struct ctl *ctl)
{
	KK_CLEANUP_FREE char *data = NULL;
	size_t len = 0;
	int r = ctl_download(ctl, "/api/v1/backup", &data, &len);

	if (r != CTL_DONE)
		return r;
	r = kk_file_write(ctl->name, data, len, 0600);
	if (r < 0)
		return ctl_fail(CTL_REFUSED, "%s: %s", ctl->name, strerror(-r));
	printf("%s: %zu bytes; it has Control's private TLS key in it\n", ctl->name, len);
	return CTL_DONE;
}

/* ---- restore, on the machine of a Control that is stopped ---- */

static int open_backup(const char *path, sqlite3 **ret)
{
	sqlite3_stmt *stmt = NULL;
	const char *text = NULL;
	char why[128] = "not a database";

	if (sqlite3_open_v2(path, ret, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
	    sqlite3_prepare_v2(*ret, "PRAGMA quick_check(1)", -1, &stmt, NULL) == SQLITE_OK &&
	    sqlite3_step(stmt) == SQLITE_ROW)
		text = (const char *)sqlite3_column_text(stmt, 0);
	if (text && strcmp(text, "ok") == 0) {
		sqlite3_finalize(stmt);
		if (sqlite3_exec(*ret, "SELECT epoch FROM control; SELECT name FROM files", NULL,
				 NULL, NULL) == SQLITE_OK)
			return CTL_DONE;
		stmt = NULL;
		text = "a database of something else";
	}
	snprintf(why, sizeof(why), "%s", text ? text : sqlite3_errmsg(*ret));
	sqlite3_finalize(stmt);
	return ctl_fail(CTL_REFUSED, "%s is no backup of Control: %s", path, why);
}

/* Held until the program ends, so that no Control starts meanwhile. */
static int lock_state(const char *state)
{
	char path[PATH_MAX];
	int fd, r = kk_mkdir_p(state, 0700);

	snprintf(path, sizeof(path), "%s/lock", state);
	fd = r < 0 ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return ctl_fail(CTL_REFUSED, "%s: %s", path, strerror(r < 0 ? -r : errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return ctl_fail(CTL_REFUSED, "kkcontrold is running on %s; stop it first", state);
	return CTL_DONE;
}

static int write_files(sqlite3 *from, const char *state)
{
	sqlite3_stmt *stmt;
	char path[PATH_MAX];
	int r = 0;

	if (sqlite3_prepare_v2(from,
			       "SELECT name, data FROM files WHERE name IN ('tls.key', 'tls.crt')",
			       -1, &stmt, NULL) != SQLITE_OK)
		return ctl_fail(CTL_REFUSED, "%s", sqlite3_errmsg(from));
	while (r == 0 && sqlite3_step(stmt) == SQLITE_ROW) {
		snprintf(path, sizeof(path), "%s/%s", state, sqlite3_column_text(stmt, 0));
		r = kk_file_write(path, sqlite3_column_blob(stmt, 1),
				  (size_t)sqlite3_column_bytes(stmt, 1), 0600);
	}
	sqlite3_finalize(stmt);
	return r < 0 ? ctl_fail(CTL_REFUSED, "%s: %s", path, strerror(-r)) : CTL_DONE;
}

/*
 * A new epoch: nodes may have heard of generations that this database does not know, and have to be told
 * everything.
 */
static const char finish[] =
	"DROP TABLE files;"
	"UPDATE control SET epoch = lower(hex(randomblob(16))), generation = generation + 1;"
	"DELETE FROM changes;";

static int copy_database(sqlite3 *from, const char *path)
{
	sqlite3_backup *copy;
	sqlite3 *to = NULL;
	int r = sqlite3_open(path, &to);

	if (r == SQLITE_OK) {
		copy = sqlite3_backup_init(to, "main", from, "main");
		r = copy ? sqlite3_backup_step(copy, -1) : sqlite3_errcode(to);
		if (copy)
			sqlite3_backup_finish(copy);
		r = r == SQLITE_DONE ? sqlite3_exec(to, finish, NULL, NULL, NULL) : r;
	}
	if (r != SQLITE_OK)
		ctl_fail(CTL_REFUSED, "%s: %s", path, to ? sqlite3_errmsg(to) : "out of memory");
	sqlite3_close(to);
	return r == SQLITE_OK ? CTL_DONE : CTL_REFUSED;
}

/* The database is made beside the old one and takes its place at the end; so there is one at any time. */
static int replace(sqlite3 *from, const char *state)
{
	char fresh[PATH_MAX], path[PATH_MAX], other[PATH_MAX];
	int r;

	snprintf(fresh, sizeof(fresh), "%s/control.db.restored", state);
	snprintf(path, sizeof(path), "%s/control.db", state);
	unlink(fresh);
	r = copy_database(from, fresh);
	if (r == CTL_DONE)
		r = write_files(from, state);
	if (r != CTL_DONE)
		return r;
	chmod(fresh, 0600);
	snprintf(other, sizeof(other), "%s/control.db-wal", state);
	unlink(other);
	snprintf(other, sizeof(other), "%s/control.db-shm", state);
	unlink(other);
	if (rename(fresh, path) < 0)
		return ctl_fail(CTL_REFUSED, "%s: %s", path, strerror(errno));
	return CTL_DONE;
}

static int restore(struct ctl *ctl)
{
	const char *state =
		ctl->options.state ? ctl->options.state : "/var/lib/kakuremichi/control";
	sqlite3 *from = NULL;
	int r = open_backup(ctl->name, &from);

	if (r == CTL_DONE)
		r = lock_state(state);
	if (r == CTL_DONE)
		r = replace(from, state);
	sqlite3_close(from);
	if (r == CTL_DONE)
		printf("%s is restored from %s; start kkcontrold\n", state, ctl->name);
	return r;
}

static const struct kk_option restore_options[] = {
	CTL_OPTION("state", "DIR", KK_OPTION_STRING, state,
		   "Control's directory (default /var/lib/kakuremichi/control)"),
};

static const struct ctl_command backup_commands[] = {
	{NULL, "FILE", "writes all that Control knows to a file, while it runs", .run = backup},
};

static const struct ctl_command restore_commands[] = {
	{NULL, "FILE", "puts a backup in the place of a stopped Control's state",
	 CTL_OPTIONS(restore_options), .run = restore},
};

const struct ctl_noun ctl_backup = {
	"backup",
	"a copy of Control's state",
	backup_commands,
	ARRAY_SIZE(backup_commands),
};

const struct ctl_noun ctl_restore = {
	"restore",
	"Control's state from a copy",
	restore_commands,
	ARRAY_SIZE(restore_commands),
};
