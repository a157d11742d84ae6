/* SPDX-License-Identifier: MIT */
/*
 * What a generic netlink family takes, as the kernel itself tells it (CTRL_CMD_GETPOLICY), so that a fuzzer knows new
 * operations and attributes without a word about them here.
 */
#ifndef KK_FUZZ_POLICY_H
#define KK_FUZZ_POLICY_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <netlink/genl/genl.h>
#include <netlink/msg.h>

#include "net/nl.h"

#define FUZZ_ATTRS    64
#define FUZZ_POLICIES 64
#define FUZZ_COMMANDS 256

struct fuzz_field {
	bool known;
	uint8_t type; /* enum netlink_attribute_type */
	uint64_t min, max, mask;
	uint32_t min_len, max_len;
	uint32_t policy; /* of what is nested in it */
};

struct fuzz_grammar {
	struct fuzz_field fields[FUZZ_POLICIES][FUZZ_ATTRS];
	int policy_of[FUZZ_COMMANDS]; /* -1: no such operation */
	bool dumps[FUZZ_COMMANDS];
	int n_commands;
};

static inline void fuzz_read_field(struct fuzz_field *field, struct nlattr *nest)
{
	struct nlattr *a[NL_POLICY_TYPE_ATTR_MAX + 1];

	if (nla_parse_nested(a, NL_POLICY_TYPE_ATTR_MAX, nest, NULL) < 0)
		return;
	*field = (struct fuzz_field){.known = true, .max = UINT64_MAX, .max_len = 64};
	if (a[NL_POLICY_TYPE_ATTR_TYPE])
		field->type = (uint8_t)nla_get_u32(a[NL_POLICY_TYPE_ATTR_TYPE]);
	if (a[NL_POLICY_TYPE_ATTR_MIN_VALUE_U])
		field->min = nla_get_u64(a[NL_POLICY_TYPE_ATTR_MIN_VALUE_U]);
	if (a[NL_POLICY_TYPE_ATTR_MAX_VALUE_U])
		field->max = nla_get_u64(a[NL_POLICY_TYPE_ATTR_MAX_VALUE_U]);
	if (a[NL_POLICY_TYPE_ATTR_MASK])
		field->mask = nla_get_u64(a[NL_POLICY_TYPE_ATTR_MASK]);
	if (a[NL_POLICY_TYPE_ATTR_MIN_LENGTH])
		field->min_len = nla_get_u32(a[NL_POLICY_TYPE_ATTR_MIN_LENGTH]);
	if (a[NL_POLICY_TYPE_ATTR_MAX_LENGTH])
		field->max_len = nla_get_u32(a[NL_POLICY_TYPE_ATTR_MAX_LENGTH]);
	if (a[NL_POLICY_TYPE_ATTR_POLICY_IDX])
		field->policy = nla_get_u32(a[NL_POLICY_TYPE_ATTR_POLICY_IDX]);
}

static inline void fuzz_read_operation(struct fuzz_grammar *grammar, struct nlattr *nest)
{
	struct nlattr *a[CTRL_ATTR_POLICY_DUMP_MAX + 1];
	int cmd = nla_type(nest);

	if (cmd >= FUZZ_COMMANDS || nla_parse_nested(a, CTRL_ATTR_POLICY_DUMP_MAX, nest, NULL) < 0)
		return;
	grammar->dumps[cmd] = !a[CTRL_ATTR_POLICY_DO];
	if (a[CTRL_ATTR_POLICY_DO])
		grammar->policy_of[cmd] = (int)nla_get_u32(a[CTRL_ATTR_POLICY_DO]);
	else if (a[CTRL_ATTR_POLICY_DUMP])
		grammar->policy_of[cmd] = (int)nla_get_u32(a[CTRL_ATTR_POLICY_DUMP]);
	if (cmd >= grammar->n_commands)
		grammar->n_commands = cmd + 1;
}

/* The attributes in @nest, one after the other: the first for a NULL @attr; NULL behind the last. */
static inline struct nlattr *fuzz_next(struct nlattr *nest, struct nlattr *attr, int *left)
{
	if (attr) {
		attr = nla_next(attr, left);
	} else {
		attr = nla_data(nest);
		*left = nla_len(nest);
	}
	return nla_ok(attr, *left) ? attr : NULL;
}

static inline void fuzz_read_policy(struct fuzz_grammar *grammar, struct nlattr *nest)
{
	struct nlattr *attr = NULL;
	int left = 0, policy = nla_type(nest);

	while ((attr = fuzz_next(nest, attr, &left)))
		if (policy < FUZZ_POLICIES && nla_type(attr) < FUZZ_ATTRS)
			fuzz_read_field(&grammar->fields[policy][nla_type(attr)], attr);
}

static inline int fuzz_read_message(struct nlmsghdr *hdr, void *userdata)
{
	struct nlattr *a[CTRL_ATTR_MAX + 1], *nest = NULL;
	struct fuzz_grammar *grammar = userdata;
	int left = 0;

	if (genlmsg_parse(hdr, 0, a, CTRL_ATTR_MAX, NULL) < 0)
		return -EBADMSG;
	while (a[CTRL_ATTR_OP_POLICY] && (nest = fuzz_next(a[CTRL_ATTR_OP_POLICY], nest, &left)))
		fuzz_read_operation(grammar, nest);
	nest = NULL;
	while (a[CTRL_ATTR_POLICY] && (nest = fuzz_next(a[CTRL_ATTR_POLICY], nest, &left)))
		fuzz_read_policy(grammar, nest);
	return 0;
}

static inline int fuzz_learn(struct fuzz_grammar *grammar, struct nl_sock *sk, int family)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg = nlmsg_alloc();

	memset(grammar, 0, sizeof(*grammar));
	for (int i = 0; i < FUZZ_COMMANDS; i++)
		grammar->policy_of[i] = -1;
	if (!msg ||
	    !genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, GENL_ID_CTRL, 0, NLM_F_DUMP,
			 CTRL_CMD_GETPOLICY, 1) ||
	    nla_put_u16(msg, CTRL_ATTR_FAMILY_ID, (uint16_t)family) < 0)
		return -ENOMEM;
	return kk_nl_call(sk, msg, fuzz_read_message, grammar);
}

#endif
