// SPDX-License-Identifier: MIT
/* The opening handshake of a WebSocket (RFC 6455 section 4.2), and handing the connection over. */
#include "httpd/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include <openssl/evp.h>

#include "util/cleanup.h"
#include "util/encode.h"

#define WEBSOCKET_GUID	  "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define WEBSOCKET_KEY_LEN 24 /* 16 bytes in base64 */
#define SHA1_LEN	  20

/* Whether the comma-separated list @text has @token in it, in any case. */
static bool has_token(const char *text, const char *token)
{
	size_t len = strlen(token);

	while (text && *text) {
		size_t n;

		text += strspn(text, ", \t");
		n = strcspn(text, ", \t");
		if (n == len && strncasecmp(text, token, len) == 0)
			return true;
		text += n;
	}
	return false;
}

static bool good_key(const char *key)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	return key && strlen(key) == WEBSOCKET_KEY_LEN &&
	       strspn(key, digits) == WEBSOCKET_KEY_LEN - 2 &&
	       strcmp(key + WEBSOCKET_KEY_LEN - 2, "==") == 0;
}

static int accept_value(const char *key, char out[KK_BASE64_LEN(SHA1_LEN) + 1])
{
	char text[WEBSOCKET_KEY_LEN + sizeof(WEBSOCKET_GUID)];
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int len;

	memcpy(text, key, WEBSOCKET_KEY_LEN);
	memcpy(text + WEBSOCKET_KEY_LEN, WEBSOCKET_GUID, sizeof(WEBSOCKET_GUID));
	if (EVP_Digest(text, strlen(text), digest, &len, EVP_sha1(), NULL) != 1)
		return -ENOMEM;
	kk_base64(digest, len, out);
	return 0;
}

static void leave_mhd(struct kk_httpd_upgrade *upgrade)
{
	if (upgrade->handle)
		MHD_upgrade_action(upgrade->handle, MHD_UPGRADE_ACTION_CLOSE);
	upgrade->handle = NULL;
	kk_httpd_kick(upgrade->httpd);
}

/* Behind TLS, neither libmicrohttpd nor the socket pair has anything to do any more. */
static int take_over(struct kk_httpd_upgrade *upgrade, struct kk_tls_session *session)
{
	int fd;

	if (!upgrade->httpd->tls)
		return 0;
	fd = session ? kk_tls_detach(session) : -EIO;
	if (fd < 0)
		return fd;
	upgrade->session = session;
	upgrade->fd = fd;
	leave_mhd(upgrade);
	return 0;
}

static void on_upgraded(void *cls, struct MHD_Connection *mhd, void *slot, const char *extra,
			size_t extra_len, MHD_socket fd, struct MHD_UpgradeResponseHandle *handle)
{
	struct kk_httpd_upgrade *upgrade = cls;
	struct kk_httpd_request *req = slot;
	struct kk_httpd_guest *guest = req->connection->guest;

	(void)mhd;
	(void)extra;
	upgrade->handle = handle;
	upgrade->fd = fd;
	LIST_INSERT_HEAD(&upgrade->httpd->upgrades, upgrade, link);
	req->upgrade = NULL;
	kk_httpd_clear_deadline(req->connection);
	/* A client has to wait for our answer before it sends frames (section 4.1). */
	if (extra_len || take_over(upgrade, guest->session) < 0) {
		upgrade->opened(NULL, -1, upgrade->userdata);
		kk_httpd_upgrade_close(upgrade);
		return;
	}
	kk_httpd_guest_settle(guest);
	upgrade->opened(upgrade, upgrade->fd, upgrade->userdata);
}

void kk_httpd_upgrade_failed(struct kk_httpd_upgrade *upgrade)
{
	upgrade->opened(NULL, -1, upgrade->userdata);
	free(upgrade);
}

static struct MHD_Response *switching_protocols(struct kk_httpd_upgrade *upgrade, const char *key)
{
	char value[KK_BASE64_LEN(SHA1_LEN) + 1];
	struct MHD_Response *response;

	if (accept_value(key, value) < 0)
		return NULL;
	response = MHD_create_response_for_upgrade(on_upgraded, upgrade);
	if (!response)
		return NULL;
	if (MHD_add_response_header(response, MHD_HTTP_HEADER_UPGRADE, "websocket") == MHD_YES &&
	    MHD_add_response_header(response, "Sec-WebSocket-Accept", value) == MHD_YES)
		return response;
	MHD_destroy_response(response);
	return NULL;
}

int kk_httpd_upgrade(struct kk_httpd_request *req,
		     void (*opened)(struct kk_httpd_upgrade *connection, int fd, void *userdata),
		     void *userdata)
{
	const char *version = kk_httpd_header(req, "Sec-WebSocket-Version");
	const char *key = kk_httpd_header(req, "Sec-WebSocket-Key");
	struct kk_httpd_upgrade *upgrade;
	struct MHD_Response *response;

	if (strcmp(kk_httpd_method(req), "GET") != 0 ||
	    !has_token(kk_httpd_header(req, "Upgrade"), "websocket") ||
	    !has_token(kk_httpd_header(req, "Connection"), "upgrade") || !good_key(key)) {
		kk_httpd_refuse(req, MHD_HTTP_BAD_REQUEST);
		return -EINVAL;
	}
	if (!version || strcmp(version, "13") != 0) {
		kk_httpd_add_header(req, "Sec-WebSocket-Version", "13");
		kk_httpd_refuse(req, MHD_HTTP_UPGRADE_REQUIRED);
		return -EINVAL;
	}
	upgrade = calloc(1, sizeof(*upgrade));
	response = upgrade ? switching_protocols(upgrade, key) : NULL;
	if (!response) {
		free(upgrade);
		kk_httpd_respond(req, 0, NULL);
		return -ENOMEM;
	}
	upgrade->httpd = req->httpd;
	upgrade->opened = opened;
	upgrade->userdata = userdata;
	req->upgrade = upgrade;
	kk_httpd_respond(req, MHD_HTTP_SWITCHING_PROTOCOLS, response);
	return 0;
}

ssize_t kk_httpd_upgrade_recv(struct kk_httpd_upgrade *upgrade, void *buf, size_t len)
{
	ssize_t n;

	if (upgrade->session)
		return kk_tls_recv(upgrade->session, buf, len);
	n = recv(upgrade->fd, buf, len, MSG_DONTWAIT);
	return n < 0 ? -errno : n;
}

ssize_t kk_httpd_upgrade_send(struct kk_httpd_upgrade *upgrade, const void *buf, size_t len)
{
	ssize_t n;

	if (upgrade->session)
		return kk_tls_send(upgrade->session, buf, len);
	n = send(upgrade->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

void kk_httpd_upgrade_close(struct kk_httpd_upgrade *upgrade)
{
	if (!upgrade)
		return;
	if (upgrade->session)
		kk_tls_close(upgrade->session);
	leave_mhd(upgrade);
	LIST_REMOVE(upgrade, link);
	free(upgrade);
}
