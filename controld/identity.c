// SPDX-License-Identifier: MIT
#include "controld/identity.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "util/log.h"

#define SOON_S (14 * 86400)

static void tell_validity(const char *path, int64_t until)
{
	const time_t t = until;
	char text[32];

	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", gmtime(&t));
	kk_log(until - time(NULL) < SOON_S ? LOG_WARNING : LOG_INFO,
	       "the certificate in %s is valid until %s", path, text);
}

int kk_identity_load(struct kk_control *control, struct kk_err *err)
{
	int64_t until;
	int r;

	if (!control->tls_cert)
		return kk_tls_identity_load(control->state, &control->identity, err);
	r = kk_tls_identity_read(control->tls_cert, control->tls_key, &control->identity, &until,
				 err);
	if (r == 0)
		tell_validity(control->tls_cert, until);
	return r;
}

static int reload(struct kk_control *control, struct kk_err *err)
{
	struct kk_tls_identity identity;
	int64_t until;
	int r = kk_tls_identity_read(control->tls_cert, control->tls_key, &identity, &until, err);

	if (r < 0)
		return r;
	if (strcmp(identity.pin, control->identity.pin) != 0)
		r = kk_err_set(err, EINVAL, "tls-key",
			       "tls-key: %s holds another key than before, by which no node that "
			       "has joined knows Control; a restart takes it nevertheless",
			       control->tls_key);
	else
		r = kk_httpd_set_tls(control->httpd, identity.cert, identity.key, err);
	if (r < 0) {
		kk_tls_identity_clean(&identity);
		return r;
	}
	kk_tls_identity_clean(&control->identity);
	control->identity = identity;
	tell_validity(control->tls_cert, until);
	return 0;
}

void kk_identity_reload(struct kk_control *control)
{
	struct kk_err err = {0};

	if (!control->tls_cert)
		kk_info("there is nothing to read again");
	else if (reload(control, &err) < 0)
		kk_error("%s; the certificate stays what it was", err.msg);
}
