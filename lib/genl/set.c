// SPDX-License-Identifier: MIT
/* Tables brought to what they shall be: by a whole new set, or by one request with what differs. */
#include "genl/module.h"

#include <errno.h>
#include <string.h>

#include <netlink/attr.h>
#include <uapi/kakuremichi.h>

#include "genl/content.h"
#include "genl/wire.h"
#include "net/nl.h"

/* Bytes of attributes in one request: beyond that they are spread over several. */
#define REQUEST_MAX 32768
#define PORTS_MAX   131072 /* that the module takes in one request */

/* Requests as they are filled, one or several. */
struct writer {
	const struct kk_module *module;
	const struct kk_settings *set;
	bool pending; /* into the set that was begun, over as many requests as it takes */
	struct nl_msg *msg;
	size_t n, ports; /* in it */
};

static void writer_clean(struct writer *w)
{
	nlmsg_free(w->msg);
	w->msg = NULL;
}

static int no_memory(struct kk_err *err)
{
	return kk_err_set(err, ENOMEM, NULL, "out of memory");
}

static int flush(struct writer *w, struct kk_err *err)
{
	int r = 0;

	if (w->n)
		r = kk_genl_call(&w->module->genl, w->msg, NULL, NULL,
				 "the kernel module refused the services", err);
	writer_clean(w);
	w->n = w->ports = 0;
	return r;
}

static int begin(struct writer *w, struct kk_err *err)
{
	if (w->msg)
		return 0;
	w->msg = kk_genl_request(&w->module->genl, KK_CMD_TABLE_CHANGE, NLM_F_ACK, REQUEST_MAX);
	if (!w->msg || (w->pending && nla_put_flag(w->msg, KK_A_PENDING) < 0))
		return no_memory(err);
	return 0;
}

/* One entry; @n of them where they follow each other port by port. */
typedef int put_fn(struct writer *w, const void *entry, uint16_t n);

static int put(struct writer *w, put_fn *fn, const void *entry, uint16_t n, struct kk_err *err)
{
	for (;;) {
		uint32_t before;
		int r = begin(w, err);

		if (r < 0)
			return r;
		before = nlmsg_hdr(w->msg)->nlmsg_len;
		r = w->ports + n > PORTS_MAX ? -EMSGSIZE : fn(w, entry, n);
		if (r == 0) {
			w->n++;
			w->ports += n;
			return 0;
		}
		/* What was put of it is taken out again. */
		nlmsg_hdr(w->msg)->nlmsg_len = before;
		if (r != -EMSGSIZE || !w->n)
			return kk_err_set(err, -r, NULL, "an entry does not fit into a request");
		if (!w->pending)
			return -E2BIG;
		r = flush(w, err);
		if (r < 0)
			return r;
	}
}

static int put_listener(struct writer *w, const void *entry, uint16_t n)
{
	return kk_wire_put_listener(w->msg, w->set, entry, n);
}

static int put_gone(struct writer *w, const void *entry, uint16_t n)
{
	return kk_wire_put_gone(w->msg, w->set, entry, n);
}

/* The others have no ports. */
#define PUT(name)                                                                                  \
	static int put_##name(struct writer *w, const void *entry, uint16_t n)                     \
	{                                                                                          \
		(void)n;                                                                           \
		return kk_wire_put_##name(w->msg, entry);                                          \
	}
PUT(group)
PUT(group_gone)
PUT(guard)
PUT(guard_gone)
PUT(rule)
PUT(rule_gone)

/* ---- what differs ---- */

/* A table of both contents: sorted entries of one size. */
struct pair {
	const void *old, *next;
	size_t n_old, n_next, size;
	int (*compare)(const void *a, const void *b);
	bool (*same)(const void *a, const void *b);
};

/*
 * Calls @each for what goes (@gone) or comes, until it fails; of what is at one place in both, if it differs,
 * for what comes.
 */
static int for_each_difference(const struct pair *pair, bool gone,
			       int (*each)(struct writer *w, const void *entry, const void *other,
					   struct kk_err *err),
			       struct writer *w, struct kk_err *err)
{
	const char *old = pair->old, *next = pair->next;
	size_t i = 0, j = 0;
	int r = 0;

	while (r == 0 && (i < pair->n_old || j < pair->n_next)) {
		const char *a = old + i * pair->size, *b = next + j * pair->size;
		int order = i == pair->n_old ? 1 : j == pair->n_next ? -1 : pair->compare(a, b);

		if (order < 0 && gone)
			r = each(w, a, NULL, err);
		else if (order > 0 && !gone)
			r = each(w, b, NULL, err);
		else if (order == 0 && !pair->same(a, b))
			r = each(w, gone ? a : b, gone ? b : a, err);
		i += order <= 0;
		j += order >= 0;
	}
	return r;
}

/* A port whose answers come from another Agent now gives up the way back first: another may want it. */
static int leave_listener(struct writer *w, const void *entry, const void *other,
			  struct kk_err *err)
{
	if (other && kk_content_same_way_back(entry, other))
		return 0;
	return put(w, put_gone, entry, 1, err);
}

