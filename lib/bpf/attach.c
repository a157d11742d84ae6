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

/*
 * The program at our place: a descriptor, -ENOENT if there is none, -EEXIST if it is not ours (its
 * name goes to @name of BPF_OBJ_NAME_LEN bytes).
 */
static int find_program(int ifindex, char *name)
{
	struct bpf_tc_hook hook = HOOK(ifindex);
	struct bpf_tc_opts opts = PLACE();
	struct bpf_prog_info info = {0};
	__u32 len = sizeof(info);
	int fd, r;

	r = bpf_tc_query(&hook, &opts);
	if (r < 0)
		return r == -EINVAL ? -ENOENT : r; /* EINVAL: no clsact */
	fd = bpf_prog_get_fd_by_id(opts.prog_id);
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

bool kk_attached(int ifindex)
{
	char name[BPF_OBJ_NAME_LEN];
	KK_CLEANUP_CLOSE int fd = find_program(ifindex, name);

	return fd >= 0;
}

int kk_attach(const char *ifname, int ifindex, int prog_fd, struct kk_attachment *ret,
	      struct kk_err *err)
{
	struct bpf_tc_hook hook = HOOK(ifindex);
	struct bpf_tc_opts opts = PLACE(.prog_fd = prog_fd, .flags = BPF_TC_F_REPLACE);
	char name[BPF_OBJ_NAME_LEN];
	KK_CLEANUP_CLOSE int old_fd = -1;
	int r;

	r = bpf_tc_hook_create(&hook);
	if (r < 0 && r != -EEXIST)
		return kk_err_set(err, -r, NULL, "cannot make a clsact qdisc on %s: %s", ifname,
				  strerror(-r));
	old_fd = find_program(ifindex, name);
	if (old_fd == -EEXIST)
		return kk_err_set(err, EEXIST, NULL,
				  "priority %d of the tc ingress of %s is taken by program %s",
				  KK_TC_PRIORITY, ifname, name);
	if (old_fd < 0 && old_fd != -ENOENT)
		return kk_err_set(err, -old_fd, NULL, "cannot query the tc ingress of %s: %s",
				  ifname, strerror(-old_fd));
	r = bpf_tc_attach(&hook, &opts);
	if (r < 0)
		return kk_err_set(err, -r, NULL, "cannot attach to the tc ingress of %s: %s",
				  ifname, strerror(-r));
	*ret = (struct kk_attachment){
		.ifname = ifname,
		.ifindex = ifindex,
		.old_fd = old_fd < 0 ? -1 : kk_steal_fd(&old_fd),
	};
	return 0;
}

void kk_attach_undo(struct kk_attachment *attachment)
{
	struct bpf_tc_hook hook = HOOK(attachment->ifindex);
	struct bpf_tc_opts opts = PLACE(.prog_fd = attachment->old_fd, .flags = BPF_TC_F_REPLACE);
	struct kk_err err = {0};
	int r;

	if (attachment->old_fd < 0)
		r = kk_detach(attachment->ifname, attachment->ifindex, &err);
	else
		r = bpf_tc_attach(&hook, &opts);
	if (r < 0)
		kk_error("cannot put back the program at %s: %s", attachment->ifname, strerror(-r));
	kk_attach_done(attachment);
}

void kk_attach_done(struct kk_attachment *attachment)
{
	attachment->old_fd = kk_close(attachment->old_fd);
}

/* Number of filters at @parent, or a negative errno. */
static int count_filters(struct nl_sock *sock, int ifindex, uint32_t parent)
{
	struct nl_cache *cache;
	int n;

	if (rtnl_cls_alloc_cache(sock, ifindex, parent, &cache) < 0)
		return -EIO;
	n = nl_cache_nitems(cache);
	nl_cache_free(cache);
	return n;
}

static bool clsact_is_empty(int ifindex)
{
	struct nl_sock *sock = nl_socket_alloc();
	bool empty = false;

	if (!sock)
		return false;
	if (nl_connect(sock, NETLINK_ROUTE) == 0)
		empty = count_filters(sock, ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)) ==
				0 &&
			count_filters(sock, ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)) == 0;
	nl_socket_free(sock);
	return empty;
}

int kk_detach(const char *ifname, int ifindex, struct kk_err *err)
{
	struct bpf_tc_hook hook = HOOK(ifindex);
	struct bpf_tc_opts opts = PLACE();
	char name[BPF_OBJ_NAME_LEN];
	KK_CLEANUP_CLOSE int fd = find_program(ifindex, name);
	int r;

	if (fd == -ENOENT || fd == -EEXIST)
		return 0;
	if (fd < 0)
		return kk_err_set(err, -fd, NULL, "cannot query the tc ingress of %s: %s", ifname,
				  strerror(-fd));
	r = bpf_tc_detach(&hook, &opts);
	if (r < 0 && r != -ENOENT)
		return kk_err_set(err, -r, NULL, "cannot detach from the tc ingress of %s: %s",
				  ifname, strerror(-r));
	if (clsact_is_empty(ifindex)) {
		hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
		r = bpf_tc_hook_destroy(&hook);
		if (r < 0)
			kk_warn("cannot remove the clsact qdisc of %s: %s", ifname, strerror(-r));
	}
	return 0;
}
