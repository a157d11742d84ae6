// SPDX-License-Identifier: MIT
#include "kk_test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "proto/model.h"
#include "util/cleanup.h"
#include "util/json.h"

#define KEY "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="

#define GATEWAY_SELF                                                                               \
	"{\"id\":7,\"name\":\"gw1\",\"index\":1,\"address\":\"198.51.100.1\",\"wg_port\":51820,"   \
	"\"pool\":\"10.0.0.0/8\"}"
#define AGENT1 "{\"id\":3,\"name\":\"home\",\"subnet\":\"10.1.0.0/24\",\"public_key\":\"" KEY "\"}"
#define AGENT2 "{\"id\":2,\"name\":\"lab\",\"subnet\":\"10.2.0.0/24\",\"public_key\":null}"
#define SSH                                                                                        \
	"{\"id\":10,\"name\":\"ssh\",\"protocol\":\"tcp\",\"port\":2222,\"agent\":3,"              \
	"\"agent_port\":2222}"
#define GAME                                                                                       \
	"{\"id\":5,\"name\":\"game\",\"protocol\":\"udp\",\"port\":27015,\"agent\":2,"             \
	"\"agent_port\":27015,\"of a newer Control\":{}}"
#define SNAPSHOT(self, lists)                                                                      \
	"{\"type\":\"snapshot\",\"epoch\":\"e1\",\"generation\":4,\"self\":" self lists "}"
#define LISTS ",\"agents\":[" AGENT1 "," AGENT2 "],\"services\":[" SSH "," GAME "]"

static int next(const struct kk_config *old, const char *text, struct kk_config *ret,
		struct kk_err *err)
{
	KK_CLEANUP_JSON json_t *msg = kk_json_parse(text, strlen(text), NULL);

	if (!msg)
		fail_msg("the test's own JSON is bad: %s", text);
	return kk_config_next(old, msg, ret, err);
}

static void snapshot(struct kk_config *ret)
{
	struct kk_config none = {0};
	struct kk_err err = {0};

	if (next(&none, SNAPSHOT(GATEWAY_SELF, LISTS), ret, &err) < 0)
		fail_msg("%s", err.msg);
}

/* Refused with @code, @field and @part of the sentence; nothing is touched. */
static void refuse_on(const struct kk_config *old, const char *text, int code, const char *field,
		      const char *part)
{
	struct kk_config out, before;
	struct kk_err err = {0};

	memset(&out, 0x5a, sizeof(out));
	before = out;
	if (next(old, text, &out, &err) != -code)
		fail_msg("taken, or another error (%s): %s", err.msg, text);
	assert_err(&err, field, part);
	assert_memory_equal(&out, &before, sizeof(out));
}

static void refuse(const char *text, const char *field, const char *part)
{
	static const struct kk_config none;

	refuse_on(&none, text, EINVAL, field, part);
}

static void test_gateway_snapshot(void **state)
{
	KK_CLEANUP(kk_config_clean) struct kk_config config = {0};
	uint8_t key[KK_KEY_LEN];

	(void)state;
	snapshot(&config);
	assert_string_equal(config.epoch, "e1");
	assert_int_equal(config.generation, 4);
	assert_int_equal(config.self.id, 7);
	assert_string_equal(config.self.name, "gw1");
	assert_int_equal(config.self.index, 1);
	assert_int_equal(config.self.addresses[0].v4.s_addr, inet_addr("198.51.100.1"));
	assert_int_equal(config.self.wg_port, 51820);
	assert_int_equal(config.self.pool.len, 8);
	assert_int_equal(config.n_gateways, 0);
	/* in order of id, whatever the message's order */
	assert_int_equal(config.n_agents, 2);
	assert_string_equal(config.agents[0].name, "lab");
	assert_false(config.agents[0].has_key);
	assert_true(config.agents[1].has_key);
	assert_int_equal(kk_key_parse(KEY, key), 0);
	assert_memory_equal(config.agents[1].public_key, key, sizeof(key));
	assert_int_equal(config.n_services, 2);
	assert_string_equal(config.services[0].name, "game");
	assert_int_equal(config.services[0].protocol, IPPROTO_UDP);
	assert_int_equal(config.services[1].agents[0], 3);
	assert_int_equal(config.services[1].port, 2222);
	assert_ptr_equal(kk_config_service(&config, 10), &config.services[1]);
	assert_ptr_equal(kk_config_agent(&config, 2), &config.agents[0]);
	assert_null(kk_config_agent(&config, 4));
	assert_null(kk_config_gateway(&config, 1));
	assert_int_equal(kk_subnet_host(&config.agents[1].subnet, KK_AGENT_HOST).s_addr,
			 inet_addr("10.1.0.100"));
}

