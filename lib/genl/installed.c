// SPDX-License-Identifier: MIT
#include "genl/installed.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <uapi/kakuremichi.h>

#include "util/cleanup.h"
#include "util/file.h"

#define LIST_MAX (16 << 20) /* of the modules of a kernel */

static bool says(const char *path, const char *word, size_t max)
{
	KK_CLEANUP_FREE char *text = NULL;

	return kk_file_read(path, max, &text, NULL) >= 0 && strstr(text, word);
}

/* One that is on its way out is not there any more. */
bool kk_module_is_loaded(void)
{
	static const char state[] = "/sys/module/" KK_GENL_NAME "/initstate";

	return says(state, "live", 16) || says(state, "coming", 16);
}

static bool must_be_signed(void)
{
	static const char lockdown[] = "/sys/kernel/security/lockdown";

	return says("/sys/module/module/parameters/sig_enforce", "Y", 16) ||
	       says(lockdown, "[integrity]", 256) || says(lockdown, "[confidentiality]", 256);
}

void kk_module_absence(char *ret, size_t size)
{
	struct utsname kernel;
	char path[160];

	uname(&kernel);
	snprintf(path, sizeof(path), "/lib/modules/%s/modules.dep", kernel.release);
	if (access(path, R_OK) < 0)
		snprintf(ret, size, "there are no modules of kernel %s here", kernel.release);
	else if (!says(path, "/" KK_GENL_NAME ".ko", LIST_MAX))
		snprintf(ret, size, "the module " KK_GENL_NAME " is not installed for kernel %s",
			 kernel.release);
	else if (says("/proc/sys/kernel/modules_disabled", "1", 16))
		snprintf(ret, size, "loading modules is switched off (kernel.modules_disabled)");
	else if (must_be_signed())
		snprintf(ret, size,
			 "this kernel takes signed modules only (Secure Boot), and " KK_GENL_NAME
			 " is not signed by a key that it knows");
	else
		snprintf(ret, size,
			 "the module " KK_GENL_NAME
			 " is installed and cannot be loaded: see the kernel's log");
}
