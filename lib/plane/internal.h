/* SPDX-License-Identifier: MIT */
/* A plane, for the files of lib/plane. */
#ifndef KK_PLANE_INTERNAL_H
#define KK_PLANE_INTERNAL_H

#include <uapi/kakuremichi.h>

#include "genl/module.h"
#include "plane/plane.h"

#define KK_MODULE_NAME KK_GENL_NAME

struct kk_plane {
	struct kk_datapath *bpf;
	struct kk_module module; /* .genl.sk is NULL where there is none */
	enum kk_plane_host wanted;
	bool forwards; /* the module has tables, and eBPF stands by */
	bool stale;    /* one of another version is loaded */
	char version[32];
	char why[320]; /* the module does not forward */
	char reason[400];
};

#endif