#define AGENT_SELF "{\"id\":3,\"name\":\"home\",\"subnet\":\"10.1.0.0/24\"}"
#define GW(endpoint)                                                                               \
	"{\"id\":7,\"name\":\"gw1\",\"index\":1,\"endpoint\":\"" endpoint                          \
	"\",\"public_key\":\"" KEY "\"}"
#define WEB(target)                                                                                \
	"{\"id\":1,\"name\":\"web\",\"protocol\":\"tcp\",\"port\":80,\"agent_port\":80,"           \
	"\"target\":\"" target "\",\"proxy_protocol\":true}"
#define AGENT_SNAPSHOT(endpoint, target)                                                           \
	SNAPSHOT(AGENT_SELF, ",\"gateways\":[" GW(endpoint) "],\"services\":[" WEB(target) "]")

static void test_agent_snapshot(void **state)
{
	KK_CLEANUP(kk_config_clean) struct kk_config config = {0};
	struct kk_config none = {0};
	struct kk_err err = {0};
	const struct kk_gateway *gateway;

	(void)state;
	assert_int_equal(
		next(&none, AGENT_SNAPSHOT("198.51.100.1:51820", "nas.lan:80"), &config, &err), 0);
	assert_int_equal(config.self.subnet.addr.s_addr, inet_addr("10.1.0.0"));
	gateway = kk_config_gateway(&config, 7);
	assert_non_null(gateway);
	assert_int_equal(gateway->endpoint.v4.sin_family, AF_INET);
	assert_int_equal(gateway->endpoint.v4.sin_addr.s_addr, inet_addr("198.51.100.1"));
	assert_int_equal(gateway->endpoint.v4.sin_port, htons(51820));
	assert_true(gateway->has_key);
	assert_string_equal(config.services[0].target, "nas.lan:80");
	assert_true(config.services[0].proxy_protocol);
}

#define DELTA(from, to, more) "{\"type\":\"delta\",\"from\":" #from ",\"generation\":" #to more "}"

static void test_delta(void **state)
{
	KK_CLEANUP(kk_config_clean) struct kk_config one = {0}, two = {0}, three = {0};
	struct kk_err err = {0};

	(void)state;
	snapshot(&one);
	/* One service changed, one added between, one removed with its Agent, and an id nobody had. */
	assert_int_equal(next(&one,
			      DELTA(4, 6,
				    ",\"put\":{\"services\":[{\"id\":10,\"name\":\"ssh\","
				    "\"protocol\":\"tcp\",\"port\":2200,\"agent\":3,"
				    "\"agent_port\":2200},{\"id\":7,\"name\":\"web\","
				    "\"protocol\":\"tcp\",\"port\":80,\"agent\":3,"
				    "\"agent_port\":80}]},\"remove\":{\"services\":[99,5],"
				    "\"agents\":[2]}"),
			      &two, &err),
			 0);
	assert_int_equal(two.generation, 6);
	assert_string_equal(two.epoch, "e1");
	assert_string_equal(two.self.name, "gw1");
	assert_int_equal(two.n_agents, 1);
	assert_int_equal(two.n_services, 2);
	assert_string_equal(two.services[0].name, "web");
	assert_int_equal(two.services[1].port, 2200);
	/* what it came from is as it was */
	assert_int_equal(one.n_services, 2);
	assert_int_equal(one.services[1].port, 2222);
	/* an empty one moves the generation, nothing else */
	assert_int_equal(next(&two, DELTA(6, 9, ""), &three, &err), 0);
	assert_int_equal(three.generation, 9);
	assert_int_equal(three.n_services, 2);
}

