// SPDX-License-Identifier: MIT
#include "tests/vm/fuzz_genl.h"

#include <errno.h>

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

/* What means something to the module, in network byte order. */
static const char *const words4[] = {"10.0.0.0", "10.1.0.100", "10.2.0.100",	 "198.51.100.1",
				     "0.0.0.0",	 "11.0.0.1",   "255.255.255.255"};

static bool one_in(struct fuzz *fuzz, uint32_t n)
{
	return fuzz_below(fuzz, n) == 0;
}

/* Within the range and near its ends most of the time. */
static uint64_t number(struct fuzz *fuzz, const struct fuzz_field *field)
{
	if (field->mask)
		return fuzz_random(fuzz) & (one_in(fuzz, 8) ? UINT64_MAX : field->mask);
	switch (fuzz_below(fuzz, 8)) {
	case 0:
		return field->max;
	case 1:
		return fuzz_random(fuzz);
	case 2:
		return field->max + 1;
	case 3:
		return field->min - 1;
	case 4:
		return one_in(fuzz, 2) ? IPPROTO_TCP : IPPROTO_UDP;
	default:
		return field->min + fuzz_below(fuzz, 8);
	}
}

static void random_bytes(struct fuzz *fuzz, uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)fuzz_random(fuzz);
}

static size_t binary(struct fuzz *fuzz, const struct fuzz_field *field, uint8_t *data, size_t room)
{
	uint32_t most = field->max_len < room ? field->max_len : (uint32_t)room;
	size_t len = field->min_len;

	if (!len)
		len = one_in(fuzz, 4) ? fuzz_below(fuzz, most + 1) : most < 16 ? most : 16;
	if (one_in(fuzz, 16))
		len = fuzz_below(fuzz, 300);
	if (len > room)
		len = room;
	if (one_in(fuzz, 4))
		random_bytes(fuzz, data, len);
	else
		memset(data, 0, len);
	for (size_t at = 0; at + 4 <= len && !one_in(fuzz, 4); at += 4) {
		in_addr_t word =
			inet_addr(words4[fuzz_below(fuzz, sizeof(words4) / sizeof(*words4))]);

		memcpy(data + at, &word, sizeof(word));
	}
	/* A packet is one now and then. */
	if (len > 40 && one_in(fuzz, 2)) {
		data[0] = one_in(fuzz, 2) ? 0x45 : 0x60;
		data[9] = data[6] = one_in(fuzz, 2) ? IPPROTO_TCP : IPPROTO_UDP;
	}
	return len;
}

static void put_attributes(struct fuzz *fuzz, int policy, int depth);

/* Room for an attribute's header and @len bytes at least; NULL: none left. */
static struct nlattr *start(struct fuzz *fuzz, uint16_t type, size_t len)
{
	struct nlattr *attr = (struct nlattr *)(void *)(fuzz->data + fuzz->len);

	if (fuzz->len + NLA_HDRLEN + NLA_ALIGN(len) > sizeof(fuzz->data))
		return NULL;
	memset(attr, 0, NLA_HDRLEN + NLA_ALIGN(len));
	attr->nla_type = type;
	fuzz->len += NLA_HDRLEN;
	return attr;
}

static void end(struct fuzz *fuzz, struct nlattr *attr)
{
	attr->nla_len = (uint16_t)(fuzz->data + fuzz->len - (uint8_t *)attr);
	fuzz->len = NLMSG_ALIGN(fuzz->len);
}

static void put_field(struct fuzz *fuzz, uint16_t type, const struct fuzz_field *field, int depth)
{
	bool nested = field->type == NL_ATTR_TYPE_NESTED;
	struct nlattr *attr = start(fuzz, type | (nested ? NLA_F_NESTED : 0), 8);
	uint64_t value;
	size_t len = 0;

	if (!attr)
		return;
	switch (field->type) {
	case NL_ATTR_TYPE_U8:
		len = 1;
		break;
	case NL_ATTR_TYPE_U16:
		len = 2;
		break;
	case NL_ATTR_TYPE_U32:
		len = 4;
		break;
	case NL_ATTR_TYPE_U64:
		len = 8;
		break;
	case NL_ATTR_TYPE_NESTED:
		put_attributes(fuzz, (int)field->policy, depth + 1);
		break;
	case NL_ATTR_TYPE_FLAG:
		break;
	default:
		fuzz->len +=
			binary(fuzz, field, fuzz->data + fuzz->len, sizeof(fuzz->data) - fuzz->len);
	}
	if (len) {
		value = number(fuzz, field);
		memcpy(fuzz->data + fuzz->len, &value, len); /* the low bytes */
		fuzz->len += len;
	}
	end(fuzz, attr);
}