static int enter_listener(struct writer *w, const void *entry, const void *other,
			  struct kk_err *err)
{
	(void)other;
	return put(w, put_listener, entry, 1, err);
}

#define ENTER(name)                                                                                \
	static int enter_##name(struct writer *w, const void *entry, const void *other,            \
				struct kk_err *err)                                                \
	{                                                                                          \
		(void)other;                                                                       \
		return put(w, put_##name, entry, 1, err);                                          \
	}                                                                                          \
	/* What is only to be another is set, and that is all. */                                  \
	static int leave_##name(struct writer *w, const void *entry, const void *other,            \
				struct kk_err *err)                                                \
	{                                                                                          \
		return other ? 0 : put(w, put_##name##_gone, entry, 1, err);                       \
	}
ENTER(group)
ENTER(guard)
ENTER(rule)

static int put_difference(struct writer *w, const struct kk_content *old,
			  const struct kk_content *next, struct kk_err *err)
{
#define PAIR(what, type)                                                                           \
	{                                                                                          \
		old->what##s, next->what##s, old->n_##what##s, next->n_##what##s, sizeof(type),    \
			kk_content_compare_##what##s, kk_content_same_##what                       \
	}
	const struct pair listeners = PAIR(listener, struct kk_listener),
			  groups = PAIR(group, struct kk_group),
			  guards = PAIR(guard, struct kk_guard),
			  rules = PAIR(rule, struct kk_list_record);
#undef PAIR
	int r = for_each_difference(&listeners, true, leave_listener, w, err);

	if (r == 0)
		r = for_each_difference(&groups, false, enter_group, w, err);
	if (r == 0)
		r = for_each_difference(&listeners, false, enter_listener, w, err);
	if (r == 0)
		r = for_each_difference(&groups, true, leave_group, w, err);
	if (r == 0)
		r = for_each_difference(&guards, true, leave_guard, w, err);
	if (r == 0)
		r = for_each_difference(&guards, false, enter_guard, w, err);
	if (r == 0)
		r = for_each_difference(&rules, true, leave_rule, w, err);
	return r < 0 ? r : for_each_difference(&rules, false, enter_rule, w, err);
}

/* ---- a whole new set ---- */

/* How many listeners follow @first, itself among them, port by port on both sides. */
static uint16_t run_of(const struct kk_listener *first, size_t n)
{
	uint16_t run = 1;

	while (run < n && run < UINT16_MAX) {
		struct kk_listener next = first[run];

		if (next.port != first->port + run || next.agent_port != first->agent_port + run)
			break;
		next.port = first->port;
		next.agent_port = first->agent_port;
		if (kk_content_compare_listeners(first, &next) != 0 ||
		    !kk_content_same_listener(first, &next))
			break;
		run++;
	}
	return run;
}

static int put_all(struct writer *w, const struct kk_content *content, struct kk_err *err)
{
	uint16_t run;
	int r = 0;

	for (size_t i = 0; i < content->n_groups && r == 0; i++)
		r = put(w, put_group, &content->groups[i], 1, err);
	for (size_t i = 0; i < content->n_listeners && r == 0; i += run) {
		run = run_of(&content->listeners[i], content->n_listeners - i);
		r = put(w, put_listener, &content->listeners[i], run, err);
	}
	for (size_t i = 0; i < content->n_guards && r == 0; i++)
		r = put(w, put_guard, &content->guards[i], 1, err);
	for (size_t i = 0; i < content->n_rules && r == 0; i++)
		r = put(w, put_rule, &content->rules[i], 1, err);
	return r < 0 ? r : flush(w, err);
}

static int replace(const struct kk_module *module, const struct kk_module_settings *settings,
		   const struct kk_content *content, struct kk_err *err)
{
	KK_CLEANUP(writer_clean)
	struct writer w = {.module = module, .set = &settings->core, .pending = true};
	int r = kk_module_send_settings(module, KK_CMD_TABLE_BEGIN, settings, err);

	if (r < 0)
		return r;
	r = put_all(&w, content, err);
	if (r < 0) {
		(void)kk_module_plain(module, KK_CMD_TABLE_ABORT, "", NULL);
		return r;
	}
	return kk_module_plain(module, KK_CMD_TABLE_COMMIT,
			       "the kernel module could not put the tables into force", err);
}

int kk_module_replace_all(const struct kk_module *module, const struct kk_module_settings *settings,
			  const struct kk_datapath_tables *wanted, struct kk_err *err)
{
	KK_CLEANUP(kk_content_clean) struct kk_content content = {0};
	int r = kk_content_make(&content, wanted, err);

	if (r == 0)
		r = kk_content_check(&content, &settings->core, wanted, err);
	return r < 0 ? r : replace(module, settings, &content, err);
}

int kk_module_replace(const struct kk_module *module, const struct kk_module_settings *settings,
		      const struct kk_listener *listeners, size_t n, struct kk_err *err)
{
	const struct kk_datapath_tables wanted = {.listeners = listeners, .n_listeners = n};

	return kk_module_replace_all(module, settings, &wanted, err);
}

/* ---- one or the other ---- */

static bool same_time(uint32_t found, uint32_t wanted, uint32_t usual)
{
	return found == (wanted ? wanted : usual);
}

static bool same_times(const struct kk_flow_times *found, const struct kk_flow_times *wanted)
{
	return same_time(found->udp, wanted->udp, 300) &&
	       same_time(found->tcp, wanted->tcp, 7440) &&
	       same_time(found->closing, wanted->closing, 240);
}

static bool same_settings(const struct kk_module_info *info,
			  const struct kk_module_settings *settings)
{
	uint32_t flows_max = settings->flows_max ? settings->flows_max : KK_SNAT_FLOWS_MAX;

	return info->public_ifindex == settings->public_ifindex &&
	       info->tunnel_ifindex == settings->tunnel_ifindex && info->edge == settings->edge &&
	       info->closed_ports == settings->closed_ports && info->flows_max == flows_max &&
	       same_times(&info->flow_times, &settings->flow_times) &&
	       memcmp(&info->settings, &settings->core, sizeof(settings->core)) == 0 &&
	       (!settings->edge || memcmp(&info->edge_settings, &settings->edge_settings,
					  sizeof(info->edge_settings)) == 0);
}

static void tables_freep(struct kk_datapath_tables **tables)
{
	kk_datapath_tables_free(*tables);
}

static int send_difference(const struct kk_module *module, const struct kk_settings *set,
			   const struct kk_content *next, struct kk_err *err)
{
	KK_CLEANUP(writer_clean) struct writer w = {.module = module, .set = set};
	KK_CLEANUP(kk_content_clean) struct kk_content old = {0};
	KK_CLEANUP(tables_freep) struct kk_datapath_tables *tables = NULL;
	int r = kk_module_read(module, &tables, err);

	if (r == 0)
		r = kk_content_make(&old, tables, err);
	if (r == 0)
		r = put_difference(&w, &old, next, err);
	return r < 0 ? r : flush(&w, err);
}

int kk_module_set(const struct kk_module *module, const struct kk_module_settings *settings,
		  const struct kk_datapath_tables *wanted, struct kk_err *err)
{
	KK_CLEANUP(kk_content_clean) struct kk_content next = {0};
	struct kk_module_info info;
	int r = kk_content_make(&next, wanted, err);

	if (r == 0)
		r = kk_content_check(&next, &settings->core, wanted, err);
	if (r == 0)
		r = kk_module_info(module, &info, err);
	if (r < 0)
		return r;
	if (!info.loaded || !same_settings(&info, settings))
		return replace(module, settings, &next, err);
	r = send_difference(module, &settings->core, &next, err);
	/* Too much for one request, or in no order without a conflict: it may still be done at once. */
	if (r == -E2BIG || r == -EEXIST || r == -ENOSPC || r == -EBUSY) {
		kk_err_reset(err);
		r = replace(module, settings, &next, err);
	}
	return r;
}

int kk_module_amend(const struct kk_module *module, const struct kk_module_settings *settings,
		    const struct kk_datapath_tables *from, const struct kk_datapath_tables *to,
		    struct kk_err *err)
{
	KK_CLEANUP(writer_clean) struct writer w = {.module = module, .set = &settings->core};
	KK_CLEANUP(kk_content_clean) struct kk_content old = {0};
	KK_CLEANUP(kk_content_clean) struct kk_content next = {0};
	struct kk_module_info info;
	int r = kk_content_make(&old, from, err);

	if (r == 0)
		r = kk_content_make(&next, to, err);
	if (r == 0)
		r = kk_module_info(module, &info, err);
	if (r < 0)
		return r;
	if (!info.loaded || !same_settings(&info, settings))
		return kk_err_set(err, ESTALE, NULL,
				  "the kernel module has tables of other settings, or none");
	r = put_difference(&w, &old, &next, err);
	if (r == 0)
		r = flush(&w, err);
	if (r == -E2BIG)
		return kk_err_set(err, E2BIG, NULL, "the change does not fit into one request");
	return r;
}

int kk_module_sync(const struct kk_module *module, const struct kk_module_settings *settings,
		   const struct kk_listener *listeners, size_t n, struct kk_err *err)
{
	const struct kk_datapath_tables wanted = {.listeners = listeners, .n_listeners = n};

	return kk_module_set(module, settings, &wanted, err);
}

int kk_module_set_group(const struct kk_module *module, const struct kk_group *group,
			struct kk_err *err)
{
	KK_CLEANUP(writer_clean) struct writer w = {.module = module};
	KK_CLEANUP(tables_freep) struct kk_datapath_tables *tables = NULL;
	int r = kk_module_read(module, &tables, err);

	for (size_t i = 0; r == 0 && i < tables->n_groups; i++) {
		if (tables->groups[i].id != group->id)
			continue;
		r = put(&w, put_group, group, 1, err);
		return r < 0 ? r : flush(&w, err);
	}
	return r < 0 ? r : kk_err_set(err, ENOENT, "group", "there is no group %u", group->id);
}