static void test_delta_reuses_id(void **state)
{
	KK_CLEANUP(kk_config_clean) struct kk_config one = {0}, two = {0};
	struct kk_err err = {0};

	(void)state;
	snapshot(&one);
	assert_int_equal(next(&one,
			      DELTA(4, 6,
				    ",\"put\":{\"services\":[" SSH "]},"
				    "\"remove\":{\"services\":[10]}"),
			      &two, &err),
			 0);
	assert_non_null(kk_config_service(&two, 10));
}

static void test_delta_self(void **state)
{
	KK_CLEANUP(kk_config_clean) struct kk_config one = {0}, two = {0};
	struct kk_err err = {0};

	(void)state;
	snapshot(&one);
	assert_int_equal(next(&one,
			      DELTA(4, 5,
				    ",\"put\":{\"self\":{\"id\":7,\"name\":\"gw1\",\"index\":1,"
				    "\"address\":\"198.51.100.9\",\"wg_port\":4000,"
				    "\"pool\":\"10.0.0.0/8\"}}"),
			      &two, &err),
			 0);
	assert_int_equal(two.self.wg_port, 4000);
	refuse_on(&one, DELTA(4, 5, ",\"put\":{\"self\":" AGENT_SELF "}"), EINVAL, "self", "role");
}

static void test_stale(void **state)
{
	KK_CLEANUP(kk_config_clean) struct kk_config one = {0};
	static const struct kk_config none;

	(void)state;
	snapshot(&one);
	refuse_on(&one, DELTA(3, 5, ""), ESTALE, "from", "generation 3, this is 4");
	refuse_on(&one, DELTA(5, 6, ""), ESTALE, "from", "generation 5, this is 4");
	refuse_on(&one, DELTA(4, 5, ",\"epoch\":\"e2\""), ESTALE, "epoch", "another epoch");
	refuse_on(&none, DELTA(0, 1, ""), ESTALE, "from", "generation 0");
	refuse_on(&one, "{\"type\":\"delta\",\"generation\":5}", ESTALE, "from", "generation -1");
}

static void test_bad_delta(void **state)
{
	KK_CLEANUP(kk_config_clean) struct kk_config one = {0};

	(void)state;
	snapshot(&one);
	refuse_on(&one, DELTA(4, 3, ""), EINVAL, "generation", "3 is before 4");
	refuse_on(&one, DELTA(4, 5, ",\"put\":[]"), EINVAL, "put", "object is wanted");
	refuse_on(&one, DELTA(4, 5, ",\"remove\":7"), EINVAL, "remove", "object is wanted");
	refuse_on(&one, DELTA(4, 5, ",\"remove\":{\"services\":5}"), EINVAL, "services",
		  "not a list");
	refuse_on(&one, DELTA(4, 5, ",\"remove\":{\"services\":[\"5\"]}"), EINVAL, "services",
		  "services[0]: is not an id");
	refuse_on(&one, DELTA(4, 5, ",\"remove\":{\"services\":[5,0]}"), EINVAL, "services",
		  "services[1]: is not an id");
	refuse_on(&one, DELTA(4, 5, ",\"remove\":{\"services\":[5,5]}"), EINVAL, "services",
		  "id 5 is there twice");
	/* service 5 is of Agent 2 */
	refuse_on(&one, DELTA(4, 5, ",\"remove\":{\"agents\":[2]}"), EINVAL, "agent",
		  "service game: agent: there is no Agent with id 2");
	refuse_on(&one, DELTA(4, 5, ",\"put\":{\"services\":[" SSH "," SSH "]}"), EINVAL,
		  "services", "id 10 is there twice");
}

