// SPDX-License-Identifier: MIT
/*
 * Bad and odd netlink messages for the module, from several processes at once: made by the kernel's own description of
 * the family, then damaged; as root, as root of an unprivileged user namespace, and as such a root in a namespace that
 * is not its own, to whom all must be refused. Meanwhile interfaces go and come, tables are replaced and packets run.
 * At the end the module has to work as on the first day. What the kernel log says scripts/vm judges.
 *
 *   fuzz_genl [SECONDS [SEED]]
 *
 * The module must be loaded; needs root, and namespaces of its own.
 */
#include "tests/vm/fuzz_genl.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/vm/fuzz_traffic.h"

enum role { MESSAGES, MORE_MESSAGES, UNRULY, TRAFFIC, OWN_NAMESPACE, FOREIGN, N_ROLES };
static const char *const names[N_ROLES] = {
	[MESSAGES] = "root",
	[MORE_MESSAGES] = "root, too",
	[UNRULY] = "tables and interfaces",
	[TRAFFIC] = "packets",
	[OWN_NAMESPACE] = "root of a user namespace",
	[FOREIGN] = "root of another namespace",
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Root there, nobody here. */
static void become_unprivileged(int flags)
{
	FILE *file;

	if (unshare(CLONE_NEWUSER | flags) < 0)
		fuzz_die("a user namespace: %s", strerror(errno));
	file = fopen("/proc/self/setgroups", "we");
	if (!file || fputs("deny", file) < 0 || fclose(file) != 0)
		fuzz_die("setgroups: %s", strerror(errno));
	file = fopen("/proc/self/uid_map", "we");
	if (!file || fputs("0 0 1", file) < 0 || fclose(file) != 0)
		fuzz_die("uid_map: %s", strerror(errno));
}

static void send_messages(struct fuzz *fuzz, double end)
{
	while (now() < end) {
		fuzz_open(fuzz);
		for (int i = 0; i < 500 && now() < end; i++)
			fuzz_once(fuzz);
		fuzz_close(fuzz); /* also with a dump or a set of tables half way */
	}
}

static void __attribute__((noreturn)) work(enum role role, uint64_t seed, double end)
{
	static struct fuzz fuzz;

	fuzz_seed(&fuzz, seed * N_ROLES + role);
	switch (role) {
	case UNRULY:
		fuzz_unruly(&fuzz, end, now);
		break;
	case TRAFFIC:
		fuzz_traffic(&fuzz, end, now);
		break;
	case OWN_NAMESPACE:
		become_unprivileged(CLONE_NEWNET);
		fuzz_world();
		send_messages(&fuzz, end);
		break;
	case FOREIGN:
		become_unprivileged(0);
		send_messages(&fuzz, end);
		if (fuzz.accepted)
			fuzz_die("the module takes orders from root of another user namespace");
		break;
	default:
		send_messages(&fuzz, end);
	}
	printf("%s: %lu sent, %lu accepted, %lu refused, %lu of them without a word\n", names[role],
	       fuzz.sent, fuzz.accepted, fuzz.refused, fuzz.silent);
	/* Otherwise nothing but the door was tried. */
	if (role != TRAFFIC && role != FOREIGN && (!fuzz.accepted || !fuzz.refused) &&
	    role != UNRULY)
		fuzz_die("%s: nothing was accepted, or nothing was refused", names[role]);
	if (fuzz.silent)
		fuzz_die("%s: command %d was refused with %d and no word why", names[role],
			 fuzz.silent_command, fuzz.silent_error);
	exit(0);
}

/* New tables, what is in them, and a packet through them. */
static void check_health(void)
{
	const struct kk_listener wanted = fuzz_listener(22, 1);
	KK_CLEANUP_FREE struct kk_listener *found = NULL;
	uint8_t packet[64];
	struct kk_module_settings settings;
	struct kk_module_trial trial = {.data = packet, .direction = KK_INBOUND};
	struct kk_module module;
	struct kk_err err = {0};
	int n;

	if (unshare(CLONE_NEWNET) < 0)
		fuzz_die("a namespace at the end: %s", strerror(errno));
	fuzz_world();
	fuzz_settings(&settings);
	trial.len = (uint32_t)fuzz_packet(packet, IPPROTO_TCP, "203.0.113.7", "198.51.100.1", 22);
	if (kk_module_open(&module, &err) < 0 ||
	    kk_module_replace(&module, &settings, &wanted, 1, &err) < 0)
		fuzz_die("tables at the end: %s", err.msg);
	n = kk_module_list(&module, &found, &err);
	if (n != 1 || found[0].port != 22 ||
	    found[0].agent_address.s_addr != wanted.agent_address.s_addr)
		fuzz_die("%d listeners at the end, want 1: %s", n, err.msg);
	if (kk_module_try(&module, &trial, &err) < 0)
		fuzz_die("a packet at the end: %s", err.msg);
	if (trial.reason != KK_REASON_INBOUND)
		fuzz_die("a packet at the end: reason %d", trial.reason);
	free(trial.data);
	kk_module_close(&module);
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 20;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);
	int status, failed = 0;
	double end;

	printf("seed %llu, %g s\n", (unsigned long long)seed, seconds);
	fflush(stdout);
	if (unshare(CLONE_NEWNET) < 0)
		fuzz_die("a namespace: %s", strerror(errno));
	fuzz_world();
	end = now() + seconds;
	for (int role = 0; role < N_ROLES; role++) {
		pid_t child = fork();

		if (child < 0)
			fuzz_die("fork: %s", strerror(errno));
		if (child == 0)
			work(role, seed, end);
	}
	while (wait(&status) > 0)
		failed += status != 0;
	if (failed)
		fuzz_die("%d of %d workers failed", failed, N_ROLES);
	check_health();
	printf("healthy\n");
	return 0;
}
