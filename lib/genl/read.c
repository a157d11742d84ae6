// SPDX-License-Identifier: MIT
/* What the module's tables hold, have counted, and would do. */
#include "genl/module.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <netlink/attr.h>
#include <uapi/kakuremichi.h>

#include "core/names.h"
#include "genl/wire.h"
#include "net/nl.h"
#include "util/cleanup.h"

#define DUMPS_MAX 20 /* tries to read tables that change meanwhile */

/* A list that grows while a dump is read. */
struct dump {
	const struct kk_settings *set;
	void *items;
	size_t n, room, size;
};

static void *dump_grow(struct dump *dump)
{
	if (dump->n == dump->room) {
		size_t room = dump->room ? 2 * dump->room : 64;
		void *items = reallocarray(dump->items, room, dump->size);

		if (!items)
			return NULL;
		dump->items = items;
		dump->room = room;
	}
	return memset((char *)dump->items + dump->size * dump->n++, 0, dump->size);
}

static int dump_read(const struct kk_module *module, uint8_t cmd,
		     int (*each)(struct nlmsghdr *hdr, void *userdata), struct dump *dump,
		     const char *what, struct kk_err *err)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg = NULL;
	int r = -EAGAIN;

	for (int i = 0; i < DUMPS_MAX && r == -EAGAIN; i++) {
		kk_err_reset(err);
		dump->n = 0;
		nlmsg_free(msg);
		msg = kk_genl_request(&module->genl, cmd, NLM_F_DUMP, 0);
		if (!msg)
			return kk_err_set(err, ENOMEM, NULL, "out of memory");
		r = kk_genl_call(&module->genl, msg, each, dump, what, err);
	}
	return r < 0 ? r : (int)dump->n;
}

static int on_listener(struct nlmsghdr *hdr, void *userdata)
{
	struct nlattr *attrs[KK_A_MAX + 1];
	struct dump *dump = userdata;
	struct kk_listener first, *listener;
	uint16_t n;
	int r;

	r = kk_wire_parse(hdr, attrs);
	if (r == 0)
		r = attrs[KK_A_LISTENER]
			    ? kk_wire_get_listener(attrs[KK_A_LISTENER], dump->set, &first, &n)
			    : -EBADMSG;
	if (r < 0)
		return r;
	for (uint16_t i = 0; i < n; i++) {
		listener = dump_grow(dump);
		if (!listener)
			return -ENOMEM;
		*listener = first;
		listener->port = (uint16_t)(first.port + i);
		listener->agent_port = (uint16_t)(first.agent_port + i);
	}
	return 0;
}

int kk_module_list(const struct kk_module *module, struct kk_listener **ret, struct kk_err *err)
{
	struct kk_module_info info;
	struct dump dump = {.set = &info.settings, .size = sizeof(struct kk_listener)};
	int r;

	r = kk_module_info(module, &info, err);
	if (r == 0)
		r = dump_read(module, KK_CMD_LISTENER_GET, on_listener, &dump,
			      "the listeners could not be read", err);
	if (r < 0)
		free(dump.items);
	else
		*ret = dump.items;
	return r;
}

static enum kk_reason reason_of(const struct nlattr *attr)
{
	for (int reason = 0; reason < KK_REASON_MAX; reason++)
		if (strcmp(nla_data(attr), kk_reason_name(reason)) == 0)
			return reason;
	return KK_REASON_MAX;
}

static int on_counter(struct nlmsghdr *hdr, void *userdata)
{
	static struct nla_policy policy[KK_COUNTER_A_MAX + 1] = {
		[KK_COUNTER_A_REASON] = {.type = NLA_NUL_STRING},
		[KK_COUNTER_A_VERDICT] = {.type = NLA_NUL_STRING},
		[KK_COUNTER_A_PACKETS] = {.type = NLA_U64},
		[KK_COUNTER_A_BYTES] = {.type = NLA_U64},
	};
	struct nlattr *attrs[KK_A_MAX + 1], *a[KK_COUNTER_A_MAX + 1];
	struct kk_datapath_counter *counter;
	enum kk_reason reason;
	int r;

	r = kk_wire_parse(hdr, attrs);
	if (r < 0)
		return r;
	if (!attrs[KK_A_COUNTER] ||
	    nla_parse_nested(a, KK_COUNTER_A_MAX, attrs[KK_A_COUNTER], policy) < 0 ||
	    !a[KK_COUNTER_A_REASON] || !a[KK_COUNTER_A_PACKETS] || !a[KK_COUNTER_A_BYTES])
		return -EBADMSG;
	reason = reason_of(a[KK_COUNTER_A_REASON]);
	counter = dump_grow(userdata);
	if (reason == KK_REASON_MAX || !counter)
		return counter ? -EBADMSG : -ENOMEM;
	*counter = (struct kk_datapath_counter){
		.name = kk_reason_name(reason),
		.verdict = kk_verdict_name(kk_verdict(reason)),
		.packets = nla_get_u64(a[KK_COUNTER_A_PACKETS]),
		.bytes = nla_get_u64(a[KK_COUNTER_A_BYTES]),
	};
	return 0;
}

int kk_module_counters(const struct kk_module *module, struct kk_datapath_counter **ret,
		       struct kk_err *err)
{
	struct dump dump = {.size = sizeof(struct kk_datapath_counter)};
	int r = dump_read(module, KK_CMD_COUNTER_GET, on_counter, &dump,
			  "the counters could not be read", err);

