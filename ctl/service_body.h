/* SPDX-License-Identifier: MIT */
/* What the command line says of a service, as Control is told it. */
#ifndef KK_CTL_SERVICE_BODY_H
#define KK_CTL_SERVICE_BODY_H

#include "ctl/ctl.h"

/* Fill the object @body. What is wrong was told to the user where not CTL_DONE is returned. */
int ctl_service_add_body(struct ctl *ctl, json_t *body);
int ctl_service_set_body(struct ctl *ctl, json_t *body);

#endif
