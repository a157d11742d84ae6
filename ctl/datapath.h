/* SPDX-License-Identifier: MIT */
/* What the commands of kkctl datapath share. */
#ifndef KK_CTL_DATAPATH_H
#define KK_CTL_DATAPATH_H

#include "bpf/datapath.h"
#include "bpf/trace.h"
#include "ctl/ctl.h"

#define PIN_DIR_DEFAULT "/sys/fs/bpf/kakuremichi/kk0"

/* The tables of the gateway on this machine, to be read only; says why there are none. An exit status. */
int ctl_datapath_open(const struct ctl *ctl, struct kk_datapath **ret);
void ctl_datapath_closep(struct kk_datapath **dp);

int ctl_datapath_show(struct ctl *ctl);
int ctl_datapath_trace(struct ctl *ctl);

#endif
