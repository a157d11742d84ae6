// SPDX-License-Identifier: MIT
#include "bpf/attach_xdp.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <bpf/bpf.h>
#include <xdp/libxdp.h>

#include "util/cleanup.h"
#include "util/log.h"

static const char *const mode_names[] = {
	[KK_XDP_OFF] = "off",	    [KK_XDP_AUTO] = "auto",	  [KK_XDP_GENERIC] = "generic",
	[KK_XDP_NATIVE] = "native", [KK_XDP_OFFLOAD] = "offload",
};

const char *kk_xdp_mode_name(enum kk_xdp_mode mode)
{
	return mode_names[mode];
}

int kk_xdp_mode_parse(const char *text, enum kk_xdp_mode *ret)
{
	for (size_t i = 0; i < KK_XDP_OFFLOAD; i++)
		if (strcmp(text, mode_names[i]) == 0) {
			*ret = (enum kk_xdp_mode)i;
			return 0;
		}
	return -EINVAL;
}

__attribute__((format(printf, 2, 3))) static void because(struct kk_xdp_state *state,
							  const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(state->reason, sizeof(state->reason), fmt, ap);
	va_end(ap);
}

static int log_libxdp(enum libxdp_print_level level, const char *fmt, va_list ap)
{
	char line[1024];

	(void)level;
	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	kk_debug("%s", line);
	return 0;
}

/* ---- what is there ---- */

/* The program of an interface, alone or several behind a dispatcher. */
struct place {
	struct xdp_multiprog *all; /* NULL: there is none */
	struct xdp_program *ours;  /* borrowed from .all; NULL: we are not there */
	bool alone;		   /* no dispatcher */
	enum kk_xdp_mode mode;
	char holder[64]; /* name and id of a lone program that is not ours */
};

static void place_clean(struct place *place)
{
	if (place->all)
		xdp_multiprog__close(place->all);
	place->all = NULL;
}

static enum kk_xdp_mode mode_of(const struct xdp_multiprog *all)
{
	switch (xdp_multiprog__attach_mode(all)) {
	case XDP_MODE_HW:
		return KK_XDP_OFFLOAD;
	case XDP_MODE_SKB:
		return KK_XDP_GENERIC;
	default:
		return KK_XDP_NATIVE;
	}
}

static bool is_ours(const struct xdp_program *prog)
{
	return strcmp(xdp_program__name(prog), KK_XDP_PROGRAM) == 0;
}

static int place_init(int ifindex, struct place *ret)
{
	struct xdp_multiprog *all = xdp_multiprog__get_from_ifindex(ifindex);
	struct xdp_program *prog = NULL;

	*ret = (struct place){.mode = KK_XDP_OFF};
	if (libxdp_get_error(all)) {
		int r = (int)libxdp_get_error(all);

		return r == -ENOENT ? 0 : r;
	}
	ret->all = all;
	ret->mode = mode_of(all);
	ret->alone = xdp_multiprog__is_legacy(all);
	if (ret->alone) {
		prog = xdp_multiprog__main_prog(all);
		if (!prog)
			prog = xdp_multiprog__hw_prog(all);
		if (prog && is_ours(prog))
			ret->ours = prog;
		else
			snprintf(ret->holder, sizeof(ret->holder), "%s (id %u)",
				 prog ? xdp_program__name(prog) : "?",
				 prog ? xdp_program__id(prog) : 0);
		return 0;
	}
	while ((prog = xdp_multiprog__next_prog(prog, all)))
		if (is_ours(prog))
			ret->ours = prog;
	return 0;
}

int kk_xdp_query(int ifindex, struct kk_xdp_state *ret)
{
	KK_CLEANUP(place_clean) struct place place;
	int r;

	libxdp_set_print(log_libxdp);
	r = place_init(ifindex, &place);
	if (r < 0)
		return r;
	ret->mode = place.ours ? place.mode : KK_XDP_OFF;
	ret->shared = place.ours && !place.alone;
	return 0;
}

static void driver_of(const char *ifname, char name[32])
{
	KK_CLEANUP_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq req = {.ifr_data = (void *)&info};

	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", ifname);
	if (fd < 0 || ioctl(fd, SIOCETHTOOL, &req) < 0)
		strcpy(name, "unknown");
	else
		memcpy(name, info.driver, sizeof(info.driver));
	name[31] = '\0';
}

