// SPDX-License-Identifier: MIT
#include "proto/model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/list.h"

void kk_config_clean(struct kk_config *config)
{
	free(config->gateways);
	free(config->agents);
	free(config->services);
	free(config->rules);
	free(config->bans);
	free(config->named.gateways.ids);
	free(config->named.agents.ids);
	free(config->named.services.ids);
	free(config->named.rules.ids);
	free(config->named.bans.ids);
	*config = (struct kk_config){0};
}

int kk_config_copy(const struct kk_config *from, struct kk_config *ret)
{
	struct kk_config copy = *from;

	memset(&copy.named, 0, sizeof(copy.named));
	copy.gateways = kk_list_copy(from->gateways, from->n_gateways, sizeof(*from->gateways));
	copy.agents = kk_list_copy(from->agents, from->n_agents, sizeof(*from->agents));
	copy.services = kk_list_copy(from->services, from->n_services, sizeof(*from->services));
	copy.rules = kk_list_copy(from->rules, from->n_rules, sizeof(*from->rules));
	copy.bans = kk_list_copy(from->bans, from->n_bans, sizeof(*from->bans));
	if (!copy.gateways || !copy.agents || !copy.services || !copy.rules || !copy.bans) {
		kk_config_clean(&copy);
		return -ENOMEM;
	}
	*ret = copy;
	return 0;
}

const struct kk_gateway *kk_config_gateway(const struct kk_config *config, int64_t id)
{
	return kk_list_find(config->gateways, config->n_gateways, sizeof(*config->gateways), id);
}

const struct kk_agent *kk_config_agent(const struct kk_config *config, int64_t id)
{
	return kk_list_find(config->agents, config->n_agents, sizeof(*config->agents), id);
}

const struct kk_service *kk_config_service(const struct kk_config *config, int64_t id)
{
	return kk_list_find(config->services, config->n_services, sizeof(*config->services), id);
}

struct in_addr kk_subnet_host(const struct kk_prefix4 *subnet, uint8_t host)
{
	return (struct in_addr){.s_addr = subnet->addr.s_addr | htonl(host)};
}

struct in6_addr kk_pool6_address(const struct kk_prefix *pool6, struct in_addr address)
{
	struct in6_addr v6 = pool6->addr.v6;

	memcpy(&v6.s6_addr[12], &address, sizeof(address));
	return v6;
}

struct kk_prefix kk_pool6_prefix(const struct kk_prefix *pool6, const struct kk_prefix4 *subnet)
{
	return (struct kk_prefix){
		.addr = {.family = AF_INET6, .v6 = kk_pool6_address(pool6, subnet->addr)},
		.len = (uint8_t)(pool6->len + subnet->len)};
}
