// SPDX-License-Identifier: MIT
#include "agentd/relay/privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILES_WANTED 524288

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

	return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

static int become(const char *name, struct kk_err *err)
{
	const struct passwd *pw = getpwnam(name ? name : "kakuremichi");

	if (!pw && !name)
		pw = getpwnam("nobody");
	if (!pw)
		return kk_err_set(err, ENOENT, "user", "there is no user \"%s\"",
				  name ? name : "nobody");
	if (pw->pw_uid == 0)
		return kk_err_set(err, EINVAL, "user", "%s is root, which the relay must not be",
				  pw->pw_name);
	if (setgroups(0, NULL) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
		return kk_err_set(err, errno, "user", "cannot become %s: %s", pw->pw_name,
				  strerror(errno));
	return 0;
}

int privileges_drop(const char *user, struct kk_err *err)
{
	int r;

	if (geteuid() == 0) {
		r = become(user, err);
		if (r < 0)
			return r;
	}
	r = drop_capabilities();
	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = -errno;
	if (r < 0)
		return kk_err_set(err, -r, NULL, "cannot give up privileges: %s", strerror(-r));
	return 0;
}

unsigned long privileges_raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 1024;
	if (limit.rlim_max < FILES_WANTED) {
		const struct rlimit wanted = {FILES_WANTED, FILES_WANTED};

		if (setrlimit(RLIMIT_NOFILE, &wanted) == 0)
			return FILES_WANTED;
	}
	limit.rlim_cur = limit.rlim_max < FILES_WANTED ? limit.rlim_max : FILES_WANTED;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		getrlimit(RLIMIT_NOFILE, &limit);
	return limit.rlim_cur;
}