/* ---- taking away ---- */

static unsigned int flags_of(enum kk_xdp_mode mode)
{
	switch (mode) {
	case KK_XDP_OFFLOAD:
		return XDP_FLAGS_HW_MODE;
	case KK_XDP_GENERIC:
		return XDP_FLAGS_SKB_MODE;
	default:
		return XDP_FLAGS_DRV_MODE;
	}
}

static enum xdp_attach_mode libxdp_mode(enum kk_xdp_mode mode)
{
	switch (mode) {
	case KK_XDP_OFFLOAD:
		return XDP_MODE_HW;
	case KK_XDP_GENERIC:
		return XDP_MODE_SKB;
	default:
		return XDP_MODE_NATIVE;
	}
}

static int take_away(int ifindex, const struct place *place)
{
	struct bpf_xdp_attach_opts opts = {.sz = sizeof(opts)};

	if (!place->alone)
		return xdp_program__detach(place->ours, ifindex, libxdp_mode(place->mode), 0);
	opts.old_prog_fd = xdp_program__fd(place->ours);
	return bpf_xdp_detach(ifindex, flags_of(place->mode) | XDP_FLAGS_REPLACE, &opts);
}

int kk_xdp_detach(const char *ifname, int ifindex, struct kk_err *err)
{
	KK_CLEANUP(place_clean) struct place place;
	int r;

	libxdp_set_print(log_libxdp);
	r = place_init(ifindex, &place);
	if (r == 0 && place.ours)
		r = take_away(ifindex, &place);
	return r < 0 ? kk_err_set(err, -r, NULL, "cannot take the XDP program off %s: %s", ifname,
				  strerror(-r))
		     : 0;
}

/* ---- attaching ---- */

struct job {
	const char *ifname;
	int ifindex;
	const struct kk_xdp_source *source;
	struct kk_xdp_state *state;
	struct kk_err *err;
};

/*
 * In the dispatcher, ours anew beside ours of before, which then leaves: packets meet one at least.
 * Where there is no dispatcher libxdp attaches alone by itself, if nothing else is there.
 */
static int attach_shared(const struct job *job, enum kk_xdp_mode mode, const struct place *before)
{
	struct bpf_object *obj = job->source->open(job->source->userdata, mode, job->err);
	struct xdp_program_opts opts = {
		.sz = sizeof(opts), .obj = obj, .prog_name = KK_XDP_PROGRAM};
	struct xdp_program *prog;
	int r;

	if (!obj)
		return -job->err->code;
	prog = xdp_program__create(&opts);
	r = (int)libxdp_get_error(prog);
	if (r == 0) {
		r = xdp_program__attach(prog, job->ifindex, libxdp_mode(mode), 0);
		if (r == 0 && before->ours)
			r = take_away(job->ifindex, before);
		xdp_program__close(prog);
	}
	job->source->close(job->source->userdata);
	return r;
}

/* In place of ours, which is alone and stays so; with nothing there, alone. */
static int attach_alone(const struct job *job, enum kk_xdp_mode mode, const struct place *before)
{
	struct bpf_object *obj = job->source->open(job->source->userdata, mode, job->err);
	struct bpf_xdp_attach_opts opts = {.sz = sizeof(opts)};
	unsigned int flags = flags_of(mode);
	int r;

	if (!obj)
		return -job->err->code;
	r = bpf_object__load(obj);
	if (r == 0) {
		struct bpf_program *prog = bpf_object__find_program_by_name(obj, KK_XDP_PROGRAM);

		if (before->ours) {
			opts.old_prog_fd = xdp_program__fd(before->ours);
			flags |= XDP_FLAGS_REPLACE;
		} else {
			flags |= XDP_FLAGS_UPDATE_IF_NOEXIST;
		}
		r = bpf_xdp_attach(job->ifindex, bpf_program__fd(prog), flags, &opts);
	}
	job->source->close(job->source->userdata);
	return r;
}

/*
 * Ours of before in another mode cannot be replaced in one step: it leaves first. What it drops is then let
 * on to tc for a moment.
 */
