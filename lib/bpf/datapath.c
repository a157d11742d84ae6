// SPDX-License-Identifier: MIT
#include "bpf/datapath.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <kk/core/reasons.h>

#include "bpf/attach.h"
#include "bpf/attach_xdp.h"
#include "bpf/bans.h"
#include "bpf/bpffs.h"
#include "bpf/edge.h"
#include "bpf/groups.h"
#include "bpf/relay.h"
#include "bpf/summed.h"
#include "bpf/tables.h"
#include "bpf/trace.h"
#include "kk_tc.skel.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "wg/siphash.h"

enum { TUNNEL, PUBLIC, N_LINKS };

#define MTU_MIN 576 /* what every host takes, RFC 1122 section 3.3.2 */

/* Programs differ by what their packets begin with, so each interface is of one kind. */
struct link {
	char name[IFNAMSIZ];
	int ifindex;
	uint32_t mtu;
};

struct kk_datapath {
	char pin_dir[PATH_MAX - 32];
	struct link link[N_LINKS]; /* in the order of attaching: Agents are shut in first */
	struct kk_tc *skel;
	struct kk_tables tables;
	struct kk_edge_config edge;
	bool resized;  /* the table of listeners has another size than the pinned one */
	bool readonly; /* from kk_datapath_open_readonly() */
	bool pending; /* programs of another version are in force until the new tables are filled */
};

static int log_libbpf(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	char line[1024];

	(void)level;
	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	kk_debug("libbpf: %s", line);
	return 0;
}

static const struct {
	const char *field; /* as the daemons' option is called */
	unsigned short type;
	const char *text;
} kinds[N_LINKS] = {
	[TUNNEL] = {"tunnel-interface", ARPHRD_NONE, "layer 3 tunnel (WireGuard or TUN)"},
	[PUBLIC] = {"public-interface", ARPHRD_ETHER, "Ethernet device"},
};

static int link_init(struct link *links, int which, const char *ifname, struct kk_err *err)
{
	KK_CLEANUP_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const char *field = kinds[which].field;
	struct ifreq req = {0};

	if (fd < 0)
		return kk_err_set(err, errno, NULL, "cannot open a socket: %s", strerror(errno));
	if (strlen(ifname) >= sizeof(req.ifr_name))
		return kk_err_set(err, ENODEV, field, "there is no interface %s", ifname);
	strcpy(req.ifr_name, ifname);
	if (ioctl(fd, SIOCGIFHWADDR, &req) < 0)
		return kk_err_set(err, errno, field, "interface %s: %s", ifname, strerror(errno));
	if (req.ifr_hwaddr.sa_family != kinds[which].type)
		return kk_err_set(err, EINVAL, field, "interface %s is no %s", ifname,
				  kinds[which].text);
	if (ioctl(fd, SIOCGIFINDEX, &req) < 0)
		return kk_err_set(err, errno, field, "interface %s: %s", ifname, strerror(errno));
	strcpy(links[which].name, ifname);
	links[which].ifindex = req.ifr_ifindex;
	if (ioctl(fd, SIOCGIFMTU, &req) < 0)
		return kk_err_set(err, errno, field, "interface %s: %s", ifname, strerror(errno));
	if (req.ifr_mtu < MTU_MIN)
		return kk_err_set(err, EINVAL, field,
				  "interface %s has an MTU of %d, less than the %d of IPv4", ifname,
				  req.ifr_mtu, MTU_MIN);
	links[which].mtu = (uint32_t)req.ifr_mtu;
	return 0;
}

static __be32 prefix_mask(uint8_t len)
{
	return len ? KK_BE32(0xffffffffu << (32 - len)) : 0;
}

static int check_pools(const struct kk_datapath_config *config, struct kk_err *err)
{
	static const uint8_t zero[4];
	char text[INET6_ADDRSTRLEN];

	if (config->pool.len < 32 - KK_AGENT_BITS || config->pool.len > 24)
		return kk_err_set(err, EINVAL, "pool",
				  "pool of prefix length %u cannot hold Agents (8 to 24)",
				  config->pool.len);
	if (config->pool.addr.s_addr & ~prefix_mask(config->pool.len))
		return kk_err_set(err, EINVAL, "pool", "pool %s has host bits",
				  inet_ntoa(config->pool.addr));
	if (memcmp(&config->pool6.s6_addr[12], zero, sizeof(zero)) != 0)
		return kk_err_set(err, EINVAL, "pool6", "pool6 %s has bits behind its first 96",
				  inet_ntop(AF_INET6, &config->pool6, text, sizeof(text)));
	return 0;
}

