// SPDX-License-Identifier: MIT
/* Calls to Control's REST API and joining by it, against a Control that follows a script. */
#include "kk_test.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "http/client.h"
#include "link/link.h"
#include "link/upgrade.h"
#include "proto/token.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/json.h"
#include "tls_server.h"

#define OTHER_PIN "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
#define SECRET	  "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"

static void one_call(struct server *s)
{
	char request[4096];

	server_check(server_accept(s));
	server_request(s, request, sizeof(request));
	server_check(strncmp(request, "POST /api/v1/gateways?wait=3 HTTP/1.1\r\n", 39) == 0);
	server_check(strstr(request, "\r\nAuthorization: Bearer kka_k\r\n"));
	server_check(strstr(request, "\r\nContent-Type: application/json\r\n"));
	server_check(strstr(request, "\r\n\r\n{\"name\":\"gw1\"}"));
	server_answer(s, "201 Created", "{\"name\":\"gw1\"}");
	server_hang_up(s);
}

static void test_call(void **state)
{
	KK_CLEANUP_JSON json_t *body = json_pack("{s:s}", "name", "gw1"), *answer = NULL;
	struct kk_err err = {0};
	struct server s;

	(void)state;
	server_start(&s, one_call);
	assert_int_equal(kk_http_call(&(struct kk_http_server){s.url, s.pin, "kka_k"}, "POST",
				      "/api/v1/gateways?wait=3", body, &answer, &err),
			 201);
	assert_string_equal(json_string_value(json_object_get(answer, "name")), "gw1");
	assert_int_equal(server_wait(&s), 0);
}

static void odd_answers(struct server *s)
{
	char request[4096];

	for (int i = 0; i < 3; i++) {
		server_check(server_accept(s));
		server_request(s, request, sizeof(request));
		if (i == 0)
			server_answer(s, "204 No Content", "");
		else if (i == 1)
			server_answer(s, "502 Bad Gateway", "<html>");
		server_hang_up(s);
	}
}

static void test_odd_answers(void **state)
{
	struct kk_err err = {0};
	json_t *answer = NULL;
	struct server s;

	(void)state;
	server_start(&s, odd_answers);
	struct kk_http_server control = {s.url, s.pin, NULL};

	assert_int_equal(kk_http_call(&control, "DELETE", "/x", NULL, &answer, &err), 204);
	assert_null(answer);
	assert_int_equal(kk_http_call(&control, "GET", "/x", NULL, &answer, &err), 502);
	assert_null(answer);
	assert_int_equal(kk_http_error(502, answer, &err), -EIO);
	assert_err(&err, "", "HTTP status 502");
	kk_err_reset(&err);
	assert_int_equal(kk_http_call(&control, "GET", "/x", NULL, &answer, &err), -ECONNRESET);
	assert_err(&err, "", s.url);
	assert_int_equal(server_wait(&s), 0);
	kk_err_reset(&err);
	assert_int_equal(kk_http_call(&control, "GET", "/x", NULL, &answer, &err), -ECONNREFUSED);
	assert_err(&err, "", "nothing answers there");
}

static void never_spoken_to(struct server *s)
{
	char byte;

	if (server_accept(s))
		server_check(SSL_read(s->line, &byte, 1) <= 0);
}

static void test_pin(void **state)
{
	struct kk_err err = {0};
	json_t *answer = NULL;
	struct server s;

	(void)state;
	server_start(&s, never_spoken_to);
	assert_int_equal(kk_http_call(&(struct kk_http_server){s.url, OTHER_PIN, "kka_k"}, "GET",
				      "/", NULL, &answer, &err),
			 -EBADE);
	assert_err(&err, "", "has another key than the pinned one");
	assert_int_equal(server_wait(&s), 0);
	/* No pin must never mean no check. */
	kk_err_reset(&err);
	assert_int_equal(kk_http_call(&(struct kk_http_server){s.url, "", NULL}, "GET", "/", NULL,
				      &answer, &err),
			 -EINVAL);
	assert_err(&err, "pin", "is not the SHA-256");
	kk_err_reset(&err);
	assert_int_equal(kk_http_call(&(struct kk_http_server){"http://127.0.0.1:1", s.pin, NULL},
				      "GET", "/", NULL, &answer, &err),
			 -EINVAL);
	assert_err(&err, "url", "does not begin with https://");
}

