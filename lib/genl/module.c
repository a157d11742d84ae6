// SPDX-License-Identifier: MIT
#include "genl/module.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <netlink/attr.h>
#include <uapi/kakuremichi.h>

#include "genl/wire.h"
#include "net/nl.h"
#include "util/cleanup.h"

/* Bytes of attributes in one request: beyond that they are spread over several. */
#define REQUEST_MAX 32768

int kk_module_open(struct kk_module *ret, struct kk_err *err)
{
	struct kk_module module = {0};
	struct kk_module_info info;
	int r;

	r = kk_genl_open(&module.genl, KK_GENL_NAME, KK_GENL_VERSION, err);
	if (r < 0)
		return r;
	r = kk_module_info(&module, &info, err);
	if (r == 0 && info.layout != KK_LAYOUT)
		r = kk_err_set(
			err, EPROTO, NULL,
			"the kernel module is of version %s, with tables of layout %u, and layout %u is wanted",
			info.version, info.layout, KK_LAYOUT);
	if (r < 0) {
		kk_module_close(&module);
		return r;
	}
	*ret = module;
	return 0;
}

void kk_module_close(struct kk_module *module)
{
	kk_genl_close(&module->genl);
}

static int no_memory(struct kk_err *err)
{
	return kk_err_set(err, ENOMEM, NULL, "out of memory");
}

static int on_info(struct nlmsghdr *hdr, void *userdata)
{
	struct nlattr *attrs[KK_A_MAX + 1];
	struct kk_module_info *info = userdata;
	struct kk_module_settings settings;
	int r;

	r = kk_wire_parse(hdr, attrs);
	if (r < 0)
		return r;
	if (!attrs[KK_A_VERSION] || !attrs[KK_A_LAYOUT])
		return -EBADMSG;
	nla_strlcpy(info->version, attrs[KK_A_VERSION], sizeof(info->version));
	info->layout = nla_get_u32(attrs[KK_A_LAYOUT]);
	if (!attrs[KK_A_SETTINGS] || info->layout != KK_LAYOUT)
		return 0;
	r = kk_wire_get_settings(attrs[KK_A_SETTINGS], &settings);
	if (r < 0)
		return r;
	if (!attrs[KK_A_LISTENERS] || !attrs[KK_A_SERVICES])
		return -EBADMSG;
	info->loaded = true;
	info->settings = settings.core;
	info->public_ifindex = settings.public_ifindex;
	info->tunnel_ifindex = settings.tunnel_ifindex;
	info->n_listeners = nla_get_u32(attrs[KK_A_LISTENERS]);
	info->n_services = nla_get_u32(attrs[KK_A_SERVICES]);
	return 0;
}

/* Requests that are nothing but a number. */
static int plain(const struct kk_module *module, uint8_t cmd,
		 int (*each)(struct nlmsghdr *hdr, void *userdata), void *userdata,
		 const char *what, struct kk_err *err)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg = kk_genl_request(&module->genl, cmd, NLM_F_ACK, 0);

	return msg ? kk_genl_call(&module->genl, msg, each, userdata, what, err) : no_memory(err);
}

int kk_module_info(const struct kk_module *module, struct kk_module_info *ret, struct kk_err *err)
{
	memset(ret, 0, sizeof(*ret));
	return plain(module, KK_CMD_INFO_GET, on_info, ret, "the kernel module does not answer",
		     err);
}

static int send_settings(const struct kk_module *module, uint8_t cmd,
			 const struct kk_module_settings *settings, const char *what,
			 struct kk_err *err)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg =
		kk_genl_request(&module->genl, cmd, NLM_F_ACK, KK_WIRE_SETTINGS_ROOM);

	if (!msg || kk_wire_put_settings(msg, settings) < 0)
		return no_memory(err);
	return kk_genl_call(&module->genl, msg, NULL, NULL, what, err);
}

int kk_module_set_settings(const struct kk_module *module,
			   const struct kk_module_settings *settings, struct kk_err *err)
{
	return send_settings(module, KK_CMD_SETTINGS_SET, settings,
			     "the kernel module refused the settings", err);
}

int kk_module_clear(const struct kk_module *module, struct kk_err *err)
{
	return plain(module, KK_CMD_TABLE_CLEAR, NULL, NULL, "the tables could not be removed",
		     err);
}

/* What the module's tables cannot hold is refused before anything is asked of it. */
static int check(const struct kk_listener *listeners, size_t n, struct kk_err *err)
{
	for (size_t i = 0; i < n; i++)
		if (listeners[i].group || listeners[i].snat)
			return kk_err_set(err, EOPNOTSUPP, listeners[i].group ? "agent" : "snat",
					  "the kernel module has no %s, which service %u needs",
					  listeners[i].group ? "groups of agents"
							     : "translated flows",
					  listeners[i].service);
	return 0;
}

static int bad_address(const struct kk_listener *listener, struct kk_err *err)
{
	char text[KK_ADDRESS_TEXT];

	return kk_err_set(err, EINVAL, "address", "%s is no public address of this gateway",
			  kk_address_text(&listener->address, text));
}