/* Any type, any length. */
static void put_anything(struct fuzz *fuzz, int depth)
{
	struct nlattr *attr = start(fuzz, (uint16_t)fuzz_random(fuzz), 0);
	size_t len = fuzz_below(fuzz, one_in(fuzz, 50) ? 20000 : 40);

	if (!attr || fuzz->len + len + 4 > sizeof(fuzz->data))
		return;
	if (one_in(fuzz, 3) && depth < FUZZ_DEPTH)
		put_attributes(fuzz, (int)fuzz_below(fuzz, FUZZ_POLICIES), depth + 1);
	else
		random_bytes(fuzz, fuzz->data + fuzz->len, len), fuzz->len += len;
	end(fuzz, attr);
}

static void put_attributes(struct fuzz *fuzz, int policy, int depth)
{
	int rounds = one_in(fuzz, 20) ? 4 : 1;
	uint32_t absent = one_in(fuzz, 2) ? 1000 : 2 + fuzz_below(fuzz, 20);

	if (depth > FUZZ_DEPTH || policy < 0 || policy >= FUZZ_POLICIES)
		return;
	for (int round = 0; round < rounds; round++)
		for (uint16_t type = 0; type < FUZZ_ATTRS; type++) {
			const struct fuzz_field *field = &fuzz->grammar.fields[policy][type];

			if (field->known && !one_in(fuzz, absent))
				put_field(fuzz, type, field, depth);
		}
	if (one_in(fuzz, 12))
		put_anything(fuzz, depth);
}

/* Thousands of a kind, or one within the other. */
static void put_very_much(struct fuzz *fuzz, int policy)
{
	struct nlattr *open[1000];
	int n = 0;

	if (one_in(fuzz, 2)) {
		while (fuzz->len < sizeof(fuzz->data) - 2000 && policy >= 0)
			put_attributes(fuzz, policy, 0);
		return;
	}
	while (n < 1000 && (open[n] = start(fuzz, KK_A_LISTENER | NLA_F_NESTED, 0)))
		n++;
	while (n--)
		end(fuzz, open[n]);
}

/* What the library would send. */
static void put_right(struct fuzz *fuzz, uint8_t *cmd)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg = nlmsg_alloc_size(4096);
	struct kk_module_settings settings;
	struct kk_listener listener;
	size_t len;

	fuzz_settings(&settings);
	*cmd = one_in(fuzz, 2)	 ? KK_CMD_TABLE_CHANGE
	       : one_in(fuzz, 2) ? KK_CMD_TABLE_BEGIN
	       : one_in(fuzz, 2) ? KK_CMD_TABLE_COMMIT
				 : KK_CMD_SETTINGS_SET;
	if (!msg || !genlmsg_put(msg, 0, 0, fuzz->genl.family, 0, 0, *cmd, 1))
		fuzz_die("no memory");
	if (*cmd == KK_CMD_TABLE_BEGIN || *cmd == KK_CMD_SETTINGS_SET)
		kk_wire_put_settings(msg, &settings);
	if (*cmd == KK_CMD_TABLE_CHANGE) {
		if (one_in(fuzz, 2))
			nla_put_flag(msg, KK_A_PENDING);
		for (uint32_t n = 1 + fuzz_below(fuzz, 8); n; n--) {
			listener = fuzz_listener((uint16_t)(1 + fuzz_below(fuzz, 40)),
						 1 + fuzz_below(fuzz, 9));
			if (one_in(fuzz, 3))
				kk_wire_put_gone(msg, &settings.core, &listener, 1);
			else
				kk_wire_put_listener(msg, &settings.core, &listener, 1);
		}
	}
	len = nlmsg_hdr(msg)->nlmsg_len - NLMSG_HDRLEN - GENL_HDRLEN;
	memcpy(fuzz->data + fuzz->len, genlmsg_attrdata(nlmsg_data(nlmsg_hdr(msg)), 0), len);
	fuzz->len += len;
}

static void damage(struct fuzz *fuzz, size_t begin)
{
	for (uint32_t n = fuzz_below(fuzz, 6); n && fuzz->len > begin; n--)
		fuzz->data[begin + fuzz_below(fuzz, (uint32_t)(fuzz->len - begin))] =
			(uint8_t)fuzz_random(fuzz);
	if (one_in(fuzz, 3) && fuzz->len > begin)
		fuzz->len = begin + fuzz_below(fuzz, (uint32_t)(fuzz->len - begin));
}

