/* SPDX-License-Identifier: MIT */
/*
 * Passwords: scrypt (RFC 7914), which is slow on purpose, so it runs beside the event loop, one after the
 * other. What stands for a password is "scrypt$LOG2N$R$P$SALT$KEY", both in base64url.
 */
#ifndef KK_CONTROLD_PASSWORD_H
#define KK_CONTROLD_PASSWORD_H

#include <stdbool.h>

#include <systemd/sd-event.h>

#include "util/err.h"

#define KK_PASSWORD_MIN	   10  /* characters of one that is taken */
#define KK_PASSWORD_LONG   256 /* bytes */
#define KK_PASSWORD_QUEUED 16  /* jobs that may wait */

struct kk_passwords;
struct kk_password_job;

struct kk_password_result {
	int error;	/* negative errno */
	bool ok;	/* it is the one that @stored stands for */
	char text[256]; /* what stands for it, where nothing was stored */
};

int kk_passwords_new(sd_event *event, struct kk_passwords **ret);
/* Waits for the job that is being worked on. */
void kk_passwords_free(struct kk_passwords *passwords);
/*
 * Compares @password with what @stored stands for ("" : with nothing, which takes as long), or makes what
 * stands for it where @stored is NULL. @done is called from the loop, unless the job is cancelled before.
 * -EBUSY: too many wait.
 */
int kk_passwords_submit(struct kk_passwords *passwords, const char *password, const char *stored,
			void (*done)(const struct kk_password_result *result, void *userdata),
			void *userdata, struct kk_password_job **ret);
/* @job may be NULL. */
void kk_password_cancel(struct kk_password_job *job);

/* -EINVAL with @err (field "password") for one that is too short or too long. */
int kk_password_acceptable(const char *password, struct kk_err *err);

/* The work itself, which takes some 100 ms. -EINVAL: @stored is no such text. */
int kk_password_make(const char *password, char text[256]);
int kk_password_check(const char *password, const char *stored, bool *ret);

#endif
