/* SPDX-License-Identifier: MIT */
/* What Control serves TLS with: its own key and certificate, or those that the operator gave. */
#ifndef KK_CONTROLD_IDENTITY_H
#define KK_CONTROLD_IDENTITY_H

#include "controld/control.h"

/* Reads it, and makes what is missing of Control's own. */
int kk_identity_load(struct kk_control *control, struct kk_err *err);
/*
 * Reads the operator's anew; whatever is wrong with it is logged, and the earlier one stays. So it does where the key
 * is another, since no node that has joined would find its way back.
 */
void kk_identity_reload(struct kk_control *control);

#endif
