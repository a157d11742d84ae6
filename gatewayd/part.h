/* SPDX-License-Identifier: MIT */
/* What of a configuration a delta touches, as a smaller configuration: so that a change costs what it changes. */
#ifndef KK_GATEWAYD_PART_H
#define KK_GATEWAYD_PART_H

#include "proto/model.h"

/* More than these at once are no part any more. */
#define PART_SERVICES_MAX 512
#define PART_RULES_MAX	  512

struct part {
	bool agents, bans; /* some of them differ */
	bool groups;	   /* a service of several Agents is among them */
	/*
	 * The services that differ, with all of their rules, and of the rules of all services those that differ. Agents
	 * are all there. Lists are borrowed from the configurations but for services and rules.
	 */
	struct kk_config old, next;
};

/*
 * 1: @ret has what differs between @old and @next, and is cleaned by the caller. 0: too much does, or it cannot be told. -ENOMEM.
 */
int part_make(const struct kk_config *old, const struct kk_config *next, struct part *ret);
void part_clean(struct part *part);

#endif
