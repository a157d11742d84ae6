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
	info->edge = settings.edge;
	info->closed_ports = settings.closed_ports;
	info->edge_settings = settings.edge_settings;
	info->flows_max = settings.flows_max;
	info->flow_times = settings.flow_times;
	info->n_listeners = nla_get_u32(attrs[KK_A_LISTENERS]);
	info->n_services = nla_get_u32(attrs[KK_A_SERVICES]);
	info->n_flows = attrs[KK_A_FLOWS] ? nla_get_u32(attrs[KK_A_FLOWS]) : 0;
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

int kk_module_plain(const struct kk_module *module, uint8_t cmd, const char *what,
		    struct kk_err *err)
{
	return plain(module, cmd, NULL, NULL, what, err);
}

int kk_module_send_settings(const struct kk_module *module, uint8_t cmd,
			    const struct kk_module_settings *settings, struct kk_err *err)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg =
		kk_genl_request(&module->genl, cmd, NLM_F_ACK, KK_WIRE_SETTINGS_ROOM);

	if (!msg || kk_wire_put_settings(msg, settings) < 0)
		return no_memory(err);
	return kk_genl_call(&module->genl, msg, NULL, NULL,
			    "the kernel module refused the settings", err);
}

int kk_module_set_settings(const struct kk_module *module,
			   const struct kk_module_settings *settings, struct kk_err *err)
{
	return kk_module_send_settings(module, KK_CMD_SETTINGS_SET, settings, err);
}

int kk_module_clear(const struct kk_module *module, struct kk_err *err)
{
	return plain(module, KK_CMD_TABLE_CLEAR, NULL, NULL, "the tables could not be removed",
		     err);
}
