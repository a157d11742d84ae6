// SPDX-License-Identifier: MIT
/* A data path opened, adopted, put into force and taken away. */
#include "bpf/datapath.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/attach.h"
#include "bpf/attach_xdp.h"
#include "bpf/bpffs.h"
#include "bpf/edge.h"
#include "bpf/internal.h"
#include "bpf/summed.h"
#include "kk_tc.skel.h"
#include "util/cleanup.h"
#include "util/log.h"

static int log_libbpf(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	char line[1024];

	(void)level;
	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	kk_debug("libbpf: %s", line);
	return 0;
}

#define LAYOUT_PREFIX "layout-"

/* Where the tables of our layout are pinned. */
static const char *layout_dir(const struct kk_datapath *dp, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/" LAYOUT_PREFIX "%d", dp->pin_dir, KK_LAYOUT);
	return path;
}

static int load(struct kk_datapath *dp, const struct kk_datapath_config *config, bool *ret_adopted,
		struct kk_err *err)
{
	const struct kk_settings settings = kk_settings_of(config, dp->link[KK_TUNNEL].mtu);
	struct kk_edge_settings edge;
	char dir[PATH_MAX];
	int r;

	r = kk_edge_settings_of(config, &edge, err);
	if (r < 0)
		return r;
	dp->skel = kk_tc__open();
	if (!dp->skel)
		return kk_err_set(err, errno, NULL, "cannot open the BPF programs: %s",
				  strerror(errno));
	dp->skel->rodata->kk_settings = settings;
	dp->skel->rodata->kk_edge_settings = edge;
	dp->skel->rodata->kk_public_ifindex = (__u32)dp->link[KK_PUBLIC].ifindex;
	dp->skel->rodata->kk_tunnel_ifindex = (__u32)dp->link[KK_TUNNEL].ifindex;
	dp->skel->data->kk_forward_here = !config->standby;
	r = kk_tables_adopt(dp->skel->obj, layout_dir(dp, dir), kk_settings_slots(config),
			    &dp->resized, err);
	if (r < 0)
		return r;
	*ret_adopted = r;
	dp->skel->rodata->kk_skb_summed = kk_summed_prepare(dp->skel->obj);
	r = kk_tc__load(dp->skel);
	if (r < 0)
		return kk_err_set(err, -r, NULL,
				  "the kernel refused the BPF programs (--verbose says why): %s",
				  strerror(-r));
	r = kk_tables_init(&dp->tables, dp->skel->obj, err);
	if (r < 0)
		return r;
	dp->tables.settings = settings;
	return dp->resized ? kk_tables_carry_over(&dp->tables, dir, err) : 0;
}

static int put_edge_in_force(struct kk_datapath *dp, struct kk_err *err)
{
	kk_tables_feature(&dp->tables, KK_FEATURE_CLOSED_PORTS, dp->edge.closed_ports);
	kk_tables_feature(&dp->tables, KK_FEATURE_SYN_COOKIES, true);
	return kk_edge_attach(dp->skel, &dp->edge, dp->link[KK_PUBLIC].name,
			      dp->link[KK_PUBLIC].ifindex, err);
}

int kk_datapath_put_in_force(struct kk_datapath *dp, bool adopted, struct kk_err *err)
{
	const int prog_fd[KK_LINKS] = {
		[KK_TUNNEL] = bpf_program__fd(dp->skel->progs.kk_tc_tunnel),
		[KK_PUBLIC] = bpf_program__fd(dp->skel->progs.kk_tc_public),
	};
	struct kk_attachment done[KK_LINKS];
	struct kk_err others = {0};
	char dir[PATH_MAX];
	int r = 0, n = 0;

	layout_dir(dp, dir);
	if (!adopted) {
		r = kk_bpffs_mkdir(dir, err);
		if (r == 0)
			r = kk_tables_pin(dp->skel->obj, dir, false, err);
	}
	while (r == 0 && n < KK_LINKS) {
		r = kk_attach(dp->link[n].name, dp->link[n].ifindex, prog_fd[n], &done[n], err);
		if (r == 0)
			n++;
	}
	if (r == 0 && dp->resized)
		r = kk_tables_pin(dp->skel->obj, dir, true, err);
	if (r == 0)
		r = kk_tables_put_settings(&dp->tables, err);
	if (r == 0)
		r = put_edge_in_force(dp, err);
	while (n-- > 0) {
		if (r < 0)
			kk_attach_undo(&done[n]);
		else
			kk_attach_done(&done[n]);
	}
	if (r < 0 && !adopted)
		kk_bpffs_remove(dir, NULL);
	/* No program uses the tables of other versions any more; nobody shall ever adopt them. */
	if (r == 0 && kk_bpffs_remove_all(dp->pin_dir, LAYOUT_PREFIX, dir, &others) < 0)
		kk_warn("%s", others.msg);
	return r;
}

static void datapath_freep(struct kk_datapath **dp)
{
	kk_datapath_close(*dp);
}

int kk_datapath_open(const struct kk_datapath_config *config, struct kk_datapath **ret,
		     struct kk_err *err)
{
	KK_CLEANUP(datapath_freep) struct kk_datapath *dp = calloc(1, sizeof(*dp));
	bool adopted;
	int r;

