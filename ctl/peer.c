// SPDX-License-Identifier: MIT
/* kkctl peer: plain WireGuard clients. Their private keys are made here or elsewhere, and Control has none. */
#include "ctl/ctl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/api.h"
#include "ctl/resource.h"
#include "util/cleanup.h"
#include "util/encode.h"
#include "util/file.h"
#include "util/json.h"
#include "util/parse.h"
#include "wgctl/wgctl.h"

#define KEEPALIVE_S  25	  /* NATs forget after 30 s (RFC 4787 allows no less than 2 min, some do) */
#define KEY_FILE_MAX 4096 /* what is read of a file that should hold 44 characters */

static void format_addresses(const json_t *obj, char *text, size_t size)
{
	ctl_format_names(json_object_get(obj, "addresses"), "-", text, size);
}

static const struct ctl_column columns[] = {
	{"ALIAS", "name", NULL},
	{"ADDRESSES", NULL, format_addresses},
	{"PUBLIC KEY", "public_key", NULL},
};

static const struct ctl_resource resource = {
	.collection = "peers",
	.what = "peer",
	.none = "There is no plain WireGuard peer yet.",
	.columns = columns,
	.n_columns = ARRAY_SIZE(columns),
};

/* ---- the configuration that wg-quick(8) takes ---- */

/* "10.1.0.1/32, fd00::a01:1/128" */
static void print_hosts(const char *name, const json_t *addresses)
{
	const json_t *address;
	size_t i;

	printf("%s = ", name);
	json_array_foreach((json_t *)addresses, i, address) {
		const char *text = json_string_value(address);

		printf("%s%s/%d", i ? ", " : "", text, strchr(text, ':') ? 128 : 32);
	}
	putchar('\n');
}

static void print_gateway(const json_t *gateway)
{
	const char *key = ctl_text(gateway, "public_key");

	if (!*key) {
		printf("\n# %s has not joined yet\n", ctl_text(gateway, "name"));
		return;
	}
	printf("\n# %s\n[Peer]\nPublicKey = %s\nEndpoint = %s\n", ctl_text(gateway, "name"), key,
	       ctl_text(gateway, "endpoint"));
	print_hosts("AllowedIPs", json_object_get(gateway, "addresses"));
	printf("PersistentKeepalive = %d\n", KEEPALIVE_S);
}

/* @private_key in base64, or "" where only its owner has it. */
static void print_configuration(const json_t *peer, const char *private_key)
{
	json_t *gateways = json_object_get(peer, "gateways");
	const json_t *gateway;
	size_t i;

	printf("# %s\n[Interface]\n", ctl_text(peer, "name"));
	if (*private_key)
		printf("PrivateKey = %s\n", private_key);
	else
		printf("# PrivateKey = that of %s\n", ctl_text(peer, "public_key"));
	print_hosts("Address", json_object_get(peer, "addresses"));
	json_array_foreach(gateways, i, gateway) {
		print_gateway(gateway);
	}
}

/* ---- keys ---- */

struct keys {
	char public[KK_KEY_BASE64_LEN + 1], private[KK_KEY_BASE64_LEN + 1];
};

static int take_private(const uint8_t private[KK_KEY_LEN], struct keys *ret)
{
	uint8_t public[KK_KEY_LEN];

	if (wgctl_pubkey(private, public) < 0)
		return ctl_fail(CTL_REFUSED, "no public key can be made of the private one");
	kk_key_format(public, ret->public);
	kk_key_format(private, ret->private);
	return CTL_DONE;
}

/* A new pair, or the public half that was given. */
static int get_keys(const struct ctl *ctl, struct keys *ret)
{
	const char *given = ctl->name;
	uint8_t key[KK_KEY_LEN];
	int r = CTL_DONE;

	if (given && kk_key_parse(given, key) < 0)
		r = ctl_fail(CTL_USAGE, "PUBKEY: \"%.64s\" is not a WireGuard key in base64",
			     given);
	else if (given)
		kk_key_format(key, ret->public);
	else if (wgctl_genkey(key) < 0)
		r = ctl_fail(CTL_REFUSED, "no key can be made: there are no random numbers");
	else
		r = take_private(key, ret);
	explicit_bzero(key, sizeof(key));
	return r;
}