static int check_address(const struct kk_datapath_config *config, size_t i, struct kk_err *err)
{
	const struct kk_address *address = &config->addresses[i];
	char text[KK_ADDRESS_TEXT];
	size_t before = 0;

	kk_address_text(address, text);
	if (!kk_address_is_host(address))
		return kk_err_set(err, EINVAL, "address", "address \"%s\" is no host's", text);
	if (address->family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&config->pool6))
		return kk_err_set(err, EINVAL, "address",
				  "address %s cannot be managed: there is no pool6", text);
	for (size_t j = 0; j < i; j++) {
		if (kk_address_equal(&config->addresses[j], address))
			return kk_err_set(err, EINVAL, "address", "address %s is there twice",
					  text);
		before += config->addresses[j].family == address->family;
	}
	if (before >= KK_ADDRESSES_MAX)
		return kk_err_set(err, ENOSPC, "address",
				  "address %s: more than %d addresses of one family", text,
				  KK_ADDRESSES_MAX);
	return 0;
}

static int check_config(const struct kk_datapath_config *config, struct kk_err *err)
{
	int r = check_pools(config, err);

	if (r == 0 && config->n_addresses == 0)
		r = kk_err_set(err, EINVAL, "address", "there is no public address");
	for (size_t i = 0; i < config->n_addresses && r == 0; i++)
		r = check_address(config, i, err);
	return r;
}

/* As many words as the hash wants, the same on every machine. */
static void expand_flow_key(const uint8_t secret[16], __u64 key[KK_FLOW_KEY_WORDS])
{
	struct wg_siphash_key sip;

	memcpy(&sip, secret, sizeof(sip));
	sip.k[0] = le64toh(sip.k[0]);
	sip.k[1] = le64toh(sip.k[1]);
	for (uint8_t i = 0; i < KK_FLOW_KEY_WORDS; i++)
		key[i] = wg_siphash(&sip, &i, sizeof(i));
}

static struct kk_settings settings_of(const struct kk_datapath_config *config, uint32_t mtu)
{
	struct kk_settings set = {
		.pool = config->pool.addr.s_addr,
		.pool_mask = prefix_mask(config->pool.len),
		.host = KK_BE32(config->host),
		.mtu = mtu,
	};
	size_t n4 = 0, n6 = 0;

	expand_flow_key(config->flow_key, set.flow_key);
	memcpy(&set.pool6, &config->pool6, sizeof(set.pool6));
	for (size_t i = 0; i < config->n_addresses; i++) {
		const struct kk_address *address = &config->addresses[i];

		if (address->family == AF_INET)
			set.address4[n4++] = address->v4.s_addr;
		else
			memcpy(&set.address6[n6++], address->bytes, sizeof(set.address6[0]));
	}
	return set;
}

/* Slots up to the last address. */
static uint32_t count_slots(const struct kk_datapath_config *config)
{
	uint32_t slots = 0, n[2] = {0};

	for (size_t i = 0; i < config->n_addresses; i++) {
		bool v6 = config->addresses[i].family == AF_INET6;
		uint32_t slot = kk_slot(v6 ? KK_IP6 : KK_IP4, n[v6]++);

		slots = slot + 1 > slots ? slot + 1 : slots;
	}
	return slots;
}

#define LAYOUT_PREFIX "layout-"

/* Where the tables of our layout are pinned. */
static const char *layout_dir(const struct kk_datapath *dp, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/" LAYOUT_PREFIX "%d", dp->pin_dir, KK_LAYOUT);
	return path;
}

static int load(struct kk_datapath *dp, const struct kk_datapath_config *config, bool *ret_adopted,
		struct kk_err *err)
{
	const struct kk_settings settings = settings_of(config, dp->link[TUNNEL].mtu);
	struct kk_edge_settings edge;
	char dir[PATH_MAX];
	int r;

