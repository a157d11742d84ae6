// SPDX-License-Identifier: MIT
/* kkcontrold: who exists and what is published. It carries no user traffic and holds no private WireGuard key. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "controld/admin.h"
#include "controld/control.h"
#include "controld/expiry.h"
#include "controld/identity.h"
#include "controld/rest/rest.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/log.h"
#include "util/options.h"
#include "util/parse.h"

#define PROGRAM		 "kkcontrold"
#define POOL_LEN	 8
#define FDS_A_CONNECTION 3u /* the socket and both ends of a pair */
#define FDS_OTHER	 64u
/* What strangers get; see kk_httpd_config. */
#define PENDING_MAX	    8192
#define PENDING_PER_ADDRESS 512
#define RATE_PER_ADDRESS    500 /* unless --rate */
#define RATE_MAX	    1000000
/* Failed logins: at once, and then one for so many seconds. */
#define ACCOUNT_BURST  5
#define ACCOUNT_REFILL 30
#define ADDRESS_BURST  20
#define ADDRESS_REFILL 6

struct options {
	const char *state, *listen, *url, *pool, *tls_cert, *tls_key;
	int64_t rate;
	bool verbose, help, version;
};

static const struct kk_option option_table[] = {
	KK_OPTION("state", 0, "DIR", KK_OPTION_STRING, struct options, state,
		  "where the database, the TLS key and admin.json are "
		  "[/var/lib/kakuremichi/control]"),
	KK_OPTION("listen", 0, "ADDR:PORT", KK_OPTION_STRING, struct options, listen,
		  "where to serve HTTPS [0.0.0.0:8443]"),
	KK_OPTION("url", 0, "URL", KK_OPTION_STRING, struct options, url,
		  "https://HOST:PORT as nodes and kkctl reach it [https:// and the address of "
		  "--listen]"),
	KK_OPTION("pool", 0, "PREFIX", KK_OPTION_STRING, struct options, pool,
		  "the /8 that Agents get their subnets from [10.0.0.0/8]"),
	KK_OPTION("tls-cert", 0, "FILE", KK_OPTION_STRING, struct options, tls_cert,
		  "a certificate of your own, its chain behind it, in PEM; read again at SIGHUP "
		  "[one that is made at the first start]"),
	KK_OPTION("tls-key", 0, "FILE", KK_OPTION_STRING, struct options, tls_key,
		  "its private key in PEM; nodes know Control by this key"),
	KK_OPTION("rate", 0, "N", KK_OPTION_INT, struct options, rate,
		  "connections and requests that one address gets a second, 0 for any number [500]",
		  .max = RATE_MAX),
	KK_OPTION("verbose", 'v', NULL, KK_OPTION_FLAG, struct options, verbose,
		  "log what is done in detail"),
	KK_OPTION("help", 'h', NULL, KK_OPTION_FLAG, struct options, help, "print this"),
	KK_OPTION("version", 0, NULL, KK_OPTION_FLAG, struct options, version, "print the version"),
};

static void print_help(void)
{
	printf("usage: " PROGRAM " [OPTION]...\n\n"
	       "Serves Control's REST interface and the gateways' and Agents' connections.\n\n");
	kk_options_help(stdout, option_table, ARRAY_SIZE(option_table));
}

/* ---- what the options mean ---- */

struct settings {
	const char *state;
	struct sockaddr_in listen;
	struct kk_prefix4 pool;
	unsigned int rate;
	char url[256];
	const char *tls_cert, *tls_key;
};

/* The address that packets to anywhere would leave from. */
static struct in_addr own_address(void)
{
	struct sockaddr_in far = {.sin_family = AF_INET, .sin_port = htons(9)}, own = {0};
	socklen_t len = sizeof(own);
	KK_CLEANUP_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	/* Connecting a datagram socket sends nothing; 192.0.2.1 is of TEST-NET-1 (RFC 5737). */
	inet_pton(AF_INET, "192.0.2.1", &far.sin_addr);
	if (fd < 0 || connect(fd, (struct sockaddr *)&far, sizeof(far)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&own, &len) < 0)
		own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return own.sin_addr;
}

