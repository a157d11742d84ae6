// SPDX-License-Identifier: MIT
#include "plane/plane.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <kk/core/types.h>

#include "genl/installed.h"
#include "genl/module.h"
#include "plane/internal.h"
#include "util/cleanup.h"
#include "util/log.h"

/* How long a packet may be on its way from tc to the module's hook. */
#define UNDER_WAY_NS 20000000

static const char *const host_names[] = {
	[KK_PLANE_AUTO] = "auto", [KK_PLANE_MODULE] = "module", [KK_PLANE_BPF] = "bpf"};

int kk_plane_host_parse(const char *text, enum kk_plane_host *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(host_names); i++)
		if (strcmp(text, host_names[i]) == 0) {
			*ret = (enum kk_plane_host)i;
			return 0;
		}
	return -EINVAL;
}

/* ---- which of the two forwards ---- */

static void because(struct kk_plane *plane, const char *why)
{
	snprintf(plane->why, sizeof(plane->why), "%s", why);
}

static void module_takes_over(struct kk_plane *plane)
{
	if (plane->forwards)
		return;
	kk_datapath_forward(plane->bpf, false);
	plane->forwards = true;
	kk_info("the kernel module, version %s, forwards", plane->version);
}

/*
 * The module's tables go once no packet is between tc and its hook: what came through there to no tables would be answered by the
 * host.
 */
static void bpf_takes_over(struct kk_plane *plane, const char *why)
{
	const struct timespec pause = {.tv_nsec = UNDER_WAY_NS};
	struct kk_err err = {0};

	if (!plane->forwards && strcmp(plane->why, why) == 0)
		return;
	because(plane, why);
	if (plane->forwards) {
		kk_datapath_forward(plane->bpf, true);
		plane->forwards = false;
		nanosleep(&pause, NULL);
		if (plane->module.genl.sk && kk_module_clear(&plane->module, &err) < 0)
			kk_warn("%s", err.msg);
	}
	kk_warn("eBPF forwards, not the kernel module: %s", why);
}

/* ---- the module ---- */

static void forget_module(struct kk_plane *plane)
{
	kk_module_close(&plane->module);
	plane->stale = false;
}

/* Opens it if that can be; else ->why says why not. */
static void find_module(struct kk_plane *plane)
{
	struct kk_module_info info;
	struct kk_err err = {0};
	int r;

	if (plane->wanted == KK_PLANE_BPF) {
		because(plane, "asked for by --datapath bpf");
		return;
	}
	r = kk_module_open(&plane->module, &err);
	if (r == 0)
		r = kk_module_info(&plane->module, &info, &err);
	if (r == 0) {
		snprintf(plane->version, sizeof(plane->version), "%s", info.version);
		return;
	}
	kk_module_close(&plane->module);
	plane->stale = r == -EPROTO;
	if (r == -ENOENT)
		kk_module_absence(plane->why, sizeof(plane->why));
	else
		because(plane, err.msg);
}

/* Whether there are tables in this namespace that are about another tunnel, which is there. */
static bool is_anothers(const struct kk_module_info *info, uint32_t tunnel_ifindex,
			char name[IFNAMSIZ])
{
	return info->loaded && info->tunnel_ifindex && info->tunnel_ifindex != tunnel_ifindex &&
	       if_indextoname(info->tunnel_ifindex, name);
}

/* Whether the module forwards for @tunnel_ifname. */
static bool is_in_force(const struct kk_plane *plane, const char *tunnel_ifname)
{
	struct kk_module_info info;
	char name[IFNAMSIZ];

	return plane->module.genl.sk && kk_module_info(&plane->module, &info, NULL) == 0 &&
	       info.loaded && !is_anothers(&info, if_nametoindex(tunnel_ifname), name);
}

/* The edge is not the module's: eBPF in front of it judges. */
static struct kk_module_settings settings_of(const struct kk_plane *plane)
{
	struct kk_module_settings settings = {.edge = false};

	kk_datapath_settings(plane->bpf, &settings.core, &settings.public_ifindex,
			     &settings.tunnel_ifindex);
	return settings;
}

/* Lists, limits and bans are not the module's either. */
static struct kk_datapath_tables forwarding_of(const struct kk_datapath_tables *tables)
{
	return (struct kk_datapath_tables){
		.listeners = tables->listeners,
		.n_listeners = tables->n_listeners,
		.groups = tables->groups,
		.n_groups = tables->n_groups,
	};
}

