/* SPDX-License-Identifier: MIT */
/* The published ports of a configuration as the data plane takes them. */
#ifndef KK_GATEWAYD_TABLES_H
#define KK_GATEWAYD_TABLES_H

#include "bpf/datapath.h"
#include "gatewayd/ports.h"
#include "proto/model.h"

/*
 * One listener a service, on @address. *@ret has config->n_services entries and is freed by the caller.
 * -EINVAL with @err for a service that no table can hold.
 */
int tables_listeners(const struct kk_config *config, struct in_addr address,
		     struct kk_listener **ret, struct kk_err *err);

/*
 * -EADDRINUSE with @err (field "port") if one of the services is on a port that none of the @n @listeners in the
 * tables has yet and that the host itself serves (@used) or on its WireGuard port.
 */
int tables_check_ports(const struct kk_config *config, const struct kk_listener *listeners,
		       size_t n, const struct ports *used, struct kk_err *err);

#endif