/* As many of @n as one request holds, or all; how many, or an errno. */
static int fill(const struct kk_module *module, const struct kk_settings *set,
		const struct kk_listener *listeners, size_t n, struct kk_err *err)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg =
		kk_genl_request(&module->genl, KK_CMD_LISTENER_CHANGE, NLM_F_ACK, REQUEST_MAX);
	size_t fit = REQUEST_MAX / KK_WIRE_LISTENER_ROOM - 1;
	int r;

	if (!msg || nla_put_flag(msg, KK_A_PENDING) < 0)
		return no_memory(err);
	if (n > fit)
		n = fit;
	for (size_t i = 0; i < n; i++) {
		r = kk_wire_put_listener(msg, set, &listeners[i]);
		if (r < 0)
			return r == -EINVAL ? bad_address(&listeners[i], err) : no_memory(err);
	}
	r = kk_genl_call(&module->genl, msg, NULL, NULL, "the kernel module refused the services",
			 err);
	return r < 0 ? r : (int)n;
}

int kk_module_replace(const struct kk_module *module, const struct kk_module_settings *settings,
		      const struct kk_listener *listeners, size_t n, struct kk_err *err)
{
	int r;

	r = check(listeners, n, err);
	if (r == 0)
		r = send_settings(module, KK_CMD_TABLE_BEGIN, settings,
				  "the kernel module refused the settings", err);
	if (r < 0)
		return r;
	for (size_t done = 0; done < n; done += (size_t)r) {
		r = fill(module, &settings->core, listeners + done, n - done, err);
		if (r < 0) {
			(void)plain(module, KK_CMD_TABLE_ABORT, NULL, NULL, "", NULL);
			return r;
		}
	}
	return plain(module, KK_CMD_TABLE_COMMIT, NULL, NULL,
		     "the kernel module could not put the tables into force", err);
}

static int compare_places(const void *a, const void *b)
{
	const struct kk_listener *x = a, *y = b;
	int r = kk_address_compare(&x->address, &y->address);

	if (r)
		return r;
	if (x->protocol != y->protocol)
		return x->protocol - y->protocol;
	return x->port - y->port;
}

static struct kk_listener *sorted(const struct kk_listener *listeners, size_t n)
{
	struct kk_listener *copy = malloc((n + 1) * sizeof(*copy));

	if (copy && n) {
		memcpy(copy, listeners, n * sizeof(*copy));
		qsort(copy, n, sizeof(*copy), compare_places);
	}
	return copy;
}

static bool same(const struct kk_listener *a, const struct kk_listener *b)
{
	return a->agent_address.s_addr == b->agent_address.s_addr &&
	       a->agent_port == b->agent_port && a->service == b->service &&
	       a->draining == b->draining;
}

/*
 * One half of what differs into a request: what goes (@gone), or what comes. How many ports; -E2BIG: too many for
 * one request.
 */
static int put_difference(struct nl_msg *msg, const struct kk_settings *set,
			  const struct kk_listener *old, size_t n_old,
			  const struct kk_listener *next, size_t n_next, bool gone)
{
	size_t i = 0, j = 0;
	int n = 0, r = 0;

	while (i < n_old || j < n_next) {
		int order = i == n_old ? 1 : j == n_next ? -1 : compare_places(&old[i], &next[j]);
		bool differs = order != 0 || !same(&old[i], &next[j]);

		if (differs && gone && order <= 0)
			r = kk_wire_put_gone(msg, set, &old[i]);
		else if (differs && !gone && order >= 0)
			r = kk_wire_put_listener(msg, set, &next[j]);
		if (r < 0)
			return r == -EMSGSIZE ? -E2BIG : r;
		n += differs;
		i += order <= 0;
		j += order >= 0;
	}
	return n;
}

static bool same_settings(const struct kk_module_info *info,
			  const struct kk_module_settings *settings)
{
	return info->public_ifindex == settings->public_ifindex &&
	       info->tunnel_ifindex == settings->tunnel_ifindex &&
	       memcmp(&info->settings, &settings->core, sizeof(settings->core)) == 0;
}

static int send_difference(const struct kk_module *module, const struct kk_settings *set,
			   const struct kk_listener *old, size_t n_old,
			   const struct kk_listener *next, size_t n_next, struct kk_err *err)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg =
		kk_genl_request(&module->genl, KK_CMD_LISTENER_CHANGE, NLM_F_ACK, REQUEST_MAX);
	int r;

	if (!msg)
		return no_memory(err);
	r = put_difference(msg, set, old, n_old, next, n_next, true);
	if (r >= 0)
		r = put_difference(msg, set, old, n_old, next, n_next, false);
	if (r <= 0)
		return r;
	return kk_genl_call(&module->genl, msg, NULL, NULL,
			    "the kernel module refused the services", err);
}

int kk_module_sync(const struct kk_module *module, const struct kk_module_settings *settings,
		   const struct kk_listener *listeners, size_t n, struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_listener *old = NULL, *old_sorted = NULL, *next = NULL;
	struct kk_module_info info;
	int n_old, r;

	for (size_t i = 0; i < n; i++)
		if (kk_wire_slot(&settings->core, &listeners[i].address) < 0)
			return bad_address(&listeners[i], err);
	r = check(listeners, n, err);
	if (r == 0)
		r = kk_module_info(module, &info, err);
	if (r < 0)
		return r;
	if (!info.loaded || !same_settings(&info, settings))
		return kk_module_replace(module, settings, listeners, n, err);
	n_old = kk_module_list(module, &old, err);
	if (n_old < 0)
		return n_old;
	old_sorted = sorted(old, (size_t)n_old);
	next = sorted(listeners, n);
	if (!old_sorted || !next)
		return no_memory(err);
	r = send_difference(module, &settings->core, old_sorted, (size_t)n_old, next, n, err);
	return r == -E2BIG ? kk_module_replace(module, settings, listeners, n, err) : r;
}
