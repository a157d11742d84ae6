// SPDX-License-Identifier: MIT
#include "bpf/attach.h"

#include <errno.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/pkt_sched.h>
#include <netlink/route/classifier.h>

#include "util/cleanup.h"
#include "util/log.h"

#define KK_PROG_PREFIX "kk_tc_"

#define HOOK(ifindex_)                                                                             \
	((struct bpf_tc_hook){.sz = sizeof(struct bpf_tc_hook),                                    \
			      .ifindex = (ifindex_),                                               \
			      .attach_point = BPF_TC_INGRESS})
#define PLACE(...)                                                                                 \
	((struct bpf_tc_opts){.sz = sizeof(struct bpf_tc_opts),                                    \
			      .handle = KK_TC_HANDLE,                                              \
			      .priority = KK_TC_PRIORITY,                                          \
			      ##__VA_ARGS__})

/* linux/bpf.h from Linux 6.6 on */
#define KK_TCX_INGRESS 46
#define KK_TCX_MAX     64 /* programs of one hook, as the kernel has it */

/* A descriptor of the program with @id if it is ours; -EEXIST if not, and its name is put into @name of BPF_OBJ_NAME_LEN bytes. */
static int open_ours(__u32 id, char *name)
{
	struct bpf_prog_info info = {0};
	__u32 len = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id), r;

	if (fd < 0)
		return fd;
	r = bpf_obj_get_info_by_fd(fd, &info, &len);
	if (r == 0 && strncmp(info.name, KK_PROG_PREFIX, strlen(KK_PROG_PREFIX)) != 0)
		r = -EEXIST;
	if (r < 0) {
		memcpy(name, info.name, sizeof(info.name));
		kk_close(fd);
		return r;
	}
	return fd;
}

/* The program at our place of clsact; -ENOENT if there is none, -EEXIST as open_ours(). */
static int find_clsact(int ifindex, char *name)
{
	struct bpf_tc_hook hook = HOOK(ifindex);
	struct bpf_tc_opts opts = PLACE();
	int r = bpf_tc_query(&hook, &opts);

	if (r < 0)
		return r == -EINVAL ? -ENOENT : r; /* EINVAL: no clsact */
	return open_ours(opts.prog_id, name);
}

/* Our program at tcx; -ENOENT if there is none, -EOPNOTSUPP if the kernel has no tcx. */
static int find_tcx(int ifindex)
{
	__u32 ids[KK_TCX_MAX], n = KK_TCX_MAX;
	char name[BPF_OBJ_NAME_LEN];
	int r = bpf_prog_query(ifindex, KK_TCX_INGRESS, 0, NULL, ids, &n);

	if (r < 0)
		return r == -ENOENT ? r : -EOPNOTSUPP;
	for (__u32 i = 0; i < n; i++) {
		int fd = open_ours(ids[i], name);

		if (fd >= 0)
			return fd;
	}
	return -ENOENT;
}

static int attach_tcx(int ifindex, int prog_fd, int old_fd)
{
	LIBBPF_OPTS(bpf_prog_attach_opts, opts);

	if (old_fd >= 0) {
		opts.flags = BPF_F_REPLACE;
		opts.replace_prog_fd = old_fd;
	}
	return bpf_prog_attach_opts(prog_fd, ifindex, KK_TCX_INGRESS, &opts);
}

static int attach_clsact(int ifindex, int prog_fd)
{
	struct bpf_tc_hook hook = HOOK(ifindex);
	struct bpf_tc_opts opts = PLACE(.prog_fd = prog_fd, .flags = BPF_TC_F_REPLACE);
	int r = bpf_tc_hook_create(&hook);

	return r < 0 && r != -EEXIST ? r : bpf_tc_attach(&hook, &opts);
}

/* Number of filters at @parent, but for those of @priority, or a negative errno. */
static int count_filters(struct nl_sock *sock, int ifindex, uint32_t parent, int priority)
{
	struct nl_cache *cache;
	int n = 0;

	if (rtnl_cls_alloc_cache(sock, ifindex, parent, &cache) < 0)
		return -EIO;
	for (struct nl_object *o = nl_cache_get_first(cache); o; o = nl_cache_get_next(o))
		n += rtnl_cls_get_prio((struct rtnl_cls *)o) != priority;
	nl_cache_free(cache);
	return n;
}

/* Of one way (TC_H_MIN_INGRESS, _EGRESS) of clsact; none where there is no clsact. */
static int count_at(int ifindex, uint32_t way, int priority)
{
	struct nl_sock *sock = nl_socket_alloc();
	int n = -ENOMEM;

	if (!sock)
		return n;
	n = nl_connect(sock, NETLINK_ROUTE) == 0
		    ? count_filters(sock, ifindex, TC_H_MAKE(TC_H_CLSACT, way), priority)
		    : -EIO;
	nl_socket_free(sock);
	return n;
}

static int detach_clsact(int ifindex)
{
	struct bpf_tc_hook hook = HOOK(ifindex);
	struct bpf_tc_opts opts = PLACE();
	int r = bpf_tc_detach(&hook, &opts);

	if (r < 0 && r != -ENOENT)
		return r;
	if (count_at(ifindex, TC_H_MIN_INGRESS, 0) != 0 ||
	    count_at(ifindex, TC_H_MIN_EGRESS, 0) != 0)
		return 0;
	hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
	r = bpf_tc_hook_destroy(&hook);
	if (r < 0)
		kk_warn("cannot remove the clsact qdisc of interface %d: %s", ifindex,
			strerror(-r));
	return 0;
}

/* Filters at the ingress besides what is at our place; where that cannot be told, there are some. */
static bool has_others(int ifindex)
{
	return count_at(ifindex, TC_H_MIN_INGRESS, KK_TC_PRIORITY) != 0;
}

bool kk_attached(int ifindex)
{
	char name[BPF_OBJ_NAME_LEN];
	KK_CLEANUP_CLOSE int clsact = find_clsact(ifindex, name);
	KK_CLEANUP_CLOSE int tcx = find_tcx(ifindex);

	return clsact >= 0 || tcx >= 0;
}

/*
 * tcx runs its programs straight away, which is cheaper than clsact by a tenth of what a packet costs in all. But it stands in
 * front of all filters: where somebody has some, ours stays among them, behind those with lower numbers.
 */
static enum kk_place place_for(int ifindex, int tcx)
{
	if (tcx == -EOPNOTSUPP || has_others(ifindex))
		return KK_PLACE_CLSACT;
	return KK_PLACE_TCX;
}

/* From one place to the other there is a moment in which the program is at both: the first one takes the packets. */
static int put(int ifindex, enum kk_place place, int prog_fd, int clsact, int tcx)
{
	int r;

	if (place == KK_PLACE_CLSACT) {
		r = attach_clsact(ifindex, prog_fd);
		if (r == 0 && tcx >= 0)
			r = bpf_prog_detach2(tcx, ifindex, KK_TCX_INGRESS);
		return r;
	}
	r = attach_tcx(ifindex, prog_fd, tcx);
	if (r == 0 && clsact >= 0)
		r = detach_clsact(ifindex);
	return r;
}

int kk_attach(const char *ifname, int ifindex, int prog_fd, struct kk_attachment *ret,
	      struct kk_err *err)
{
	char name[BPF_OBJ_NAME_LEN];
	KK_CLEANUP_CLOSE int clsact = find_clsact(ifindex, name);
	KK_CLEANUP_CLOSE int tcx = find_tcx(ifindex);
	enum kk_place place;
	int r;

	if (clsact == -EEXIST)
		return kk_err_set(err, EEXIST, NULL,
				  "priority %d of the tc ingress of %s is taken by program %s",
				  KK_TC_PRIORITY, ifname, name);
	if (clsact < 0 && clsact != -ENOENT)
		return kk_err_set(err, -clsact, NULL, "cannot query the tc ingress of %s: %s",
				  ifname, strerror(-clsact));
	place = place_for(ifindex, tcx);
	r = put(ifindex, place, prog_fd, clsact, tcx);
	if (r < 0)
		return kk_err_set(err, -r, NULL, "cannot attach to the tc ingress of %s: %s",
				  ifname, strerror(-r));
	*ret = (struct kk_attachment){
		.ifname = ifname,
		.ifindex = ifindex,
		.old_fd = -1,
		.old_place = tcx >= 0 ? KK_PLACE_TCX : KK_PLACE_CLSACT,
	};
	if (tcx >= 0)
		ret->old_fd = kk_steal_fd(&tcx);
	else if (clsact >= 0)
		ret->old_fd = kk_steal_fd(&clsact);
	return 0;
}

void kk_attach_undo(struct kk_attachment *attachment)
{
	int ifindex = attachment->ifindex, r;
	char name[BPF_OBJ_NAME_LEN];
	struct kk_err err = {0};

	if (attachment->old_fd < 0) {
		r = kk_detach(attachment->ifname, ifindex, &err);
	} else {
		KK_CLEANUP_CLOSE int clsact = find_clsact(ifindex, name);
		KK_CLEANUP_CLOSE int tcx = find_tcx(ifindex);

		r = put(ifindex, attachment->old_place, attachment->old_fd, clsact, tcx);
	}
	if (r < 0)
		kk_error("cannot put back the program at %s: %s", attachment->ifname, strerror(-r));
	kk_attach_done(attachment);
}

void kk_attach_done(struct kk_attachment *attachment)
{
	attachment->old_fd = kk_close(attachment->old_fd);
}

int kk_detach(const char *ifname, int ifindex, struct kk_err *err)
{
	char name[BPF_OBJ_NAME_LEN];
	KK_CLEANUP_CLOSE int clsact = find_clsact(ifindex, name);
	KK_CLEANUP_CLOSE int tcx = find_tcx(ifindex);
	int r = 0;

	if (clsact < 0 && clsact != -ENOENT && clsact != -EEXIST)
		return kk_err_set(err, -clsact, NULL, "cannot query the tc ingress of %s: %s",
				  ifname, strerror(-clsact));
	if (tcx >= 0)
		r = bpf_prog_detach2(tcx, ifindex, KK_TCX_INGRESS);
	if (r == 0 && clsact >= 0)
		r = detach_clsact(ifindex);
	if (r < 0)
		return kk_err_set(err, -r, NULL, "cannot detach from the tc ingress of %s: %s",
				  ifname, strerror(-r));
	return 0;
}
