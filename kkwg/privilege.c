// SPDX-License-Identifier: MIT
#include "kkwg/privilege.h"

#include <errno.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/capability.h>

#define KEEP (1u << CAP_NET_ADMIN | 1u << CAP_NET_BIND_SERVICE)

int privilege_drop(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (syscall(SYS_capget, &head, caps) < 0)
		return -errno;
	/* Nothing may be dropped from the bounding set without CAP_SETPCAP; then it matters little. */
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		if (cap >= 32 || !(KEEP >> cap & 1))
			prctl(PR_CAPBSET_DROP, cap);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	caps[0].permitted &= KEEP;
	caps[1].permitted = 0;
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		caps[i].effective = caps[i].permitted;
		caps[i].inheritable = 0;
	}
	return syscall(SYS_capset, &head, caps) < 0 ? -errno : 0;
}