static int attach(const struct job *job, enum kk_xdp_mode mode, struct place *before)
{
	int r;

	if (before->ours && before->mode != mode) {
		r = take_away(job->ifindex, before);
		if (r < 0)
			return r;
		place_clean(before);
		r = place_init(job->ifindex, before);
		if (r < 0)
			return r;
	}
	if (before->all && before->alone)
		return attach_alone(job, mode, before);
	r = attach_shared(job, mode, before);
	return r < 0 && !before->all ? attach_alone(job, mode, before) : r;
}

/*
 * What a NIC runs itself has tables of its own on it. Ours are the host's too, mapped into the daemon's
 * memory and changed under the programs: no NIC takes those. So we only find out whether it takes any.
 */
static bool takes_offload(int ifindex)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS},
		{.code = BPF_JMP | BPF_EXIT},
	};
	struct bpf_prog_load_opts opts = {.sz = sizeof(opts), .prog_ifindex = (__u32)ifindex};
	KK_CLEANUP_CLOSE int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "kk_probe", "MIT", insns,
						ARRAY_SIZE(insns), &opts);

	return fd >= 0;
}

/* Tries native and generic as far as @wanted lets it; what stands against the better ones is the reason. */
static int attach_best(const struct job *job, enum kk_xdp_mode wanted, struct place *before)
{
	char driver[32];
	int r;

	driver_of(job->ifname, driver);
	if (wanted == KK_XDP_AUTO && strcmp(driver, "veth") == 0) {
		because(job->state,
			"native XDP on a veth takes segmentation offload from its peer, "
			"which may drop silently what is sent to it");
		wanted = KK_XDP_GENERIC;
	} else if (wanted == KK_XDP_GENERIC) {
		because(job->state, "generic was asked for");
	} else if (takes_offload(job->ifindex)) {
		because(job->state, "%s runs programs itself, but not on tables that the host has",
			job->ifname);
	} else {
		because(job->state, "%s (%s) runs no programs itself", job->ifname, driver);
	}
	if (wanted != KK_XDP_GENERIC) {
		r = attach(job, KK_XDP_NATIVE, before);
		if (r == 0 || wanted == KK_XDP_NATIVE)
			return r;
		because(job->state, "driver %s of %s refuses native XDP: %s", driver, job->ifname,
			strerror(-r));
	}
	return attach(job, KK_XDP_GENERIC, before);
}

int kk_xdp_attach(const char *ifname, int ifindex, enum kk_xdp_mode wanted,
		  const struct kk_xdp_source *source, struct kk_xdp_state *ret, struct kk_err *err)
{
	KK_CLEANUP(place_clean) struct place before;
	struct kk_xdp_state state = {.mode = KK_XDP_OFF};
	struct kk_err why = {0};
	const struct job job = {.ifname = ifname,
				.ifindex = ifindex,
				.source = source,
				.state = &state,
				.err = &why};
	int r;

	libxdp_set_print(log_libxdp);
	r = place_init(ifindex, &before);
	if (r < 0)
		return kk_err_set(err, -r, NULL, "cannot ask for the XDP programs of %s: %s",
				  ifname, strerror(-r));
	if (wanted == KK_XDP_OFF || strcmp(ifname, "lo") == 0) {
		because(&state, wanted == KK_XDP_OFF ? "XDP is switched off"
						     : "XDP is never attached to lo");
		r = before.ours ? take_away(ifindex, &before) : 0;
	} else if (before.all && before.alone && !before.ours) {
		because(&state, "XDP program %s holds %s, and is none of libxdp's dispatcher",
			before.holder, ifname);
		r = 0;
	} else {
		r = attach_best(&job, wanted, &before);
		if (r < 0) {
			because(&state, "XDP cannot be attached to %s: %s", ifname,
				why.code ? why.msg : strerror(-r));
			r = before.ours ? take_away(ifindex, &before) : 0;
		}
	}
	if (r < 0)
		return kk_err_set(err, -r, NULL, "cannot take the older XDP program off %s: %s",
				  ifname, strerror(-r));
	r = kk_xdp_query(ifindex, &state);
	if (r < 0)
		return kk_err_set(err, -r, NULL, "cannot ask for the XDP programs of %s: %s",
				  ifname, strerror(-r));
	*ret = state;
	return 0;
}