static int set_module(struct kk_plane *plane, const struct kk_datapath_tables *wanted,
		      struct kk_err *err)
{
	const struct kk_module_settings settings = settings_of(plane);
	const struct kk_datapath_tables forwarding = forwarding_of(wanted);
	struct kk_module_info info;
	char name[IFNAMSIZ];
	int r = kk_module_info(&plane->module, &info, err);

	if (r < 0)
		return r;
	if (is_anothers(&info, settings.tunnel_ifindex, name))
		return kk_err_set(err, EBUSY, "datapath",
				  "the module serves %s, of another gateway in this namespace",
				  name);
	return kk_module_set(&plane->module, &settings, &forwarding, err);
}

/* Tables that the module had before, for interfaces and addresses as they are now. */
static void adopt_module(struct kk_plane *plane)
{
	const struct kk_module_settings settings = settings_of(plane);
	struct kk_err err = {0};

	plane->forwards = true;
	if (kk_module_set_settings(&plane->module, &settings, &err) < 0)
		bpf_takes_over(plane, err.msg);
}

/* ---- opening and closing ---- */

static void plane_freep(struct kk_plane **plane)
{
	kk_plane_close(*plane);
}

/* What the module has from a time when it was to forward. */
static void clear_leftovers(const char *tunnel_ifname)
{
	KK_CLEANUP(kk_module_close) struct kk_module module = {0};
	struct kk_module_info info;
	struct kk_err err = {0};
	char name[IFNAMSIZ];

	if (!kk_module_is_loaded() || kk_module_open(&module, NULL) < 0 ||
	    kk_module_info(&module, &info, NULL) < 0 || !info.loaded ||
	    is_anothers(&info, if_nametoindex(tunnel_ifname), name))
		return;
	if (kk_module_clear(&module, &err) < 0)
		kk_warn("%s", err.msg);
}

int kk_plane_open(const struct kk_datapath_config *config, enum kk_plane_host host,
		  struct kk_plane **ret, struct kk_err *err)
{
	KK_CLEANUP(plane_freep) struct kk_plane *plane = calloc(1, sizeof(*plane));
	struct kk_datapath_config bpf = *config;
	int r;

	if (!plane)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	plane->wanted = host;
	find_module(plane);
	if (host == KK_PLANE_MODULE && !plane->module.genl.sk && !plane->stale)
		return kk_err_set(err, ENOENT, "datapath", "datapath: module cannot be: %s",
				  plane->why);
	bpf.standby = is_in_force(plane, config->tunnel_ifname);
	r = kk_datapath_open(&bpf, &plane->bpf, err);
	if (r < 0)
		return r;
	if (bpf.standby)
		adopt_module(plane);
	if (host == KK_PLANE_BPF)
		clear_leftovers(config->tunnel_ifname);
	*ret = KK_STEAL(plane);
	return 0;
}

int kk_plane_open_readonly(const char *pin_dir, struct kk_plane **ret, struct kk_err *err)
{
	KK_CLEANUP(plane_freep) struct kk_plane *plane = calloc(1, sizeof(*plane));
	struct kk_module_info info;
	int r;

	if (!plane)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	r = kk_datapath_open_readonly(pin_dir, &plane->bpf, err);
	if (r < 0)
		return r;
	if (kk_module_is_loaded())
		find_module(plane);
	else
		kk_module_absence(plane->why, sizeof(plane->why));
	if (plane->module.genl.sk && kk_module_info(&plane->module, &info, NULL) == 0 &&
	    info.loaded)
		plane->forwards = true;
	else if (plane->module.genl.sk)
		because(plane, "the module is loaded and has no tables in this network namespace");
	*ret = KK_STEAL(plane);
	return 0;
}

void kk_plane_close(struct kk_plane *plane)
{
	if (!plane)
		return;
	forget_module(plane);
	kk_datapath_close(plane->bpf);
	free(plane);
}

int kk_plane_remove(const char *pin_dir, const char *public_ifname, const char *tunnel_ifname,
		    struct kk_err *err)
{
	clear_leftovers(tunnel_ifname);
	return kk_datapath_remove(pin_dir, public_ifname, tunnel_ifname, err);
}

bool kk_plane_fits(const struct kk_plane *plane)
{
	return kk_datapath_fits(plane->bpf);
}

/* ---- changing ---- */

