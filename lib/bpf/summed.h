/* SPDX-License-Identifier: MIT */
/*
 * Where in the kernel's packets stands what has become of the checksum (ip_summed of struct sk_buff). The tc programs read it there
 * (kfunc bpf_cast_to_kern_ctx(), Linux 6.2 with BTF) and correct checksums themselves; else they leave it to a helper, which takes
 * as long as all the rest.
 */
#ifndef KK_BPF_SUMMED_H
#define KK_BPF_SUMMED_H

#include <stdint.h>

#include <bpf/libbpf.h>

/*
 * Before @obj is loaded: puts the kfunc where its programs have left a place for it. Returns what the constant kk_skb_summed is to be;
 * 0: the kernel does not tell.
 */
uint32_t kk_summed_prepare(struct bpf_object *obj);

#endif
