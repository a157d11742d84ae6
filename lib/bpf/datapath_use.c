// SPDX-License-Identifier: MIT
/* What is done with the tables of an open data path: each call for the part of lib/bpf that does it. */
#include "bpf/datapath.h"

#include <arpa/inet.h>
#include <errno.h>

#include "bpf/amend.h"
#include "bpf/bans.h"
#include "bpf/edge.h"
#include "bpf/groups.h"
#include "bpf/internal.h"
#include "bpf/relay.h"
#include "bpf/trace.h"
#include "kk_tc.skel.h"
#include "util/cleanup.h"

static int check_listener(const struct kk_datapath *dp, const struct kk_listener *l,
			  struct kk_err *err)
{
	const struct kk_settings *set = &dp->tables.settings;
	char text[KK_ADDRESS_TEXT];

	if (l->protocol != IPPROTO_TCP && l->protocol != IPPROTO_UDP)
		return kk_err_set(err, EINVAL, "protocol", "protocol %u cannot be published",
				  l->protocol);
	if (l->port == 0 || l->agent_port == 0)
		return kk_err_set(err, EINVAL, l->port ? "agent_port" : "port",
				  "port 0 cannot be published");
	if (!l->group && (l->agent_address.s_addr & set->pool_mask) != set->pool)
		return kk_err_set(err, EINVAL, "agent", "Agent address %s is not in the pool",
				  inet_ntop(AF_INET, &l->agent_address, text, sizeof(text)));
	return 0;
}

static int check_listeners(const struct kk_datapath *dp, const struct kk_datapath_tables *wanted,
			   struct kk_err *err)
{
	int r = 0;

	for (size_t i = 0; i < wanted->n_listeners && r == 0; i++)
		r = check_listener(dp, &wanted->listeners[i], err);
	return r;
}

static int check_writable(const struct kk_datapath *dp, struct kk_err *err)
{
	return dp->readonly
		       ? kk_err_set(err, EROFS, NULL, "these tables were opened to be read only")
		       : 0;
}

int kk_datapath_set(struct kk_datapath *dp, const struct kk_datapath_tables *wanted,
		    struct kk_err *err)
{
	int r = check_writable(dp, err);

	if (r == 0)
		r = check_listeners(dp, wanted, err);
	if (r == 0)
		r = kk_tables_set(&dp->tables, wanted, err);
	if (r < 0 || !dp->pending)
		return r;
	r = kk_datapath_put_in_force(dp, false, err);
	if (r == 0)
		dp->pending = false;
	return r;
}

int kk_datapath_amend(struct kk_datapath *dp, const struct kk_datapath_tables *from,
		      const struct kk_datapath_tables *to, struct kk_err *err)
{
	int r = check_writable(dp, err);

	if (r == 0 && dp->pending)
		r = kk_err_set(err, ESTALE, NULL, "%s", kk_datapath_reason(dp));
	if (r == 0)
		r = check_listeners(dp, to, err);
	return r < 0 ? r : kk_tables_amend(&dp->tables, from, to, err);
}

int kk_datapath_sync(struct kk_datapath *dp, const struct kk_listener *listeners, size_t n,
		     struct kk_err *err)
{
	const struct kk_datapath_tables wanted = {.listeners = listeners, .n_listeners = n};

	return kk_datapath_set(dp, &wanted, err);
}

int kk_datapath_set_group(struct kk_datapath *dp, const struct kk_group *group, struct kk_err *err)
{
	int r = check_writable(dp, err);

	return r < 0 ? r : kk_groups_set_one(&dp->tables, group, err);
}

/* Which kinds of bans there are: the programs look for no other. */
static int renew_bans(struct kk_datapath *dp, struct kk_ban_entry **ret, struct kk_err *err)
{
	struct kk_bans_found found;
	int n = kk_bans_read(&dp->tables, !dp->readonly, ret, &found, err);

	if (n < 0 || dp->readonly)
		return n;
	kk_tables_feature(&dp->tables, KK_FEATURE_BANS, found.gateway);
	kk_tables_feature(&dp->tables, KK_FEATURE_SERVICE_BANS, found.service);
	return n;
}