	r = kk_edge_settings_of(config, &edge, err);
	if (r < 0)
		return r;
	dp->skel = kk_tc__open();
	if (!dp->skel)
		return kk_err_set(err, errno, NULL, "cannot open the BPF programs: %s",
				  strerror(errno));
	dp->skel->rodata->kk_settings = settings;
	dp->skel->rodata->kk_edge_settings = edge;
	dp->skel->rodata->kk_public_ifindex = (__u32)dp->link[PUBLIC].ifindex;
	dp->skel->rodata->kk_tunnel_ifindex = (__u32)dp->link[TUNNEL].ifindex;
	dp->skel->data->kk_forward_here = !config->standby;
	r = kk_tables_adopt(dp->skel->obj, layout_dir(dp, dir), count_slots(config), &dp->resized,
			    err);
	if (r < 0)
		return r;
	*ret_adopted = r;
	dp->skel->rodata->kk_skb_summed = kk_summed_prepare(dp->skel->obj);
	r = kk_tc__load(dp->skel);
	if (r < 0)
		return kk_err_set(err, -r, NULL,
				  "the kernel refused the BPF programs (--verbose says why): %s",
				  strerror(-r));
	r = kk_tables_init(&dp->tables, dp->skel->obj, err);
	if (r < 0)
		return r;
	dp->tables.settings = settings;
	return dp->resized ? kk_tables_carry_over(&dp->tables, dir, err) : 0;
}

static int put_edge_in_force(struct kk_datapath *dp, struct kk_err *err)
{
	kk_tables_feature(&dp->tables, KK_FEATURE_CLOSED_PORTS, dp->edge.closed_ports);
	kk_tables_feature(&dp->tables, KK_FEATURE_SYN_COOKIES, true);
	return kk_edge_attach(dp->skel, &dp->edge, dp->link[PUBLIC].name, dp->link[PUBLIC].ifindex,
			      err);
}

/* Tables first: a process that dies between the two leaves what the next one adopts. */
static int put_in_force(struct kk_datapath *dp, bool adopted, struct kk_err *err)
{
	const int prog_fd[N_LINKS] = {
		[TUNNEL] = bpf_program__fd(dp->skel->progs.kk_tc_tunnel),
		[PUBLIC] = bpf_program__fd(dp->skel->progs.kk_tc_public),
	};
	struct kk_attachment done[N_LINKS];
	struct kk_err others = {0};
	char dir[PATH_MAX];
	int r = 0, n = 0;

	layout_dir(dp, dir);
	if (!adopted) {
		r = kk_bpffs_mkdir(dir, err);
		if (r == 0)
			r = kk_tables_pin(dp->skel->obj, dir, false, err);
	}
	while (r == 0 && n < N_LINKS) {
		r = kk_attach(dp->link[n].name, dp->link[n].ifindex, prog_fd[n], &done[n], err);
		if (r == 0)
			n++;
	}
	if (r == 0 && dp->resized)
		r = kk_tables_pin(dp->skel->obj, dir, true, err);
	if (r == 0)
		r = kk_tables_put_settings(&dp->tables, err);
	if (r == 0)
		r = put_edge_in_force(dp, err);
	while (n-- > 0) {
		if (r < 0)
			kk_attach_undo(&done[n]);
		else
			kk_attach_done(&done[n]);
	}
	if (r < 0 && !adopted)
		kk_bpffs_remove(dir, NULL);
	/* No program uses the tables of other versions any more; nobody shall ever adopt them. */
	if (r == 0 && kk_bpffs_remove_all(dp->pin_dir, LAYOUT_PREFIX, dir, &others) < 0)
		kk_warn("%s", others.msg);
	return r;
}

static void datapath_freep(struct kk_datapath **dp)
{
	kk_datapath_close(*dp);
}

int kk_datapath_open(const struct kk_datapath_config *config, struct kk_datapath **ret,
		     struct kk_err *err)
{
	KK_CLEANUP(datapath_freep) struct kk_datapath *dp = calloc(1, sizeof(*dp));
	bool adopted;
	int r;

	if (!dp)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	libbpf_set_print(log_libbpf);
	r = check_config(config, err);
	if (r < 0)
		return r;
	if (strlen(config->pin_dir) >= sizeof(dp->pin_dir))
		return kk_err_set(err, ENAMETOOLONG, "pin-dir", "path %s is too long",
				  config->pin_dir);
	strcpy(dp->pin_dir, config->pin_dir);
	dp->edge = config->edge;
	r = link_init(dp->link, TUNNEL, config->tunnel_ifname, err);
	if (r == 0)
		r = link_init(dp->link, PUBLIC, config->public_ifname, err);
	if (r == 0)
		r = kk_bpffs_mkdir(dp->pin_dir, err);
	if (r == 0)
		r = load(dp, config, &adopted, err);
	if (r < 0)
		return r;
	dp->pending = !adopted && (kk_attached(dp->link[PUBLIC].ifindex) ||
				   kk_attached(dp->link[TUNNEL].ifindex));
	if (!dp->pending)
		r = put_in_force(dp, adopted, err);
	if (r < 0)
		return r;
	*ret = KK_STEAL(dp);
	return 0;
}

