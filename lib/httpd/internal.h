/* SPDX-License-Identifier: MIT */
/* What the files of lib/httpd share. */
#ifndef KK_HTTPD_INTERNAL_H
#define KK_HTTPD_INTERNAL_H

#include <sys/queue.h>

#include <microhttpd.h>

#include "httpd/httpd.h"

struct kk_tls;
struct kk_tls_session;

/* limits.c: whoever connected, until the connection ends. */
struct kk_httpd_guest {
	struct kk_httpd *httpd;
	int fd;
	struct kk_tls_session *session; /* NULL: plain HTTP, or gone */
	unsigned int refs;		/* the connection's, and libmicrohttpd's part of it */
	bool pending;			/* no WebSocket yet, and counted */
	struct kk_httpd_address *address;
	TAILQ_ENTRY(kk_httpd_guest) link; /* of those that are pending, the oldest first */
};

/* What is known of an address. */
struct kk_httpd_address {
	struct in_addr addr;
	unsigned int pending;
	uint64_t
		busy_until; /* when its share will be untouched again, CLOCK_MONOTONIC microseconds */
	LIST_ENTRY(kk_httpd_address) link;
};

#define KK_HTTPD_IDLE_TIME_S 15u /* without a byte, before a connection is closed */
#define KK_HTTPD_BUCKETS     4096

struct kk_httpd_limits {
	LIST_HEAD(, kk_httpd_address) buckets[KK_HTTPD_BUCKETS];
	TAILQ_HEAD(, kk_httpd_guest) pending;
	unsigned int n_pending;
};

/* A connection as libmicrohttpd sees it: a TCP socket, or our end of a pair with a TLS session behind. */
struct kk_httpd_connection {
	struct kk_httpd *httpd;
	struct kk_httpd_guest *guest;
	int fd;
	bool timed; /* in the list of those that must finish something by a time */
	uint64_t deadline;
	TAILQ_ENTRY(kk_httpd_connection) link;
};

struct kk_httpd_upgrade {
	struct kk_httpd *httpd;
	struct MHD_UpgradeResponseHandle *handle; /* NULL where libmicrohttpd is out of it */
	struct kk_tls_session *session;		  /* NULL: plain HTTP */
	int fd;
	void (*opened)(struct kk_httpd_upgrade *connection, int fd, void *userdata);
	void *userdata;
	LIST_ENTRY(kk_httpd_upgrade) link;
};

struct kk_httpd_header_entry {
	char *name, *value;
	SLIST_ENTRY(kk_httpd_header_entry) link;
};

struct kk_httpd_request {
	struct kk_httpd *httpd;
	struct MHD_Connection *mhd;
	struct kk_httpd_connection *connection;
	char *method, *path;
	char *body;
	size_t body_len, body_size, body_seen, body_max;
	char peer[INET_ADDRSTRLEN];
	SLIST_HEAD(, kk_httpd_header_entry) headers; /* of the answer to come */
	enum {
		READING,
		HANDLING, /* @handle is on the stack */
		KEPT,	  /* suspended until it is answered */
		ANSWERED,
		GONE,
	} state;
	bool suspended;
	bool patient; /* the connection has its time limit for answers, not for requests */
	sd_event_source *watch;		  /* notices that the peer of a kept request leaves */
	struct kk_httpd_upgrade *upgrade; /* answered with, not yet opened */
	struct MHD_Response *response;	  /* to be queued once libmicrohttpd has resumed */
	unsigned int status;
	void *data;
	LIST_ENTRY(kk_httpd_request) link;
};

struct kk_httpd {
	sd_event *event;
	struct kk_httpd_config config;
	struct MHD_Daemon *mhd;
	struct kk_tls *tls; /* NULL: plain HTTP */
	int listen_fd;
	uint16_t port;
	unsigned int n_connections;
	struct kk_httpd_guest *adding; /* whose connection libmicrohttpd is being given */
	struct kk_httpd_limits limits;
	sd_event_source *listen, *epoll, *timer, *kick, *deadlines, *accept_again;
	TAILQ_HEAD(, kk_httpd_connection) timed;
	LIST_HEAD(, kk_httpd_request) requests;
	LIST_HEAD(, kk_httpd_upgrade) upgrades;
};

/* httpd.c */
void kk_httpd_kick(struct kk_httpd *httpd); /* runs libmicrohttpd in the next turn of the loop */
int kk_httpd_add_connection(struct kk_httpd *httpd, int fd, struct kk_httpd_guest *guest,
			    const struct sockaddr_in *peer);
void kk_httpd_connection_left(struct kk_httpd_guest *guest); /* is over; @guest is put */
void kk_httpd_set_deadline(struct kk_httpd_connection *connection);
void kk_httpd_clear_deadline(struct kk_httpd_connection *connection);

/* limits.c */
void kk_httpd_limits_init(struct kk_httpd *httpd);
void kk_httpd_limits_clean(struct kk_httpd *httpd);
/* Who connected from @peer by @fd, or NULL where he may not (or for want of memory). */
struct kk_httpd_guest *kk_httpd_guest_new(struct kk_httpd *httpd, int fd,
					  const struct sockaddr_in *peer);
void kk_httpd_guest_put(struct kk_httpd_guest *guest);
/* Is no stranger any more. */
void kk_httpd_guest_settle(struct kk_httpd_guest *guest);
/* Whether the guest's address may have another request now. */
bool kk_httpd_guest_may(struct kk_httpd_guest *guest);

/* request.c */
enum MHD_Result kk_httpd_on_request(void *cls, struct MHD_Connection *mhd, const char *url,
				    const char *method, const char *version, const char *data,
				    size_t *data_len, void **req);
void kk_httpd_on_completed(void *cls, struct MHD_Connection *mhd, void **req,
			   enum MHD_RequestTerminationCode code);
/* Ends a kept request without an answer. */
void kk_httpd_request_gone(struct kk_httpd_request *req);
void kk_httpd_respond(struct kk_httpd_request *req, unsigned int status,
		      struct MHD_Response *response);
void kk_httpd_refuse(struct kk_httpd_request *req, unsigned int status);

/* upgrade.c: the connection broke before it could be handed over */
void kk_httpd_upgrade_failed(struct kk_httpd_upgrade *upgrade);

/* tls.c: ends TLS in front of libmicrohttpd */
int kk_tls_new(struct kk_httpd *httpd, const char *cert, const char *key, struct kk_tls **ret,
	       struct kk_err *err);
void kk_tls_free(struct kk_tls *tls);
/* Takes @fd over. */
int kk_tls_accept(struct kk_tls *tls, int fd, struct kk_httpd_guest *guest,
		  const struct sockaddr_in *peer);

/*
 * libmicrohttpd and the socket pair are done with: from now on the session's plain text is read and written with
 * the functions below, and its descriptor, which is returned, watched by the caller. -EIO where the session
 * cannot go on.
 */
int kk_tls_detach(struct kk_tls_session *session);
ssize_t kk_tls_recv(struct kk_tls_session *session, void *buf, size_t len);
ssize_t kk_tls_send(struct kk_tls_session *session, const void *buf, size_t len);
/* Says goodbye and ends the session. */
void kk_tls_close(struct kk_tls_session *session);

#endif