/* What wg genkey wrote. */
static int read_private(const char *path, struct keys *ret)
{
	KK_CLEANUP_FREE char *text = NULL;
	uint8_t key[KK_KEY_LEN];
	size_t len;
	int r = kk_file_read(path, KEY_FILE_MAX, &text, &len);

	if (r < 0)
		return ctl_fail(CTL_REFUSED, "private-key: %s: %s", path, strerror(-r));
	text[strcspn(text, "\r\n")] = '\0';
	if (kk_key_parse(text, key) < 0)
		r = ctl_fail(CTL_REFUSED, "private-key: %s does not hold a WireGuard key in base64",
			     path);
	else
		r = take_private(key, ret);
	explicit_bzero(key, sizeof(key));
	explicit_bzero(text, len);
	return r;
}

/* ---- which peer ---- */

/* A key in base64 as the value of a query (RFC 3986 section 2.1). */
static void escape_key(const uint8_t key[KK_KEY_LEN], char *out, size_t size)
{
	char text[KK_KEY_BASE64_LEN + 1];
	size_t n = 0;

	kk_key_format(key, text);
	for (const char *c = text; *c && n + 4 <= size; c++) {
		if (*c == '+' || *c == '/' || *c == '=')
			n += (size_t)snprintf(out + n, size - n, "%%%02X", (unsigned int)*c);
		else
			out[n++] = *c;
	}
	out[n] = '\0';
}

static int find_by_key(struct ctl *ctl, const uint8_t key[KK_KEY_LEN], char alias[KK_NAME_MAX + 1])
{
	KK_CLEANUP_JSON json_t *found = NULL;
	char query[3 * KK_KEY_BASE64_LEN + 4];
	const json_t *peer;
	int r;

	escape_key(key, query, sizeof(query));
	r = ctl_call(ctl, &found, NULL, "GET", "/api/v1/peers?public_key=%s", query);
	if (r != CTL_DONE)
		return r;
	peer = json_array_get(json_object_get(found, "items"), 0);
	if (!peer)
		return ctl_fail(CTL_REFUSED, "there is no peer with the public key %s", ctl->name);
	snprintf(alias, KK_NAME_MAX + 1, "%s", ctl_text(peer, "name"));
	return CTL_DONE;
}

/* The peer that the command's argument names, by its public key or its alias. */
static int find(struct ctl *ctl, char alias[KK_NAME_MAX + 1])
{
	struct kk_err err = {0};
	uint8_t key[KK_KEY_LEN];

	if (kk_key_parse(ctl->name, key) == 0)
		return find_by_key(ctl, key, alias);
	if (kk_parse_name("alias", ctl->name, &err) < 0)
		return ctl_fail(CTL_USAGE, "%s", err.msg);
	strcpy(alias, ctl->name);
	return CTL_DONE;
}

/* ---- commands ---- */

/* The configuration is all of standard output, so that it can be written into a file. */
static int show_added(struct ctl *ctl, json_t *peer, const struct keys *keys)
{
	char applied[256];
	int r = ctl_applied(ctl, peer, applied, sizeof(applied));

	if (ctl->options.json) {
		if (*keys->private)
			json_object_set_new(peer, "private_key", json_string(keys->private));
		ctl_print_json(peer);
		return r;
	}
	fprintf(stderr, "peer %s is added, %s%s\n", ctl->options.alias, applied,
		*keys->private ? "; its private key is shown this once" : "");
	print_configuration(peer, keys->private);
	return r;
}

static int check_alias(const struct ctl *ctl)
{
	struct kk_err err = {0};

	if (!ctl->options.alias)
		return ctl_usage(ctl, "--alias is missing");
	if (kk_parse_name("alias", ctl->options.alias, &err) < 0)
		return ctl_fail(CTL_USAGE, "%s", err.msg);
	return CTL_DONE;
}

