/* SPDX-License-Identifier: MIT */
/* What a configuration publishes, as the data plane takes it. */
#ifndef KK_GATEWAYD_TABLES_H
#define KK_GATEWAYD_TABLES_H

#include "bpf/datapath.h"
#include "gatewayd/ports.h"
#include "proto/model.h"

/* Where it is published, and who is there to serve it. */
struct tables_place {
	const struct kk_address *addresses; /* that are managed, in the order of the tables */
	size_t n_addresses;
	/* Whether an Agent answers, and takes connections for the service; NULL: all do. */
	bool (*is_healthy)(int64_t service, int64_t agent, void *userdata);
	void *userdata;
};

struct tables {
	struct kk_datapath_tables all;
	/* What @all points into. */
	struct kk_listener *listeners;
	struct kk_group *groups;
	struct kk_member *members;
	struct kk_guard *guards;
	struct kk_list *lists;
	struct kk_rule *rules;
};

/*
 * A service has one listener for each of its ports on each address that it is published on: the first of each family (of
 * IPv6 only where @config has a pool6) or the one that it names. With several Agents it is a group under the
 * service's id; its rules are the list with that id, and denials list 0. -EINVAL with @err for a service that no
 * table can hold.
 */
int tables_make(const struct kk_config *config, const struct tables_place *place,
		struct tables *ret, struct kk_err *err);
void tables_clean(struct tables *tables);
/* The members of one service, in order; returns how many. */
size_t tables_members(const struct kk_config *config, const struct kk_service *service,
		      const struct tables_place *place, struct kk_member ret[KK_MEMBERS_MAX]);

/*
 * -EADDRINUSE with @err (field "port") if one of the services is on a port that the tables have not got yet (@carries says
 * which they have) and that the host itself serves (@used, in order) or on its WireGuard port.
 */
int tables_check_ports(const struct kk_config *config, const struct ports *used,
		       bool (*carries)(uint8_t protocol, uint16_t port, void *userdata),
		       void *userdata, struct kk_err *err);
/* Whether there is a port among them that the tables have not got. */
bool tables_has_new_port(const struct kk_config *config,
			 bool (*carries)(uint8_t protocol, uint16_t port, void *userdata),
			 void *userdata);

/* Brings the bans of the data plane to those of @config. */
int tables_set_bans(struct kk_datapath *dp, const struct kk_config *config, struct kk_err *err);

#endif
