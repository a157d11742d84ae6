// SPDX-License-Identifier: MIT
#include "controld/rest/operations.h"

#include <string.h>

#define API    "/api/v1"
#define CHANGE KK_OP_CHANGE
#define CREATE (KK_OP_CHANGE | KK_OP_CREATE | KK_OP_BODY)
#define SET    (KK_OP_CHANGE | KK_OP_BODY)
#define LIST   KK_OP_LIST
#define WAIT   KK_OP_WAIT
#define SYSTEM KK_OP_SYSTEM

#define OP(id_, method_, path_, access_, flags_, handle_, ...)                                     \
	{                                                                                          \
		.id = id_, .method = method_, .path = path_, .access = access_, .flags = flags_,   \
		.handle = handle_, ##__VA_ARGS__                                                   \
	}

const struct kk_operation kk_operations[] = {
	OP("getHealth", "GET", "/healthz", KK_NOBODY, 0, kk_health_show),
	OP("getMetrics", "GET", "/metrics", KK_VIEWER, SYSTEM, kk_metrics_show),
	OP("getContract", "GET", API "/openapi.json", KK_NOBODY, 0, kk_contract_show),
	OP("login", "POST", API "/login", KK_NOBODY, SET | KK_OP_LOGIN | KK_OP_PASSWORD, kk_login),
	OP("logout", "POST", API "/logout", KK_VIEWER, CHANGE, kk_logout),
	OP("getCaller", "GET", API "/caller", KK_VIEWER, 0, kk_caller_show),
	OP("getStatus", "GET", API "/status", KK_VIEWER, 0, kk_status_show),
	OP("listGatewayStatus", "GET", API "/status/gateways", KK_VIEWER, LIST, kk_status_list,
	   .kind = KK_GATEWAY, .queries = "name"),
	OP("listAgentStatus", "GET", API "/status/agents", KK_VIEWER, LIST, kk_status_list,
	   .kind = KK_AGENT, .queries = "name"),
	OP("listGateways", "GET", API "/gateways", KK_VIEWER, LIST, kk_nodes_list,
	   .kind = KK_GATEWAY, .queries = "name"),
	OP("addGateway", "POST", API "/gateways", KK_ADMIN, CREATE, kk_nodes_add,
	   .kind = KK_GATEWAY),
	OP("getGateway", "GET", API "/gateways/NAME", KK_VIEWER, 0, kk_nodes_show,
	   .kind = KK_GATEWAY),
	OP("removeGateway", "DELETE", API "/gateways/NAME", KK_ADMIN, CHANGE | WAIT,
	   kk_nodes_remove, .kind = KK_GATEWAY),
	OP("setGateway", "PATCH", API "/gateways/NAME", KK_ADMIN, SET | WAIT, kk_gateways_set),
	OP("revokeGateway", "POST", API "/gateways/NAME/revoke", KK_ADMIN, CHANGE, kk_nodes_revoke,
	   .kind = KK_GATEWAY),
	OP("listAgents", "GET", API "/agents", KK_VIEWER, LIST, kk_nodes_list, .kind = KK_AGENT,
	   .queries = "name"),
	OP("addAgent", "POST", API "/agents", KK_ADMIN, CREATE, kk_nodes_add, .kind = KK_AGENT),
	OP("getAgent", "GET", API "/agents/NAME", KK_VIEWER, 0, kk_nodes_show, .kind = KK_AGENT),
	OP("removeAgent", "DELETE", API "/agents/NAME", KK_ADMIN, CHANGE | WAIT, kk_nodes_remove,
	   .kind = KK_AGENT),
	OP("revokeAgent", "POST", API "/agents/NAME/revoke", KK_ADMIN, CHANGE, kk_nodes_revoke,
	   .kind = KK_AGENT),
	OP("listPeers", "GET", API "/peers", KK_VIEWER, LIST, kk_peers_list,
	   .queries = "name public_key"),
	OP("addPeer", "POST", API "/peers", KK_ADMIN, CREATE | WAIT, kk_peers_add),
	OP("getPeer", "GET", API "/peers/NAME", KK_VIEWER, 0, kk_peers_show),
	OP("removePeer", "DELETE", API "/peers/NAME", KK_ADMIN, CHANGE | WAIT, kk_peers_remove),
	OP("listServices", "GET", API "/services", KK_VIEWER, LIST, kk_services_list,
	   .queries = "name agent protocol port"),
	OP("addService", "POST", API "/services", KK_OPERATOR, CREATE | WAIT, kk_services_add),
	OP("getService", "GET", API "/services/NAME", KK_VIEWER, 0, kk_services_show),
	OP("setService", "PATCH", API "/services/NAME", KK_OPERATOR, SET | WAIT, kk_services_set),
	OP("removeService", "DELETE", API "/services/NAME", KK_OPERATOR, CHANGE | WAIT,
	   kk_services_remove, .queries = "drain"),
	OP("listDenials", "GET", API "/denials", KK_VIEWER, LIST, kk_denials_list,
	   .queries = "prefix"),
	OP("addDenial", "POST", API "/denials", KK_OPERATOR, CREATE | WAIT, kk_denials_add),
	OP("removeDenial", "DELETE", API "/denials/NAME", KK_OPERATOR, CHANGE | WAIT,
	   kk_denials_remove),
	OP("listBans", "GET", API "/bans", KK_VIEWER, LIST, kk_bans_list,
	   .queries = "address service"),
	OP("addBan", "POST", API "/bans", KK_OPERATOR, CREATE | WAIT, kk_bans_add),
	OP("removeBan", "DELETE", API "/bans/NAME", KK_OPERATOR, CHANGE | WAIT, kk_bans_remove),
	OP("listHosts", "GET", API "/hosts", KK_VIEWER, LIST, kk_hosts_list,
	   .queries = "name prefixes"),
	OP("addHost", "POST", API "/hosts", KK_OPERATOR, CREATE | WAIT, kk_hosts_add),
	OP("getHost", "GET", API "/hosts/NAME", KK_VIEWER, 0, kk_hosts_show),
	OP("setHost", "PATCH", API "/hosts/NAME", KK_OPERATOR, SET | WAIT, kk_hosts_set),
	OP("removeHost", "DELETE", API "/hosts/NAME", KK_OPERATOR, CHANGE | WAIT, kk_hosts_remove),
	OP("listGroups", "GET", API "/groups", KK_VIEWER, LIST, kk_groups_list,
	   .queries = "name hosts"),
	OP("addGroup", "POST", API "/groups", KK_OPERATOR, CREATE | WAIT, kk_groups_add),
	OP("getGroup", "GET", API "/groups/NAME", KK_VIEWER, 0, kk_groups_show),
	OP("setGroup", "PATCH", API "/groups/NAME", KK_OPERATOR, SET | WAIT, kk_groups_set),
	OP("removeGroup", "DELETE", API "/groups/NAME", KK_OPERATOR, CHANGE | WAIT,
	   kk_groups_remove),
	OP("listRules", "GET", API "/rules", KK_VIEWER, LIST, kk_rules_list,
	   .queries = "name source destination"),
	OP("addRule", "POST", API "/rules", KK_OPERATOR, CREATE | WAIT, kk_rules_add),
	OP("getRule", "GET", API "/rules/NAME", KK_VIEWER, 0, kk_rules_show),
	OP("setRule", "PATCH", API "/rules/NAME", KK_OPERATOR, SET | WAIT, kk_rules_set),
	OP("removeRule", "DELETE", API "/rules/NAME", KK_OPERATOR, CHANGE | WAIT, kk_rules_remove),
	OP("listJoinTokens", "GET", API "/join-tokens", KK_ADMIN, LIST, kk_tokens_list,
	   .queries = "role node"),
	OP("addJoinToken", "POST", API "/join-tokens", KK_ADMIN, CREATE, kk_tokens_add),
	OP("removeJoinToken", "DELETE", API "/join-tokens/NAME", KK_ADMIN, CHANGE,
	   kk_tokens_remove),
	OP("listApiKeys", "GET", API "/api-keys", KK_ADMIN, LIST, kk_keys_list,
	   .queries = "name role"),
	OP("addApiKey", "POST", API "/api-keys", KK_ADMIN, CREATE, kk_keys_add),
	OP("removeApiKey", "DELETE", API "/api-keys/NAME", KK_ADMIN, CHANGE, kk_keys_remove),
	OP("listUsers", "GET", API "/users", KK_ADMIN, LIST, kk_users_list, .queries = "name role"),
	OP("addUser", "POST", API "/users", KK_ADMIN, CREATE | KK_OP_PASSWORD, kk_users_add),
	OP("getUser", "GET", API "/users/NAME", KK_ADMIN, 0, kk_users_show),
	OP("setUser", "PATCH", API "/users/NAME", KK_ADMIN, SET | KK_OP_PASSWORD, kk_users_set),
	OP("removeUser", "DELETE", API "/users/NAME", KK_ADMIN, CHANGE, kk_users_remove),
	OP("listSessions", "GET", API "/sessions", KK_ADMIN, LIST, kk_sessions_list,
	   .queries = "user"),
	OP("removeSession", "DELETE", API "/sessions/NAME", KK_ADMIN, CHANGE, kk_sessions_remove),
	OP("listOrganisations", "GET", API "/organisations", KK_OWNER, LIST | SYSTEM, kk_orgs_list,
	   .queries = "name"),
	OP("addOrganisation", "POST", API "/organisations", KK_OWNER, CREATE | SYSTEM, kk_orgs_add),
	OP("removeOrganisation", "DELETE", API "/organisations/NAME", KK_OWNER, CHANGE | SYSTEM,
	   kk_orgs_remove),
	OP("listAudit", "GET", API "/audit", KK_ADMIN, LIST, kk_audit_show,
	   .queries = "who kind object"),
	OP("apply", "POST", API "/apply", KK_ADMIN, SET | WAIT | KK_OP_LARGE, kk_apply,
	   .queries = "dry_run prune"),
	OP("getBackup", "GET", API "/backup", KK_OWNER, SYSTEM, kk_backup_show),
	OP("join", "POST", API "/join", KK_NOBODY, KK_OP_BODY, kk_join),
	OP("openNode", "GET", API "/node", KK_NOBODY, KK_OP_NODE, NULL),
};

const size_t kk_n_operations = ARRAY_SIZE(kk_operations);

/* Copies the segment that stands for NAME to @name. */
static bool matches(const char *pattern, const char *path, char *name, size_t size)
{
	while (*pattern && *path) {
		if (strncmp(pattern, "NAME", 4) == 0) {
			size_t len = strcspn(path, "/");

			if (!len || len >= size)
				return false;
			memcpy(name, path, len);
			name[len] = '\0';
			pattern += 4;
			path += len;
		} else if (*pattern++ != *path++) {
			return false;
		}
	}
	return !*pattern && !*path;
}

const struct kk_operation *kk_operation_find(const char *method, const char *path, char *name,
					     size_t size)
{
	for (size_t i = 0; i < kk_n_operations; i++)
		if (strcmp(kk_operations[i].method, method) == 0 &&
		    matches(kk_operations[i].path, path, name, size))
			return &kk_operations[i];
	return NULL;
}
