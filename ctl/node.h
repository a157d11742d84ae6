/* SPDX-License-Identifier: MIT */
/* What gateways and Agents have in common in kkctl. */
#ifndef KK_CTL_NODE_H
#define KK_CTL_NODE_H

#include "ctl/ctl.h"
#include "ctl/print.h"

struct ctl_node {
	const char *role;		  /* "gateway" */
	const char *collection;		  /* "gateways" */
	const char *daemon;		  /* "kkgatewayd" */
	const char *none;		  /* said of an empty list */
	const struct ctl_column *columns; /* of list and show */
	size_t n_columns;
};

/* Sends @body (taken over) as a new node and prints the command that joins it. */
int ctl_node_add(struct ctl *ctl, const struct ctl_node *node, json_t *body);
int ctl_node_list(struct ctl *ctl, const struct ctl_node *node);
int ctl_node_show(struct ctl *ctl, const struct ctl_node *node);
int ctl_node_rm(struct ctl *ctl, const struct ctl_node *node);
int ctl_node_revoke(struct ctl *ctl, const struct ctl_node *node);

/* "yes", "no", or "not joined". */
void ctl_format_connected(const json_t *obj, char *text, size_t size);

#endif