/* Whether the request is whole and of an operation that there is, so that a refusal has to say why. */
static bool build(struct fuzz *fuzz, uint8_t *ret_cmd)
{
	size_t begin = fuzz->len;
	struct nlmsghdr *hdr = (struct nlmsghdr *)(void *)(fuzz->data + begin);
	struct genlmsghdr *genl = NLMSG_DATA(hdr);
	uint8_t cmd = (uint8_t)fuzz_below(fuzz, (uint32_t)fuzz->grammar.n_commands + 2);
	bool whole = true;

	memset(hdr, 0, NLMSG_HDRLEN + GENL_HDRLEN);
	fuzz->len += NLMSG_HDRLEN + GENL_HDRLEN;
	hdr->nlmsg_type = (uint16_t)fuzz->genl.family;
	hdr->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | (fuzz->grammar.dumps[cmd] ? NLM_F_DUMP : 0);
	hdr->nlmsg_seq = ++fuzz->sequence;
	switch (fuzz_below(fuzz, 12)) {
	case 0:
	case 1:
	case 2:
	case 3:
		put_right(fuzz, &cmd);
		break;
	case 4:
		put_very_much(fuzz, fuzz->grammar.policy_of[cmd]);
		break;
	case 5:
		put_anything(fuzz, 0);
		break;
	default:
		put_attributes(fuzz, fuzz->grammar.policy_of[cmd], 0);
	}
	if (one_in(fuzz, 8))
		hdr->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | fuzz_random(fuzz));
	genl->cmd = cmd;
	genl->version = one_in(fuzz, 20) ? (uint8_t)fuzz_random(fuzz) : KK_GENL_VERSION;
	if (one_in(fuzz, 20))
		genl->reserved = (uint16_t)fuzz_random(fuzz), whole = false;
	if (one_in(fuzz, 4))
		damage(fuzz, begin + NLMSG_HDRLEN), whole = false;
	hdr->nlmsg_len = (uint32_t)(fuzz->len - begin);
	if (one_in(fuzz, 30))
		hdr->nlmsg_len = (uint32_t)fuzz_random(fuzz), whole = false;
	fuzz->len = NLMSG_ALIGN(fuzz->len);
	*ret_cmd = cmd;
	return whole && fuzz->grammar.policy_of[cmd] >= 0 && !(hdr->nlmsg_flags & NLM_F_ECHO);
}

/* The attributes of an answer, if it has any, follow the quoted request. */
static bool has_words(const struct nlmsghdr *hdr, const struct nlmsgerr *error)
{
	size_t quoted = hdr->nlmsg_flags & NLM_F_CAPPED ? sizeof(error->msg)
							: NLMSG_ALIGN(error->msg.nlmsg_len);

	return hdr->nlmsg_len > NLMSG_HDRLEN + sizeof(error->error) + quoted;
}

static void count(struct fuzz *fuzz, const struct nlmsghdr *hdr, uint8_t cmd, bool explains)
{
	const struct nlmsgerr *error = NLMSG_DATA(hdr);

	if (hdr->nlmsg_type != NLMSG_ERROR || hdr->nlmsg_len < NLMSG_LENGTH(sizeof(*error)))
		return;
	if (!error->error) {
		fuzz->accepted++;
		return;
	}
	fuzz->refused++;
	if (!explains || hdr->nlmsg_seq != fuzz->sequence || has_words(hdr, error))
		return;
	/* Memory, rights and a dump that is under way explain themselves. */
	if (error->error == -EINVAL || error->error == -ERANGE || error->error == -ENOENT ||
	    error->error == -EEXIST || error->error == -E2BIG) {
		fuzz->silent++;
		fuzz->silent_command = cmd;
		fuzz->silent_error = error->error;
	}
}

static void receive(struct fuzz *fuzz, uint8_t cmd, bool explains)
{
	static uint8_t answer[128 << 10];
	int fd = nl_socket_get_fd(fuzz->sk);
	ssize_t got;

	while ((got = recv(fd, answer, sizeof(answer), MSG_DONTWAIT)) > 0) {
		int left = (int)got;

		for (struct nlmsghdr *hdr = (struct nlmsghdr *)(void *)answer; nlmsg_ok(hdr, left);
		     hdr = nlmsg_next(hdr, &left))
			count(fuzz, hdr, cmd, explains);
		/* Dumps are left half read as well. */
		if (one_in(fuzz, 40))
			break;
	}
}

void fuzz_once(struct fuzz *fuzz)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	int fd = nl_socket_get_fd(fuzz->sk), on = (int)fuzz_below(fuzz, 2);
	bool explains;
	uint8_t cmd;

	fuzz->len = 0;
	explains = build(fuzz, &cmd);
	while (one_in(fuzz, 6) && fuzz->len < sizeof(fuzz->data) / 2) {
		build(fuzz, &cmd); /* several in one */
		explains = false;
	}
	if (one_in(fuzz, 50))
		setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	if (one_in(fuzz, 50))
		setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	fuzz->sent += sendto(fd, fuzz->data, fuzz->len, MSG_DONTWAIT, (struct sockaddr *)&kernel,
			     sizeof(kernel)) > 0;
	receive(fuzz, cmd, explains);
}

void fuzz_open(struct fuzz *fuzz)
{
	struct kk_err err = {0};
	int r = kk_genl_open(&fuzz->genl, KK_GENL_NAME, KK_GENL_VERSION, &err);

	if (r < 0)
		fuzz_die("%s", err.msg);
	fuzz->sk = fuzz->genl.sk;
	r = fuzz_learn(&fuzz->grammar, fuzz->sk, fuzz->genl.family);
	if (r < 0 || fuzz->grammar.n_commands <= KK_CMD_TRY)
		fuzz_die("the family's policy: %d, %d operations", r, fuzz->grammar.n_commands);
}

void fuzz_close(struct fuzz *fuzz)
{
	kk_genl_close(&fuzz->genl);
}