static void test_error(void **state)
{
	KK_CLEANUP_JSON json_t *answer =
		json_pack("{s:{s:s, s:s, s:s}}", "error", "code", "conflict", "message",
			  "port: 22 is taken", "field", "port");
	struct kk_err err = {0};

	(void)state;
	assert_int_equal(kk_http_error(409, answer, &err), -EEXIST);
	assert_err(&err, "port", "port: 22 is taken");
	assert_int_equal(kk_http_error(401, answer, NULL), -EACCES);
	assert_int_equal(kk_http_error(404, answer, NULL), -ENOENT);
	assert_int_equal(kk_http_error(413, answer, NULL), -EMSGSIZE);
	assert_int_equal(kk_http_error(400, answer, NULL), -EINVAL);
}

/* ---- joining ---- */

static char dir[64];

static int make_dir(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/kk-test-client-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/state/node.json", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/state", dir);
	rmdir(path);
	return rmdir(dir);
}

static void joined(struct server *s)
{
	char request[4096];

	server_check(server_accept(s));
	server_request(s, request, sizeof(request));
	server_check(strncmp(request, "POST /api/v1/join HTTP/1.1\r\n", 28) == 0);
	server_check(!strstr(request, "Authorization"));
	server_check(strstr(request, "\"secret\":\"" SECRET "\""));
	server_check(strstr(request, "\"version\":\"" KK_VERSION "\""));
	server_answer(s, "200 OK",
		      "{\"role\":\"gateway\",\"id\":1,\"name\":\"gw1\",\"key\":\"kkn_1\","
		      "\"epoch\":\"e\"}");
	server_hang_up(s);
}

static void refused(struct server *s)
{
	char request[4096];

	server_check(server_accept(s));
	server_request(s, request, sizeof(request));
	server_answer(s, "401 Unauthorized",
		      "{\"error\":{\"code\":\"unauthorized\",\"field\":\"token\","
		      "\"message\":\"token: the join token was used already\"}}");
	server_hang_up(s);
}

static char *token_for(const struct server *s)
{
	struct kk_token token = {.secret = SECRET, .role = "gateway", .node = "gw1"};

	strcpy(token.url, s->url);
	strcpy(token.pin, s->pin);
	return kk_token_format(&token);
}