static int add(struct ctl *ctl)
{
	KK_CLEANUP_JSON json_t *peer = NULL;
	struct keys keys = {0};
	int r = check_alias(ctl);

	if (r == CTL_DONE)
		r = get_keys(ctl, &keys);
	if (r == CTL_DONE)
		r = ctl_call(ctl, &peer,
			     json_pack("{s:s, s:s, s:s*}", "name", ctl->options.alias, "public_key",
				       keys.public, "wg_ip", ctl->options.wg_ip),
			     "POST", "/api/v1/peers?wait=%lld", (long long)ctl->options.wait);
	if (r == CTL_DONE)
		r = show_added(ctl, peer, &keys);
	explicit_bzero(&keys, sizeof(keys));
	return r;
}

static int list(struct ctl *ctl)
{
	return ctl_resource_list(ctl, &resource);
}

static int show(struct ctl *ctl)
{
	char alias[KK_NAME_MAX + 1];
	int r = find(ctl, alias);

	if (r != CTL_DONE)
		return r;
	ctl->name = alias;
	r = ctl_resource_show(ctl, &resource);
	ctl->name = ctl->words[0];
	return r;
}

static int config(struct ctl *ctl)
{
	const char *path = ctl->options.private_key;
	KK_CLEANUP_JSON json_t *peer = NULL;
	char alias[KK_NAME_MAX + 1];
	struct keys keys = {0};
	int r = path ? read_private(path, &keys) : CTL_DONE;

	if (r == CTL_DONE)
		r = find(ctl, alias);
	if (r == CTL_DONE)
		r = ctl_call(ctl, &peer, NULL, "GET", "/api/v1/peers/%s", alias);
	if (r == CTL_DONE && path && strcmp(keys.public, ctl_text(peer, "public_key")) != 0)
		r = ctl_fail(CTL_REFUSED,
			     "private-key: %s is not that of peer %s, whose public key is %s", path,
			     alias, ctl_text(peer, "public_key"));
	if (r == CTL_DONE && !ctl_printed_json(ctl, peer))
		print_configuration(peer, keys.private);
	explicit_bzero(&keys, sizeof(keys));
	return r;
}

static int remove_peer(struct ctl *ctl)
{
	char alias[KK_NAME_MAX + 1], path[64], what[96];
	int r = find(ctl, alias);

	if (r != CTL_DONE)
		return r;
	snprintf(path, sizeof(path), "/api/v1/peers/%s", alias);
	snprintf(what, sizeof(what), "peer %s is removed", alias);
	return ctl_change(ctl, NULL, "DELETE", path, what);
}

static const struct kk_option add_options[] = {
	CTL_OPTION("alias", "NAME", KK_OPTION_STRING, alias, "its name"),
	CTL_OPTION("wg-ip", "A", KK_OPTION_STRING, wg_ip,
		   "its tunnel address, the .100 of a /24 of the pool (default: the first that is "
		   "free)"),
};

static const struct kk_option config_options[] = {
	CTL_OPTION("private-key", "FILE", KK_OPTION_STRING, private_key,
		   "that wg genkey wrote, to be put in"),
};

static const struct ctl_command commands[] = {
	{"add", "[PUBKEY]",
	 "makes a peer, without PUBKEY also its keys, and prints its configuration for wg-quick",
	 CTL_OPTIONS(add_options), .run = add},
	{"list", NULL, "lists the peers", .run = list},
	{"show", "PUBKEY|ALIAS", "shows one peer", .run = show},
	{"config", "PUBKEY|ALIAS",
	 "prints its configuration again, with the gateways as they are now",
	 CTL_OPTIONS(config_options), .run = config},
	{"remove", "PUBKEY|ALIAS", "removes a peer that has no services", .run = remove_peer},
};

const struct ctl_noun ctl_peer = {
	"peer",
	"plain WireGuard clients that publish without our software",
	commands,
	ARRAY_SIZE(commands),
};