static int read_listen(const char *text, struct sockaddr_in *ret, struct kk_err *err)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	char host[64];
	uint16_t port;
	int r = kk_parse_hostport("listen", text, false, host, sizeof(host), &port, err);

	if (r == 0)
		r = kk_parse_ip4("listen", host, &addr.sin_addr, err);
	if (r < 0)
		return r;
	addr.sin_port = htons(port);
	*ret = addr;
	return 0;
}

static int read_url(const char *text, struct settings *s, struct kk_err *err)
{
	char host[200], addr[INET_ADDRSTRLEN];
	struct in_addr own = s->listen.sin_addr;
	uint16_t port;
	int r;

	if (text) {
		if (strncmp(text, "https://", 8) != 0 || strlen(text) >= sizeof(s->url) ||
		    strpbrk(text + 8, "/?#@"))
			return kk_err_set(err, EINVAL, "url",
					  "url: \"%s\" is not https://HOST:PORT", text);
		r = kk_parse_hostport("url", text + 8, false, host, sizeof(host), &port, err);
		if (r == 0)
			strcpy(s->url, text);
		return r;
	}
	if (own.s_addr == htonl(INADDR_ANY))
		own = own_address();
	inet_ntop(AF_INET, &own, addr, sizeof(addr));
	snprintf(s->url, sizeof(s->url), "https://%s:%u", addr, ntohs(s->listen.sin_port));
	return 0;
}

static int read_settings(const struct options *o, struct settings *s, struct kk_err *err)
{
	int r = read_listen(o->listen, &s->listen, err);

	if (r == 0)
		r = kk_parse_prefix4("pool", o->pool, &s->pool, err);
	if (r < 0)
		return r;
	if (s->pool.len != POOL_LEN)
		return kk_err_set(err, EINVAL, "pool", "pool: %s is not a /%d", o->pool, POOL_LEN);
	s->state = o->state;
	s->rate = (unsigned int)o->rate;
	s->tls_cert = o->tls_cert;
	s->tls_key = o->tls_key;
	if (!s->tls_cert != !s->tls_key)
		return kk_err_set(err, EINVAL, s->tls_cert ? "tls-key" : "tls-cert",
				  "%s is missing beside %s", s->tls_cert ? "tls-key:" : "tls-cert:",
				  s->tls_cert ? "--tls-cert" : "--tls-key");
	return read_url(o->url, s, err);
}

/* ---- the daemon ---- */

/* Two daemons on one database would each send nodes what the other does not know. */
static int lock_state(const char *dir, int *ret, struct kk_err *err)
{
	char path[PATH_MAX];
	int r = kk_mkdir_p(dir, 0700), fd;

	if (r < 0)
		return kk_err_set(err, -r, "state", "cannot make %s: %s", dir, strerror(-r));
	snprintf(path, sizeof(path), "%s/lock", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return kk_err_set(err, errno, "state", "cannot open %s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		kk_close(fd);
		return kk_err_set(err, EBUSY, "state", "another " PROGRAM " is running on %s", dir);
	}
	*ret = fd;
	return 0;
}

static unsigned int connections_max(void)
{
	struct rlimit limit = {.rlim_cur = 1024};

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
		getrlimit(RLIMIT_NOFILE, &limit);
	}
	if (limit.rlim_cur > 1u << 20)
		limit.rlim_cur = 1u << 20;
	return ((unsigned int)limit.rlim_cur - FDS_OTHER) / FDS_A_CONNECTION;
}

static int start_httpd(struct kk_control *control, const struct settings *s, struct kk_err *err)
{
	struct kk_httpd_config config = {
		.listen = s->listen,
		.tls_cert = control->identity.cert,
		.tls_key = control->identity.key,
		.body_max = KK_REST_BODY_MAX,
		.body_limit = kk_rest_body_max,
		.connections_max = connections_max(),
		.pending_max = PENDING_MAX,
		.pending_per_address = PENDING_PER_ADDRESS,
		.rate_per_address = s->rate,
		.handle = kk_rest_handle,
		.refuse = kk_rest_refuse,
		.gone = kk_rest_gone,
		.userdata = control,
	};

	return kk_httpd_new(control->event, &config, &control->httpd, err);
}