static void test_join(void **state)
{
	KK_CLEANUP_FREE char *token = NULL;
	struct kk_identity identity, loaded;
	struct kk_err err = {0};
	struct server s;
	struct stat st;
	char path[96];

	(void)state;
	snprintf(path, sizeof(path), "%s/state", dir);
	assert_int_equal(kk_link_load(path, "gateway", &loaded, &err), -ENOENT);
	assert_err(&err, "state", "has not joined yet");

	server_start(&s, joined);
	token = token_for(&s);
	/* a token for the other role is not spent */
	kk_err_reset(&err);
	assert_int_equal(kk_link_join(path, "agent", token, false, &identity, &err), -EINVAL);
	assert_err(&err, "token", "is for a gateway (gw1), not for an Agent");
	kk_err_reset(&err);
	assert_int_equal(kk_link_join(path, "gateway", token, false, &identity, &err), 0);
	assert_int_equal(server_wait(&s), 0);
	assert_string_equal(identity.key, "kkn_1");
	assert_string_equal(identity.url, s.url);

	assert_int_equal(kk_link_load(path, "gateway", &loaded, &err), 0);
	assert_memory_equal(&loaded, &identity, sizeof(identity));
	assert_int_equal(kk_link_load(path, "agent", &loaded, &err), -EINVAL);
	assert_err(&err, "state", "is of a gateway, not of an Agent");
	/* again only by force; nobody listens, so a call would have another error */
	kk_err_reset(&err);
	assert_int_equal(kk_link_join(path, "gateway", token, false, &identity, &err), -EEXIST);
	assert_err(&err, "state", "joined already, as gateway gw1");
	kk_err_reset(&err);
	assert_int_equal(kk_link_join(path, "gateway", token, true, &identity, &err),
			 -ECONNREFUSED);
	snprintf(path, sizeof(path), "%s/state/node.json", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void test_join_refused(void **state)
{
	KK_CLEANUP_FREE char *token = NULL;
	struct kk_identity identity;
	struct kk_err err = {0};
	struct server s;
	char path[96];

	(void)state;
	snprintf(path, sizeof(path), "%s/state", dir);
	server_start(&s, refused);
	token = token_for(&s);
	assert_int_equal(kk_link_join(path, "gateway", token, false, &identity, &err), -EACCES);
	assert_err(&err, "token", "was used already");
	assert_int_equal(server_wait(&s), 0);
	assert_int_equal(kk_link_load(path, "gateway", &identity, NULL), -ENOENT);
	/* a state directory that cannot be, found out before the token is spent */
	kk_err_reset(&err);
	assert_true(kk_link_join("/dev/null/x", "gateway", token, false, &identity, &err) < 0);
	assert_err(&err, "state", "/dev/null/x");
}

static void bad_file(const char *text, const char *part)
{
	struct kk_identity identity;
	struct kk_err err = {0};
	char path[96];

	snprintf(path, sizeof(path), "%s/state", dir);
	assert_int_equal(kk_mkdir_p(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/state/node.json", dir);
	assert_int_equal(kk_file_write(path, text, strlen(text), 0600), 0);
	snprintf(path, sizeof(path), "%s/state", dir);
	assert_int_equal(kk_link_load(path, "gateway", &identity, &err), -EINVAL);
	assert_err(&err, "state", part);
}

static void test_bad_file(void **state)
{
	(void)state;
	bad_file("", "is damaged: not JSON");
	bad_file("{\"url\":\"https://h:1\"", "is damaged: not JSON");
	bad_file("[]", "object is wanted");
	bad_file("{\"url\":\"https://h:1\",\"pin\":\"p\",\"role\":\"gateway\",\"name\":\"a\"}",
		 "key: is missing");
	bad_file("{\"url\":7}", "url: 7 is not a text");
}

/* ---- the opening handshake, as texts ---- */

#define NONCE  "dGhlIHNhbXBsZSBub25jZQ==" /* and its accept: RFC 6455 section 1.3 */
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define OK     "HTTP/1.1 101 Switching Protocols\r\n"
#define UP     "Upgrade: websocket\r\n"
#define CO     "Connection: Upgrade\r\n"
#define AC     "Sec-WebSocket-Accept: " ACCEPT "\r\n"

static void test_upgrade_answer(void **state)
{
	(void)state;
	assert_int_equal(kk_upgrade_answer(OK UP CO AC "\r\n", NONCE), 101);
	assert_int_equal(kk_upgrade_answer(OK AC "connection:close,\tupgrade \r\n"
						 "UPGRADE:WebSocket\r\n\r\n",
					   NONCE),
			 101);
	assert_int_equal(kk_upgrade_answer("HTTP/1.1 401 Unauthorized\r\n\r\n", NONCE), 401);
	assert_int_equal(kk_upgrade_answer(OK CO AC "\r\n", NONCE), -EPROTO);
	assert_int_equal(kk_upgrade_answer(OK UP AC "\r\n", NONCE), -EPROTO);
	assert_int_equal(kk_upgrade_answer(OK UP CO "\r\n", NONCE), -EPROTO);
	assert_int_equal(kk_upgrade_answer(OK UP "Connection: Upgraded\r\n" AC "\r\n", NONCE),
			 -EPROTO);
	assert_int_equal(kk_upgrade_answer(OK UP CO AC "\r\n", "AAAAAAAAAAAAAAAAAAAAAA=="),
			 -EPROTO);
	assert_int_equal(
		kk_upgrade_answer(OK UP CO "Sec-WebSocket-Accept: " ACCEPT "x\r\n\r\n", NONCE),
		-EPROTO);
	assert_int_equal(kk_upgrade_answer("HTTP/1.0 101 x\r\n\r\n", NONCE), -EPROTO);
	assert_int_equal(kk_upgrade_answer("HTTP/1.1 99 x\r\n\r\n", NONCE), -EPROTO);
	assert_int_equal(kk_upgrade_answer("HTTP/1.1 1010 x\r\n\r\n", NONCE), -EPROTO);
	assert_int_equal(kk_upgrade_answer("\r\n\r\n", NONCE), -EPROTO);
}

static void test_upgrade_request(void **state)
{
	char a[KK_UPGRADE_NONCE_LEN + 1], b[KK_UPGRADE_NONCE_LEN + 1], text[512];

	(void)state;
	assert_int_equal(kk_upgrade_nonce(a), 0);
	assert_int_equal(kk_upgrade_nonce(b), 0);
	assert_int_equal(strlen(a), KK_UPGRADE_NONCE_LEN);
	assert_string_not_equal(a, b);
	assert_int_equal(kk_upgrade_request("h:1", "/p", "k", a, text, 64), -E2BIG);
	assert_true(kk_upgrade_request("h:1", "/p", "k", a, text, sizeof(text)) > 0);
	assert_non_null(strstr(text, "GET /p HTTP/1.1\r\nHost: h:1\r\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_call),
		cmocka_unit_test(test_odd_answers),
		cmocka_unit_test(test_pin),
		cmocka_unit_test(test_error),
		cmocka_unit_test_setup_teardown(test_join, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_join_refused, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_bad_file, make_dir, remove_dir),
		cmocka_unit_test(test_upgrade_answer),
		cmocka_unit_test(test_upgrade_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
