// SPDX-License-Identifier: MIT
/* What the module would do with packets. */
#include "genl/module.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <netlink/attr.h>
#include <netlink/genl/genl.h>
#include <uapi/kakuremichi.h>

#include "genl/wire.h"
#include "net/nl.h"
#include "util/cleanup.h"

#define PACKET_ROOM 64		 /* of a packet's attributes, besides its data */
#define REQUEST_MAX (256 * 1024) /* what the kernel lets a socket send by default is 416 KiB */
#define DATA_MAX    65279	 /* of one packet: what the family takes */

/* Answers as they come in. */
struct answers {
	struct kk_module_trial *trials;
	size_t n, done;
};

static void answers_clean(struct answers *answers)
{
	for (size_t i = 0; answers->trials && i < answers->done; i++)
		free(answers->trials[i].data);
	free(answers->trials);
}

static int take(struct nlattr *nest, struct kk_module_trial *trial)
{
	static struct nla_policy policy[KK_PACKET_A_MAX + 1] = {
		[KK_PACKET_A_REASON] = {.type = NLA_NUL_STRING},
	};
	struct nlattr *a[KK_PACKET_A_MAX + 1];

	if (nla_parse_nested(a, KK_PACKET_A_MAX, nest, policy) < 0 || !a[KK_PACKET_A_REASON] ||
	    !a[KK_PACKET_A_DATA])
		return -EBADMSG;
	trial->reason = kk_wire_reason(a[KK_PACKET_A_REASON]);
	if (trial->reason == KK_REASON_MAX)
		return -EBADMSG;
	trial->len = (uint32_t)nla_len(a[KK_PACKET_A_DATA]);
	trial->data = malloc(trial->len + 1);
	if (!trial->data)
		return -ENOMEM;
	memcpy(trial->data, nla_data(a[KK_PACKET_A_DATA]), trial->len);
	return 0;
}

static int on_answers(struct nlmsghdr *hdr, void *userdata)
{
	struct answers *answers = userdata;
	struct nlattr *attrs[KK_A_MAX + 1], *nest;
	int left, r = kk_wire_parse(hdr, attrs);

	if (r < 0)
		return r;
	nla_for_each_attr(nest, genlmsg_attrdata(nlmsg_data(hdr), 0),
			  genlmsg_attrlen(nlmsg_data(hdr), 0), left)
	{
		if (nla_type(nest) != KK_A_PACKET)
			continue;
		r = answers->done < answers->n ? take(nest, &answers->trials[answers->done])
					       : -EBADMSG;
		if (r < 0)
			return r;
		answers->done++;
	}
	return 0;
}

static int put_trial(struct nl_msg *msg, const struct kk_module_trial *trial)
{
	uint32_t direction =
		trial->direction == KK_INBOUND ? KK_PACKET_INBOUND : KK_PACKET_OUTBOUND;
	struct nlattr *nest = nla_nest_start(msg, KK_A_PACKET);

	if (!nest || nla_put(msg, KK_PACKET_A_DATA, (int)trial->len, trial->data) < 0 ||
	    nla_put_u32(msg, KK_PACKET_A_DIRECTION, direction) < 0 ||
	    (trial->gso_size && nla_put_u16(msg, KK_PACKET_A_GSO, trial->gso_size) < 0) ||
	    (trial->partial && nla_put_flag(msg, KK_PACKET_A_PARTIAL) < 0) ||
	    (trial->now && nla_put_u64(msg, KK_PACKET_A_NOW, trial->now) < 0))
		return -EMSGSIZE;
	nla_nest_end(msg, nest);
	return 0;
}

static int check(const struct kk_module_trial *trials, size_t n, size_t *room, struct kk_err *err)
{
	*room = 0;
	for (size_t i = 0; i < n; i++) {
		*room += PACKET_ROOM + NLA_ALIGN(trials[i].len);
		if (trials[i].len > DATA_MAX)
			return kk_err_set(err, EMSGSIZE, "packet",
					  "a packet of %u bytes is too long", trials[i].len);
	}
	if (*room > REQUEST_MAX)
		return kk_err_set(err, EMSGSIZE, "packet",
				  "packets of %zu bytes are too many for one trial", *room);
	return 0;
}

int kk_module_try_all(const struct kk_module *module, struct kk_module_trial *trials, size_t n,
		      struct kk_err *err)
{
	KK_CLEANUP(answers_clean) struct answers answers = {.n = n};
	KK_CLEANUP_NLMSG struct nl_msg *msg = NULL;
	size_t room;
	int r = check(trials, n, &room, err);

	if (r < 0)
		return r;
	answers.trials = calloc(n + 1, sizeof(*answers.trials));
	msg = kk_genl_request(&module->genl, KK_CMD_TRY, NLM_F_ACK, room);
	if (!answers.trials || !msg)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	for (size_t i = 0; i < n; i++)
		if (put_trial(msg, &trials[i]) < 0)
			return kk_err_set(err, EMSGSIZE, "packet", "packet %zu does not fit", i);
	r = kk_genl_call(&module->genl, msg, on_answers, &answers, "the packets could not be tried",
			 err);
	if (r == 0 && answers.done != n)
		r = kk_err_set(err, EBADMSG, NULL, "the kernel module answered %zu of %zu packets",
			       answers.done, n);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		trials[i].data = KK_STEAL(answers.trials[i].data);
		trials[i].len = answers.trials[i].len;
		trials[i].reason = answers.trials[i].reason;
	}
	return 0;
}

int kk_module_try(const struct kk_module *module, struct kk_module_trial *trial, struct kk_err *err)
{
	return kk_module_try_all(module, trial, 1, err);
}