static int start_parts(struct kk_control *control)
{
	uint64_t seed;
	int r;

	if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		return -EIO;
	kk_attempts_init(&control->by_account, ACCOUNT_BURST, ACCOUNT_REFILL, seed);
	kk_attempts_init(&control->by_address, ADDRESS_BURST, ADDRESS_REFILL, ~seed);
	LIST_INIT(&control->held);
	r = kk_passwords_new(control->event, &control->passwords);
	return r < 0 ? r : kk_push_new(control->event, control->store, &control->push);
}

static int start(struct kk_control *control, const struct settings *s, struct kk_err *err)
{
	char path[PATH_MAX];
	int r;

	control->state = s->state;
	control->tls_cert = s->tls_cert;
	control->tls_key = s->tls_key;
	strcpy(control->url, s->url);
	r = kk_identity_load(control, err);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/control.db", s->state);
	r = kk_store_open(path, &s->pool, &control->store, err);
	if (r < 0)
		return r;
	r = start_parts(control);
	if (r < 0)
		kk_err_set(err, -r, NULL, "cannot start: %s", strerror(-r));
	else
		r = start_httpd(control, s, err);
	if (r == 0)
		r = kk_expiry_start(control, err);
	/* Only when the port is ours: who reads the file is to find us there. */
	return r < 0 ? r : kk_admin_write(control, s->state, err);
}

static void stop(struct kk_control *control)
{
	kk_expiry_stop(control);
	kk_push_free(control->push);
	control->push = NULL;
	kk_httpd_free(control->httpd);
	kk_passwords_free(control->passwords);
	kk_store_close(control->store);
	kk_tls_identity_clean(&control->identity);
}

static int on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	(void)source;
	(void)info;
	sd_notify(0, "RELOADING=1");
	kk_identity_reload(userdata);
	sd_notify(0, "READY=1");
	return 0;
}

static int prepare_loop(struct kk_control *control)
{
	sigset_t set;
	sd_event *event;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	r = sd_event_default(&event);
	if (r < 0)
		return r;
	r = sd_event_add_signal(event, NULL, SIGTERM, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_signal(event, NULL, SIGINT, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_signal(event, NULL, SIGHUP, on_reload, control);
	if (r >= 0)
		r = sd_event_set_watchdog(event, true);
	if (r < 0) {
		sd_event_unref(event);
		return r;
	}
	control->event = event;
	return 0;
}

static int serve(const struct settings *s, struct kk_err *err)
{
	struct kk_control control = {0};
	KK_CLEANUP_CLOSE int lock = -1;
	int r = lock_state(s->state, &lock, err);

	if (r < 0)
		return r;
	r = prepare_loop(&control);
	if (r < 0)
		return kk_err_set(err, -r, NULL, "no event loop: %s", strerror(-r));
	r = start(&control, s, err);
	if (r == 0) {
		kk_info("version " KK_VERSION ", serving %s, state in %s, generation %lld",
			control.url, s->state, (long long)kk_store_generation(control.store));
		sd_notify(0, "READY=1");
		r = sd_event_loop(control.event);
		if (r < 0)
			kk_err_set(err, -r, NULL, "the event loop failed: %s", strerror(-r));
		sd_notify(0, "STOPPING=1");
	}
	stop(&control);
	sd_event_unref(control.event);
	return r;
}

int main(int argc, char **argv)
{
	struct options options = {
		.state = "/var/lib/kakuremichi/control",
		.listen = "0.0.0.0:8443",
		.pool = "10.0.0.0/8",
		.rate = RATE_PER_ADDRESS,
	};
	struct settings settings = {0};
	struct kk_err err = {0};
	int r;

	kk_log_init(PROGRAM, LOG_INFO);
	r = kk_options_parse(argc, argv, option_table, ARRAY_SIZE(option_table), &options, &err);
	if (r > 0)
		r = kk_err_set(&err, EINVAL, NULL, "\"%s\" is not an option", argv[1]);
	if (r == 0 && options.help) {
		print_help();
		return 0;
	}
	if (r == 0 && options.version) {
		printf(PROGRAM " " KK_VERSION "\n");
		return 0;
	}
	if (r == 0)
		r = read_settings(&options, &settings, &err);
	if (r < 0) {
		kk_error("%s", err.msg);
		return 2;
	}
	if (options.verbose)
		kk_log_init(PROGRAM, LOG_DEBUG);
	r = serve(&settings, &err);
	if (r < 0) {
		kk_error("%s", err.msg);
		return 1;
	}
	return 0;
}
