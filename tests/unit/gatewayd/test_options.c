// SPDX-License-Identifier: MIT
#include "gatewayd/options.h"

#include <arpa/inet.h>
#include <errno.h>

#include "tests/unit/kk_test.h"

static struct options o;
static struct kk_err err;

/* @line: the words after the program's name, by blanks. */
static int read_line(const char *line)
{
	static char copy[512];
	char *argv[32] = {(char *)"kkgatewayd"};
	int argc = 1;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	kk_err_reset(&err);
	return options_read(argc, argv, &o, &err);
}

static void test_defaults(void **state)
{
	(void)state;
	assert_int_equal(read_line("run"), 0);
	assert_int_equal(o.command, COMMAND_RUN);
	assert_string_equal(o.state, "/var/lib/kakuremichi/gateway");
	assert_string_equal(o.tunnel_interface, "kk0");
	assert_string_equal(o.pin_dir, "/sys/fs/bpf/kakuremichi/kk0");
	assert_int_equal(o.tunnel_kind, WGCTL_AUTO);
	assert_int_equal(o.metrics_at.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
	assert_int_equal(ntohs(o.metrics_at.sin_port), 9180);
	assert_null(o.public_interface);
	assert_null(o.engine);
}

static void test_all(void **state)
{
	(void)state;
	assert_int_equal(read_line("down --state /s --public-interface eth1 --address 192.0.2.1 "
				   "--tunnel-interface kk7 --tunnel=kernel --engine /e "
				   "--metrics 0.0.0.0:1 -v"),
			 0);
	assert_int_equal(o.command, COMMAND_DOWN);
	assert_string_equal(o.public_interface, "eth1");
	assert_int_equal(o.managed.s_addr, inet_addr("192.0.2.1"));
	assert_string_equal(o.pin_dir, "/sys/fs/bpf/kakuremichi/kk7");
	assert_int_equal(o.tunnel_kind, WGCTL_KERNEL);
	assert_int_equal(o.datapath_host, KK_PLANE_AUTO);
	assert_int_equal(o.edge.xdp, KK_XDP_AUTO);
	assert_true(o.edge.closed_ports);
	assert_int_equal(o.edge.syn_rate, 10000);
	assert_int_equal(read_line("run --xdp native --closed-ports pass --syn-rate=0"), 0);
	assert_int_equal(o.edge.xdp, KK_XDP_NATIVE);
	assert_false(o.edge.closed_ports);
	assert_int_equal(o.edge.syn_rate, 0);
	assert_int_equal(read_line("run --datapath bpf"), 0);
	assert_int_equal(o.datapath_host, KK_PLANE_BPF);
	assert_int_equal(read_line("run --datapath=module"), 0);
	assert_int_equal(o.datapath_host, KK_PLANE_MODULE);
	assert_int_equal(read_line("down -v"), 0);
	assert_true(o.verbose);
	assert_int_equal(read_line("--force join kkj1.abc"), 0);
	assert_int_equal(o.command, COMMAND_JOIN);
	assert_string_equal(o.token, "kkj1.abc");
	assert_true(o.force);
	assert_int_equal(read_line("--version"), 0);
	assert_int_equal(o.command, COMMAND_VERSION);
	assert_int_equal(read_line("fly --help"), 0);
	assert_int_equal(o.command, COMMAND_HELP);
}

static void test_refused(void **state)
{
	static const struct {
		const char *line, *field, *part;
	} cases[] = {
		{"", "command", "missing"},
		{"fly", "command", "\"fly\""},
		{"run now", "command", "now"},
		{"join", "token", "TOKEN"},
		{"join a b", "command", "b"},
		{"run --tunnel fast", "tunnel", "\"fast\""},
		{"run --metrics 9180", "metrics", "\"9180\""},
		{"run --datapath kernel", "datapath", "\"kernel\""},
		{"run --xdp offload", "xdp", "\"offload\""},
		{"run --closed-ports no", "closed-ports", "\"no\""},
		{"run --syn-rate -1", "syn-rate", "-1"},
		{"run --metrics localhost:9180", "metrics", "\"localhost\""},
		{"run --metrics 127.0.0.1:0", "metrics", "0"},
		{"run --metrics 127.0.0.1:70000", "metrics", "70000"},
		{"run --address fe80::1", "address", "fe80::1"},
		{"run --tunnel-interface sixteen-letters-", "tunnel-interface", "sixteen-letters-"},
		{"run --tunnel-interface ../x", "tunnel-interface", "../x"},
		{"run --public-interface sixteen-letters-", "public-interface", "sixteen-letters-"},
		{"run --pin-dir here", "pin-dir", "\"here\""},
		{"run --speed 9", "--speed", "no such option"},
		{"run --state", "state", "needs a value"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (read_line(cases[i].line) >= 0)
			fail_msg("\"%s\" was taken", cases[i].line);
		assert_err(&err, cases[i].field, cases[i].part);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_all),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