static void test_bad_message(void **state)
{
	(void)state;
	refuse("[]", "", "object is wanted");
	refuse("{}", "type", "is missing");
	refuse("{\"type\":7,\"generation\":1}", "type", "not a text");
	refuse("{\"type\":\"patch\",\"generation\":1}", "type", "neither snapshot nor delta");
	refuse("{\"type\":\"snapshot\",\"epoch\":\"e\",\"self\":{}}", "generation", "is missing");
	refuse("{\"type\":\"snapshot\",\"epoch\":\"e\",\"self\":{},\"generation\":0}", "generation",
	       "out of range");
	refuse("{\"type\":\"snapshot\",\"epoch\":\"e\",\"self\":{},\"generation\":1.5}",
	       "generation", "whole number");
	refuse("{\"type\":\"snapshot\",\"generation\":1,\"self\":{}}", "epoch", "is missing");
	refuse("{\"type\":\"snapshot\",\"generation\":1,\"epoch\":\"e\"}", "self", "is missing");
	refuse("{\"type\":\"snapshot\",\"generation\":1,\"self\":{},\"epoch\":"
	       "\"0123456789012345678901234567890123456789\"}",
	       "epoch", "39 at most");
}

static void test_bad_self(void **state)
{
	(void)state;
#define REFUSE_SELF(self, field, part) refuse(SNAPSHOT(self, ""), field, part)
	REFUSE_SELF("[]", "", "object is wanted");
	REFUSE_SELF("{\"id\":1,\"name\":\"a\"}", "self", "either subnet");
	REFUSE_SELF("{\"id\":1,\"name\":\"a\",\"subnet\":\"10.1.0.0/24\",\"pool\":\"10.0.0.0/8\"}",
		    "self", "either subnet");
	REFUSE_SELF("{\"id\":0,\"name\":\"a\",\"subnet\":\"10.1.0.0/24\"}", "id", "out of range");
	REFUSE_SELF("{\"id\":1,\"name\":\"a/b\",\"subnet\":\"10.1.0.0/24\"}", "name", "not a name");
	REFUSE_SELF("{\"id\":1,\"name\":\"a\",\"subnet\":\"10.1.0.0/16\"}", "subnet", "not a /24");
	REFUSE_SELF("{\"id\":1,\"name\":\"a\",\"subnet\":\"10.1.0.1/24\"}", "subnet", "host bits");
	REFUSE_SELF("{\"id\":1,\"name\":\"a\",\"subnet\":\"10.1.0/24\"}", "subnet",
		    "not an IPv4 address");
	REFUSE_SELF("{\"id\":1,\"name\":\"a\",\"pool\":\"10.0.0.0/8\"}", "self", "needs index");
	REFUSE_SELF("{\"id\":1,\"name\":\"a\",\"pool\":\"10.0.0.0/8\",\"index\":100,"
		    "\"address\":\"192.0.2.1\",\"wg_port\":1}",
		    "index", "is the Agent's");
	REFUSE_SELF("{\"id\":1,\"name\":\"a\",\"pool\":\"10.0.0.0/8\",\"index\":255,"
		    "\"address\":\"192.0.2.1\",\"wg_port\":1}",
		    "index", "out of range");
	REFUSE_SELF("{\"id\":1,\"name\":\"a\",\"pool\":\"10.0.0.0/8\",\"index\":1,"
		    "\"address\":\"192.0.2.300\",\"wg_port\":1}",
		    "address", "not an IP address");
}

