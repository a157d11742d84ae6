/* SPDX-License-Identifier: MIT */
/* The published ports of a configuration as the data plane takes them. */
#ifndef KK_GATEWAYD_TABLES_H
#define KK_GATEWAYD_TABLES_H

#include "bpf/datapath.h"
#include "gatewayd/ports.h"
#include "proto/model.h"

/*
 * The listeners of every service: one for each of its ports on each address of @addresses that it is published on, the
 * first of each family (of IPv6 only where @config has a pool6) or the one that it names. *@ret is freed by the
 * caller. -EINVAL with @err for a service that no table can hold.
 */
int tables_listeners(const struct kk_config *config, const struct kk_address *addresses,
		     size_t n_addresses, struct kk_listener **ret, size_t *ret_n,
		     struct kk_err *err);

/*
 * -EADDRINUSE with @err (field "port") if one of the services is on a port that none of the @n @listeners in the
 * tables has yet and that the host itself serves (@used) or on its WireGuard port.
 */
int tables_check_ports(const struct kk_config *config, const struct kk_listener *listeners,
		       size_t n, const struct ports *used, struct kk_err *err);

#endif