	if (!dp)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	libbpf_set_print(log_libbpf);
	r = kk_settings_check(config, err);
	if (r < 0)
		return r;
	if (strlen(config->pin_dir) >= sizeof(dp->pin_dir))
		return kk_err_set(err, ENAMETOOLONG, "pin-dir", "path %s is too long",
				  config->pin_dir);
	strcpy(dp->pin_dir, config->pin_dir);
	dp->edge = config->edge;
	r = kk_link_end_init(dp->link, KK_TUNNEL, config->tunnel_ifname, err);
	if (r == 0)
		r = kk_link_end_init(dp->link, KK_PUBLIC, config->public_ifname, err);
	if (r == 0)
		r = kk_bpffs_mkdir(dp->pin_dir, err);
	if (r == 0)
		r = load(dp, config, &adopted, err);
	if (r < 0)
		return r;
	dp->pending = !adopted && (kk_attached(dp->link[KK_PUBLIC].ifindex) ||
				   kk_attached(dp->link[KK_TUNNEL].ifindex));
	if (!dp->pending)
		r = kk_datapath_put_in_force(dp, adopted, err);
	if (r < 0)
		return r;
	*ret = KK_STEAL(dp);
	return 0;
}

int kk_datapath_open_readonly(const char *pin_dir, struct kk_datapath **ret, struct kk_err *err)
{
	KK_CLEANUP(datapath_freep) struct kk_datapath *dp = calloc(1, sizeof(*dp));
	char dir[PATH_MAX];
	int r;

	if (!dp)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	libbpf_set_print(log_libbpf);
	if (strlen(pin_dir) >= sizeof(dp->pin_dir))
		return kk_err_set(err, ENAMETOOLONG, "pin-dir", "path %s is too long", pin_dir);
	strcpy(dp->pin_dir, pin_dir);
	dp->readonly = true;
	/* An object that is opened but never loaded only says which maps to look for. */
	dp->skel = kk_tc__open();
	if (!dp->skel)
		return kk_err_set(err, errno, NULL, "cannot open the BPF programs: %s",
				  strerror(errno));
	r = kk_tables_adopt(dp->skel->obj, layout_dir(dp, dir), 0, &dp->resized, err);
	if (r < 0)
		return r;
	if (r == 0)
		return kk_err_set(err, ENOENT, "pin-dir",
				  "there are no tables of this version in %s", pin_dir);
	r = kk_tables_init_readonly(&dp->tables, dp->skel->obj, err);
	if (r < 0)
		return r;
	*ret = KK_STEAL(dp);
	return 0;
}

bool kk_datapath_fits(const struct kk_datapath *dp)
{
	for (int i = 0; i < KK_LINKS && !dp->readonly; i++) {
		struct kk_link_end now[KK_LINKS];

		if (kk_link_end_init(now, i, dp->link[i].name, NULL) < 0)
			continue;
		if (now[i].ifindex != dp->link[i].ifindex ||
		    (i == KK_TUNNEL && now[i].mtu != dp->link[i].mtu))
			return false;
	}
	return true;
}

void kk_datapath_forward(struct kk_datapath *dp, bool here)
{
	__atomic_store_n(&dp->skel->data->kk_forward_here, here, __ATOMIC_RELEASE);
}

void kk_datapath_settings(const struct kk_datapath *dp, struct kk_settings *ret,
			  uint32_t *ret_public_ifindex, uint32_t *ret_tunnel_ifindex)
{
	*ret = dp->tables.settings;
	*ret_public_ifindex = (uint32_t)dp->link[KK_PUBLIC].ifindex;
	*ret_tunnel_ifindex = (uint32_t)dp->link[KK_TUNNEL].ifindex;
}

void kk_datapath_close(struct kk_datapath *dp)
{
	if (!dp)
		return;
	kk_tables_clean(&dp->tables);
	kk_tc__destroy(dp->skel);
	free(dp);
}

int kk_datapath_remove(const char *pin_dir, const char *public_ifname, const char *tunnel_ifname,
		       struct kk_err *err)
{
	const char *names[KK_LINKS] = {[KK_TUNNEL] = tunnel_ifname, [KK_PUBLIC] = public_ifname};
	int r;

	libbpf_set_print(log_libbpf);
	/* The way in closes before the wall behind it goes. */
	for (int i = KK_LINKS - 1; i >= 0; i--) {
		int ifindex = (int)if_nametoindex(names[i]);

		r = ifindex ? kk_detach(names[i], ifindex, err) : 0;
		if (r == 0 && ifindex && i == KK_PUBLIC)
			r = kk_xdp_detach(names[i], ifindex, err);
		if (r < 0)
			return r;
	}
	r = kk_bpffs_remove_all(pin_dir, LAYOUT_PREFIX, NULL, err);
	/* Whoever put other things there keeps the directory too. */
	if (r == 0 && rmdir(pin_dir) < 0 && errno != ENOENT && errno != ENOTEMPTY && errno != EBUSY)
		return kk_err_set(err, errno, "pin-dir", "cannot remove %s: %s", pin_dir,
				  strerror(errno));
	return r;
}