int kk_datapath_ban(struct kk_datapath *dp, const struct kk_ban_entry *bans, size_t n,
		    struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_ban_entry *all = NULL;
	int r = check_writable(dp, err);

	/* What has ended makes room. */
	if (r == 0)
		r = renew_bans(dp, &all, err);
	if (r >= 0)
		r = kk_bans_put(&dp->tables, bans, n, err);
	for (size_t i = 0; i < n && r == 0; i++)
		kk_tables_feature(&dp->tables,
				  bans[i].service ? KK_FEATURE_SERVICE_BANS : KK_FEATURE_BANS,
				  true);
	return r;
}

int kk_datapath_unban(struct kk_datapath *dp, const struct kk_address *source, uint32_t service,
		      struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_ban_entry *all = NULL;
	int r = check_writable(dp, err);

	if (r == 0)
		r = kk_bans_lift(&dp->tables, source, service, err);
	if (r == 0)
		r = renew_bans(dp, &all, err);
	return r < 0 ? r : 0;
}

int kk_datapath_bans(struct kk_datapath *dp, struct kk_ban_entry **ret, struct kk_err *err)
{
	return renew_bans(dp, ret, err);
}

int kk_datapath_read(struct kk_datapath *dp, struct kk_datapath_tables **ret, struct kk_err *err)
{
	return kk_tables_read(&dp->tables, ret, err);
}

int kk_datapath_trace(struct kk_datapath *dp, const struct kk_trace_packet *packet,
		      enum kk_trace_part part, void (*note)(void *data, const char *line),
		      void *note_data, struct kk_trace *ret, struct kk_err *err)
{
	return kk_tables_trace(&dp->tables, packet, part, note, note_data, ret, err);
}

int kk_datapath_list(struct kk_datapath *dp, struct kk_listener **ret, struct kk_err *err)
{
	return kk_tables_list(&dp->tables, ret, err);
}

bool kk_datapath_publishes(const struct kk_datapath *dp, uint8_t protocol, uint16_t port)
{
	for (uint32_t slot = 0; slot < dp->tables.n_slots; slot++)
		if (dp->tables.listeners[kk_listener_index(slot, protocol, port)])
			return true;
	return false;
}

int kk_datapath_counters(struct kk_datapath *dp, struct kk_datapath_counter **ret,
			 struct kk_err *err)
{
	return kk_tables_counters(&dp->tables, ret, err);
}

int kk_datapath_services(struct kk_datapath *dp, struct kk_datapath_service **ret,
			 struct kk_err *err)
{
	return kk_tables_services(&dp->tables, ret, err);
}

static int relays_fd(const struct kk_datapath *dp)
{
	return bpf_object__find_map_fd_by_name(dp->skel->obj, "kk_relays");
}

/* While there are sessions, and no longer, the programs look for them. */
int kk_datapath_relay(struct kk_datapath *dp, const struct kk_relay_session *session,
		      struct kk_err *err)
{
	int r = check_writable(dp, err);

	if (r == 0)
		r = kk_relay_put(relays_fd(dp), session, err);
	if (r == 0)
		kk_tables_feature(&dp->tables, KK_FEATURE_RELAY, kk_relay_sweep(relays_fd(dp)) > 0);
	return r;
}

int kk_datapath_unrelay(struct kk_datapath *dp, const struct kk_relay_session *session,
			struct kk_err *err)
{
	int r = check_writable(dp, err);

	if (r == 0)
		r = kk_relay_end(relays_fd(dp), session, err);
	if (r == 0)
		kk_tables_feature(&dp->tables, KK_FEATURE_RELAY, kk_relay_sweep(relays_fd(dp)) > 0);
	return r;
}

int kk_datapath_edge(struct kk_datapath *dp, struct kk_xdp_state *ret, struct kk_err *err)
{
	return kk_edge_query(bpf_object__find_map_fd_by_name(dp->skel->obj, "kk_edge_place"),
			     dp->readonly || dp->pending ? NULL : dp->skel, ret, err);
}

const char *kk_datapath_reason(const struct kk_datapath *dp)
{
	return dp->pending ? "programs of another version are in force until the first tables come"
			   : "";
}
