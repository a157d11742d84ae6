/* SPDX-License-Identifier: MIT */
/* What ends by itself: services that drain, bans. */
#ifndef KK_CONTROLD_EXPIRY_H
#define KK_CONTROLD_EXPIRY_H

#include "controld/control.h"

/* Begins to look after them; what was over before this is removed at once. Negative errno with @err. */
int kk_expiry_start(struct kk_control *control, struct kk_err *err);
void kk_expiry_stop(struct kk_control *control);
/* To be called when there is another time to be kept. */
int kk_expiry_look(struct kk_control *control, struct kk_err *err);

#endif
