// SPDX-License-Identifier: MIT
/* Bans set and lifted. */
#include "genl/module.h"

#include <errno.h>
#include <stdlib.h>

#include <netlink/attr.h>
#include <uapi/kakuremichi.h>

#include "genl/wire.h"
#include "net/nl.h"

#define BAN_ROOM 64 /* the most bytes that one takes in a request */

static int check_source(const struct kk_address *source, struct kk_err *err)
{
	char text[KK_ADDRESS_TEXT];

	return kk_address_is_host(source)
		       ? 0
		       : kk_err_set(err, EINVAL, "source", "address \"%s\" is no host's",
				    kk_address_text(source, text));
}

static int change(const struct kk_module *module, int type, const struct kk_ban_entry *bans,
		  size_t n, struct kk_err *err)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg =
		kk_genl_request(&module->genl, KK_CMD_BAN_CHANGE, NLM_F_ACK, n * BAN_ROOM);

	for (size_t i = 0; i < n; i++) {
		int r = check_source(&bans[i].source, err);

		if (r < 0)
			return r;
		if (!msg || kk_wire_put_ban(msg, type, &bans[i]) < 0)
			return kk_err_set(err, ENOMEM, NULL, "out of memory");
	}
	return kk_genl_call(&module->genl, msg, NULL, NULL, "the bans could not be changed", err);
}

/* Of one request: the longer of two bans of one source counts, and comes last. */
static int compare_seconds(const void *a, const void *b)
{
	uint32_t x = ((const struct kk_ban_entry *)a)->seconds - 1,
		 y = ((const struct kk_ban_entry *)b)->seconds - 1;

	return (x > y) - (x < y);
}

int kk_module_ban(const struct kk_module *module, const struct kk_ban_entry *bans, size_t n,
		  struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_ban_entry *sorted = calloc(n + 1, sizeof(*sorted));

	if (!sorted)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	for (size_t i = 0; i < n; i++)
		sorted[i] = bans[i];
	qsort(sorted, n, sizeof(*sorted), compare_seconds);
	return change(module, KK_A_BAN, sorted, n, err);
}

int kk_module_unban(const struct kk_module *module, const struct kk_address *source,
		    uint32_t service, struct kk_err *err)
{
	const struct kk_ban_entry ban = {.source = *source, .service = service};

	return change(module, KK_A_BAN_GONE, &ban, 1, err);
}
