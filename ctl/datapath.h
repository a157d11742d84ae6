/* SPDX-License-Identifier: MIT */
/* What the commands of kkctl datapath share. */
#ifndef KK_CTL_DATAPATH_H
#define KK_CTL_DATAPATH_H

#include "ctl/ctl.h"
#include "plane/plane.h"

#define PIN_DIR_DEFAULT "/sys/fs/bpf/kakuremichi/kk0"

/* The data plane of the gateway on this machine, to be read only; says why there is none. An exit status. */
int ctl_datapath_open(const struct ctl *ctl, struct kk_plane **ret);
void ctl_datapath_closep(struct kk_plane **plane);

int ctl_datapath_show(struct ctl *ctl);
int ctl_datapath_trace(struct ctl *ctl);

#endif