int kk_datapath_open_readonly(const char *pin_dir, struct kk_datapath **ret, struct kk_err *err)
{
	KK_CLEANUP(datapath_freep) struct kk_datapath *dp = calloc(1, sizeof(*dp));
	char dir[PATH_MAX];
	int r;

	if (!dp)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	libbpf_set_print(log_libbpf);
	if (strlen(pin_dir) >= sizeof(dp->pin_dir))
		return kk_err_set(err, ENAMETOOLONG, "pin-dir", "path %s is too long", pin_dir);
	strcpy(dp->pin_dir, pin_dir);
	dp->readonly = true;
	/* An object that is opened but never loaded only says which maps to look for. */
	dp->skel = kk_tc__open();
	if (!dp->skel)
		return kk_err_set(err, errno, NULL, "cannot open the BPF programs: %s",
				  strerror(errno));
	r = kk_tables_adopt(dp->skel->obj, layout_dir(dp, dir), 0, &dp->resized, err);
	if (r < 0)
		return r;
	if (r == 0)
		return kk_err_set(err, ENOENT, "pin-dir",
				  "there are no tables of this version in %s", pin_dir);
	r = kk_tables_init_readonly(&dp->tables, dp->skel->obj, err);
	if (r < 0)
		return r;
	*ret = KK_STEAL(dp);
	return 0;
}

bool kk_datapath_fits(const struct kk_datapath *dp)
{
	for (int i = 0; i < N_LINKS && !dp->readonly; i++) {
		struct link now[N_LINKS];

		if (link_init(now, i, dp->link[i].name, NULL) < 0)
			continue;
		if (now[i].ifindex != dp->link[i].ifindex ||
		    (i == TUNNEL && now[i].mtu != dp->link[i].mtu))
			return false;
	}
	return true;
}

void kk_datapath_forward(struct kk_datapath *dp, bool here)
{
	__atomic_store_n(&dp->skel->data->kk_forward_here, here, __ATOMIC_RELEASE);
}

void kk_datapath_settings(const struct kk_datapath *dp, struct kk_settings *ret,
			  uint32_t *ret_public_ifindex, uint32_t *ret_tunnel_ifindex)
{
	*ret = dp->tables.settings;
	*ret_public_ifindex = (uint32_t)dp->link[PUBLIC].ifindex;
	*ret_tunnel_ifindex = (uint32_t)dp->link[TUNNEL].ifindex;
}

void kk_datapath_close(struct kk_datapath *dp)
{
	if (!dp)
		return;
	kk_tables_clean(&dp->tables);
	kk_tc__destroy(dp->skel);
	free(dp);
}

int kk_datapath_remove(const char *pin_dir, const char *public_ifname, const char *tunnel_ifname,
		       struct kk_err *err)
{
	const char *names[N_LINKS] = {[TUNNEL] = tunnel_ifname, [PUBLIC] = public_ifname};
	int r;

	libbpf_set_print(log_libbpf);
	/* The way in closes before the wall behind it goes. */
	for (int i = N_LINKS - 1; i >= 0; i--) {
		int ifindex = (int)if_nametoindex(names[i]);

		r = ifindex ? kk_detach(names[i], ifindex, err) : 0;
		if (r == 0 && ifindex && i == PUBLIC)
			r = kk_xdp_detach(names[i], ifindex, err);
		if (r < 0)
			return r;
	}
	r = kk_bpffs_remove_all(pin_dir, LAYOUT_PREFIX, NULL, err);
	/* Whoever put other things there keeps the directory too. */
	if (r == 0 && rmdir(pin_dir) < 0 && errno != ENOENT && errno != ENOTEMPTY && errno != EBUSY)
		return kk_err_set(err, errno, "pin-dir", "cannot remove %s: %s", pin_dir,
				  strerror(errno));
	return r;
}

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

	for (size_t i = 0; i < wanted->n_listeners && r == 0; i++)
		r = check_listener(dp, &wanted->listeners[i], err);
	if (r == 0)
		r = kk_tables_set(&dp->tables, wanted, err);
	if (r < 0 || !dp->pending)
		return r;
	r = put_in_force(dp, false, err);
	if (r == 0)
		dp->pending = false;
	return r;
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