/* The module first: what it takes and eBPF then refuses is put out of force, and eBPF has what was before. */
static int set_both(struct kk_plane *plane, const struct kk_datapath_tables *wanted,
		    struct kk_err *err)
{
	struct kk_err why = {0}, refusal = {0};
	bool open = plane->module.genl.sk;
	int taken = open ? set_module(plane, wanted, &why) : -ENOENT;
	int r;

	if (open && taken < 0 && plane->wanted == KK_PLANE_MODULE)
		return kk_err_set(err, why.code, why.field, "%s", why.msg);
	r = kk_datapath_set(plane->bpf, wanted, &refusal);
	if (r < 0) {
		if (taken == 0)
			bpf_takes_over(plane, refusal.msg);
		return kk_err_set(err, refusal.code, refusal.field, "%s", refusal.msg);
	}
	if (taken == 0)
		module_takes_over(plane);
	else if (open)
		bpf_takes_over(plane, why.msg);
	return 0;
}

/* What another version's module has in force here: eBPF has taken its place. */
static void clear_stale(struct kk_plane *plane)
{
	KK_CLEANUP(kk_module_close) struct kk_module module = {0};
	struct kk_err err = {0};
	int r = kk_genl_open(&module.genl, KK_GENL_NAME, KK_GENL_VERSION, &err);

	if (r == 0)
		r = kk_module_clear(&module, &err);
	if (r < 0)
		kk_warn("%s", err.msg);
	plane->stale = false;
}

int kk_plane_set(struct kk_plane *plane, const struct kk_datapath_tables *wanted,
		 struct kk_err *err)
{
	int r = set_both(plane, wanted, err);

	if (r == 0 && plane->stale)
		clear_stale(plane);
	return r;
}

static int amend_module(struct kk_plane *plane, const struct kk_datapath_tables *from,
			const struct kk_datapath_tables *to, struct kk_err *err)
{
	const struct kk_module_settings settings = settings_of(plane);
	const struct kk_datapath_tables old = forwarding_of(from), next = forwarding_of(to);

	return kk_module_amend(&plane->module, &settings, &old, &next, err);
}

/* eBPF first: it looks at everything before it changes anything, and what it did it can take back. */
int kk_plane_amend(struct kk_plane *plane, const struct kk_datapath_tables *from,
		   const struct kk_datapath_tables *to, struct kk_err *err)
{
	struct kk_err undone = {0};
	int r;

	if (plane->stale || (plane->module.genl.sk && !plane->forwards))
		return kk_err_set(err, ESTALE, NULL, "the kernel module has not got the tables");
	r = kk_datapath_amend(plane->bpf, from, to, err);
	if (r < 0 || !plane->forwards)
		return r;
	r = amend_module(plane, from, to, err);
	if (r < 0 && kk_datapath_amend(plane->bpf, to, from, &undone) < 0)
		kk_error("the tables could not be put back as they were: %s", undone.msg);
	return r;
}

int kk_plane_set_group(struct kk_plane *plane, const struct kk_group *group, struct kk_err *err)
{
	int r = kk_datapath_set_group(plane->bpf, group, err);

	if (r == 0 && plane->forwards)
		r = kk_module_set_group(&plane->module, group, err);
	return r;
}

bool kk_plane_follow_module(struct kk_plane *plane)
{
	struct kk_module_info info;

	if (plane->wanted == KK_PLANE_BPF)
		return false;
	if (plane->module.genl.sk && kk_module_info(&plane->module, &info, NULL) == 0 &&
	    info.loaded == plane->forwards)
		return false;
	if (plane->module.genl.sk) {
		forget_module(plane);
		bpf_takes_over(plane, "the module " KK_MODULE_NAME " was unloaded");
	}
	if (!kk_module_is_loaded())
		return false;
	find_module(plane);
	return plane->module.genl.sk;
}

/* ---- what it is ---- */

struct kk_datapath *kk_plane_bpf(const struct kk_plane *plane)
{
	return plane->bpf;
}

const char *kk_plane_kind(const struct kk_plane *plane)
{
	return plane->forwards ? "module" : "tc";
}

const char *kk_plane_reason(const struct kk_plane *plane)
{
	struct kk_plane *p = (struct kk_plane *)plane;
	const char *bpf = kk_datapath_reason(plane->bpf);

	if (plane->forwards)
		snprintf(p->reason, sizeof(p->reason), "the kernel module, version %s",
			 plane->version);
	else
		snprintf(p->reason, sizeof(p->reason), "eBPF: %s", *bpf ? bpf : plane->why);
	return plane->reason;
}