	if (r < 0)
		free(dump.items);
	else
		*ret = dump.items;
	return r;
}

static int on_service(struct nlmsghdr *hdr, void *userdata)
{
	static struct nla_policy policy[KK_SERVICE_A_MAX + 1] = {
		[KK_SERVICE_A_ID] = {.type = NLA_U32},
		[KK_SERVICE_A_IN_PACKETS] = {.type = NLA_U64},
		[KK_SERVICE_A_IN_BYTES] = {.type = NLA_U64},
		[KK_SERVICE_A_OUT_PACKETS] = {.type = NLA_U64},
		[KK_SERVICE_A_OUT_BYTES] = {.type = NLA_U64},
	};
	struct nlattr *attrs[KK_A_MAX + 1], *a[KK_SERVICE_A_MAX + 1];
	struct kk_datapath_service *service;
	int r;

	r = kk_wire_parse(hdr, attrs);
	if (r < 0)
		return r;
	if (!attrs[KK_A_SERVICE] ||
	    nla_parse_nested(a, KK_SERVICE_A_MAX, attrs[KK_A_SERVICE], policy) < 0 ||
	    !a[KK_SERVICE_A_ID] || !a[KK_SERVICE_A_IN_PACKETS] || !a[KK_SERVICE_A_IN_BYTES] ||
	    !a[KK_SERVICE_A_OUT_PACKETS] || !a[KK_SERVICE_A_OUT_BYTES])
		return -EBADMSG;
	service = dump_grow(userdata);
	if (!service)
		return -ENOMEM;
	*service = (struct kk_datapath_service){
		.service = nla_get_u32(a[KK_SERVICE_A_ID]),
		.in_packets = nla_get_u64(a[KK_SERVICE_A_IN_PACKETS]),
		.in_bytes = nla_get_u64(a[KK_SERVICE_A_IN_BYTES]),
		.out_packets = nla_get_u64(a[KK_SERVICE_A_OUT_PACKETS]),
		.out_bytes = nla_get_u64(a[KK_SERVICE_A_OUT_BYTES]),
	};
	return 0;
}

int kk_module_services(const struct kk_module *module, struct kk_datapath_service **ret,
		       struct kk_err *err)
{
	struct dump dump = {.size = sizeof(struct kk_datapath_service)};
	int r = dump_read(module, KK_CMD_SERVICE_GET, on_service, &dump,
			  "the services' traffic could not be read", err);

	if (r < 0)
		free(dump.items);
	else
		*ret = dump.items;
	return r;
}

static int on_trial(struct nlmsghdr *hdr, void *userdata)
{
	static struct nla_policy policy[KK_PACKET_A_MAX + 1] = {
		[KK_PACKET_A_REASON] = {.type = NLA_NUL_STRING},
	};
	struct nlattr *attrs[KK_A_MAX + 1], *a[KK_PACKET_A_MAX + 1];
	struct kk_module_trial *trial = userdata;
	int r;

	r = kk_wire_parse(hdr, attrs);
	if (r < 0)
		return r;
	if (!attrs[KK_A_PACKET] ||
	    nla_parse_nested(a, KK_PACKET_A_MAX, attrs[KK_A_PACKET], policy) < 0 ||
	    !a[KK_PACKET_A_REASON] || !a[KK_PACKET_A_DATA])
		return -EBADMSG;
	trial->reason = reason_of(a[KK_PACKET_A_REASON]);
	if (trial->reason == KK_REASON_MAX)
		return -EBADMSG;
	trial->len = (uint32_t)nla_len(a[KK_PACKET_A_DATA]);
	trial->data = malloc(trial->len + 1);
	if (!trial->data)
		return -ENOMEM;
	memcpy(trial->data, nla_data(a[KK_PACKET_A_DATA]), trial->len);
	return 0;
}

int kk_module_try(const struct kk_module *module, struct kk_module_trial *trial, struct kk_err *err)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg =
		kk_genl_request(&module->genl, KK_CMD_TRY, NLM_F_ACK, trial->len + 64);
	struct kk_module_trial answer = *trial;
	struct nlattr *nest;
	int r;

	answer.data = NULL;
	nest = msg ? nla_nest_start(msg, KK_A_PACKET) : NULL;
	if (!nest || nla_put(msg, KK_PACKET_A_DATA, (int)trial->len, trial->data) < 0 ||
	    nla_put_u32(msg, KK_PACKET_A_DIRECTION,
			trial->direction == KK_INBOUND ? KK_PACKET_INBOUND : KK_PACKET_OUTBOUND) <
		    0 ||
	    (trial->gso_size && nla_put_u16(msg, KK_PACKET_A_GSO, trial->gso_size) < 0) ||
	    (trial->partial && nla_put_flag(msg, KK_PACKET_A_PARTIAL) < 0))
		return kk_err_set(err, EMSGSIZE, "packet", "a packet of %u bytes is too long",
				  trial->len);
	nla_nest_end(msg, nest);
	r = kk_genl_call(&module->genl, msg, on_trial, &answer, "the packet could not be tried",
			 err);
	if (r == 0 && !answer.data)
		r = kk_err_set(err, EBADMSG, NULL, "the kernel module did not answer");
	if (r < 0) {
		free(answer.data);
		return r;
	}
	*trial = answer;
	return 0;
}