static void test_bad_objects(void **state)
{
	(void)state;
#define REFUSE_AGENTS(agents, field, part)                                                         \
	refuse(SNAPSHOT(GATEWAY_SELF, ",\"agents\":" agents), field, part)
	REFUSE_AGENTS("{}", "agents", "not a list");
	REFUSE_AGENTS("null", "agents", "not a list");
	REFUSE_AGENTS("[7]", "", "agents[0]: a JSON object is wanted");
	REFUSE_AGENTS("[" AGENT1 "," AGENT1 "]", "agents", "id 3 is there twice");
	REFUSE_AGENTS("[" AGENT1 ",{\"id\":4,\"name\":\"x\"}]", "subnet", "agents[1]: subnet");
	REFUSE_AGENTS(
		"[{\"id\":4,\"name\":\"x\",\"subnet\":\"10.9.0.0/24\",\"public_key\":\"abc\"}]",
		"public_key", "agents[0]: public_key: \"abc\" is not a WireGuard key");
#define REFUSE_SERVICE(fields, field, part)                                                        \
	refuse(SNAPSHOT(GATEWAY_SELF, ",\"agents\":[" AGENT1 "],\"services\":[{" fields "}]"),     \
	       field, part)
#define BASE "\"id\":1,\"name\":\"s\",\"protocol\":\"tcp\""
	REFUSE_SERVICE(BASE ",\"port\":70000,\"agent_port\":1,\"agent\":3", "port",
		       "services[0]: port: 70000 is out of range (1 to 65535)");
	REFUSE_SERVICE(BASE ",\"port\":0,\"agent_port\":1,\"agent\":3", "port", "out of range");
	REFUSE_SERVICE(BASE ",\"port\":\"80\",\"agent_port\":1,\"agent\":3", "port",
		       "whole number");
	REFUSE_SERVICE(BASE ",\"port\":80,\"agent\":3", "agent_port", "is missing");
	REFUSE_SERVICE(BASE ",\"port\":80,\"agent_port\":80", "agent", "is missing");
	REFUSE_SERVICE(BASE ",\"port\":80,\"agent_port\":80,\"agent\":4", "agent", "no Agent");
	REFUSE_SERVICE("\"id\":1,\"name\":\"s\",\"protocol\":\"sctp\",\"port\":1,\"agent_port\":1",
		       "protocol", "neither tcp nor udp");
	REFUSE_SERVICE(BASE ",\"port\":80,\"agent_port\":80,\"agent\":3,\"proxy_protocol\":1",
		       "proxy_protocol", "true or false");
}

static void test_bad_agent_objects(void **state)
{
	(void)state;
	refuse(AGENT_SNAPSHOT("gw.example:51820", "h:80"), "endpoint", "not an IP address");
	refuse(AGENT_SNAPSHOT("198.51.100.1", "h:80"), "endpoint", "HOST:PORT");
	refuse(AGENT_SNAPSHOT("198.51.100.1:0", "h:80"), "endpoint", "out of range");
	refuse(AGENT_SNAPSHOT("198.51.100.1:1", "h"), "target", "HOST:PORT");
	refuse(AGENT_SNAPSHOT("198.51.100.1:1", "h:99999"), "target", "out of range");
	refuse(SNAPSHOT(AGENT_SELF, ",\"services\":[{\"id\":1,\"name\":\"s\",\"protocol\":\"tcp\","
				    "\"port\":1,\"agent_port\":1}]"),
	       "target", "service s: target: is missing");
}

static void test_too_many(void **state)
{
	static const struct kk_config none;
	KK_CLEANUP_JSON json_t *msg =
		kk_json_parse(SNAPSHOT(AGENT_SELF, ""), strlen(SNAPSHOT(AGENT_SELF, "")), NULL);
	struct kk_config out = {0};
	struct kk_err err = {0};
	json_t *list = json_array();

	(void)state;
	for (int i = 1; i <= 254; i++)
		json_array_append_new(list, json_pack("{s:i, s:s, s:i, s:s}", "id", i, "name", "g",
						      "index", 1, "endpoint", "192.0.2.1:1"));
	json_object_set_new(msg, "gateways", list);
	assert_int_equal(kk_config_next(&none, msg, &out, &err), -EINVAL);
	assert_err(&err, "gateways", "254 are too many");
	json_array_remove(list, 0);
	kk_err_reset(&err);
	assert_int_equal(kk_config_next(&none, msg, &out, &err), 0);
	assert_int_equal(out.n_gateways, 253);
	kk_config_clean(&out);
}

static void test_copy(void **state)
{
	KK_CLEANUP(kk_config_clean) struct kk_config one = {0}, two = {0};

	(void)state;
	snapshot(&one);
	assert_int_equal(kk_config_copy(&one, &two), 0);
	assert_ptr_not_equal(one.agents, two.agents);
	assert_memory_equal(one.agents, two.agents, one.n_agents * sizeof(*one.agents));
	assert_memory_equal(one.services, two.services, one.n_services * sizeof(*one.services));
	kk_config_clean(&one);
	assert_null(one.agents);
	assert_int_equal(one.n_agents, 0);
	assert_non_null(kk_config_agent(&two, 3));
}

static void check_order(const int64_t *ids, size_t n, size_t size)
{
	for (size_t i = 1; i < n; i++)
		assert_true(ids[(i - 1) * size / sizeof(*ids)] < ids[i * size / sizeof(*ids)]);
}

/* What a daemon relies on, whatever the message was. */
static void check_config(const struct kk_config *config)
{
	assert_true(config->generation > 0 && config->epoch[0]);
	check_order(&config->agents->id, config->n_agents, sizeof(*config->agents));
	check_order(&config->services->id, config->n_services, sizeof(*config->services));
	for (size_t i = 0; i < config->n_services; i++) {
		const struct kk_service *s = &config->services[i];

		assert_true(s->port && s->agent_port);
		assert_int_equal(kk_parse_name("name", s->name, NULL), 0);
		if (config->self.subnet.len)
			assert_true(s->target[0]);
		else
			assert_non_null(kk_config_agent(config, s->agents[0]));
	}
}

/* Damaged messages are refused or make a sound configuration; the sanitized build sees the rest. */
static void damage(const struct kk_config *old, const char *text, int *taken)
{
	char copy[2048];
	size_t len = strlen(text);

	assert_true(len < sizeof(copy));
	for (int round = 0; round < 4000; round++) {
		KK_CLEANUP(kk_config_clean) struct kk_config config = {0};
		KK_CLEANUP_JSON json_t *msg = NULL;

		memcpy(copy, text, len);
		for (int i = rand() % 4; i >= 0; i--)
			copy[(size_t)rand() % len] = "0123456789\"{}[]:,.-eat/=u"[rand() % 26];
		msg = kk_json_parse(copy, len, NULL);
		if (!msg || kk_config_next(old, msg, &config, NULL) < 0)
			continue;
		check_config(&config);
		(*taken)++;
	}
}

static void test_damaged(void **state)
{
	KK_CLEANUP(kk_config_clean) struct kk_config one = {0};
	int taken = 0;

	(void)state;
	srand(1);
	snapshot(&one);
	damage(&one, SNAPSHOT(GATEWAY_SELF, LISTS), &taken);
	damage(&one, AGENT_SNAPSHOT("198.51.100.1:51820", "nas.lan:80"), &taken);
	damage(&one,
	       DELTA(4, 6,
		     ",\"put\":{\"services\":[" SSH "],\"agents\":[" AGENT1 "]},"
		     "\"remove\":{\"services\":[5,99],\"agents\":[2]}"),
	       &taken);
	/* Some damage is harmless: otherwise this test looked at nothing. */
	assert_in_range(taken, 100, 11000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gateway_snapshot),
		cmocka_unit_test(test_agent_snapshot),
		cmocka_unit_test(test_delta),
		cmocka_unit_test(test_delta_reuses_id),
		cmocka_unit_test(test_delta_self),
		cmocka_unit_test(test_stale),
		cmocka_unit_test(test_bad_delta),
		cmocka_unit_test(test_bad_message),
		cmocka_unit_test(test_bad_self),
		cmocka_unit_test(test_bad_objects),
		cmocka_unit_test(test_bad_agent_objects),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
