// SPDX-License-Identifier: MIT
#include "tests/vm/fuzz_traffic.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>

static uint16_t fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t) ~((sum & 0xffff) + (sum >> 16));
}

static uint32_t sum_of(const void *data, size_t len)
{
	const uint8_t *byte = data;
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i += 2)
		sum += (uint32_t)byte[i] << 8 | byte[i + 1];
	return sum;
}

size_t fuzz_packet(uint8_t *packet, uint8_t protocol, const char *from, const char *to,
		   uint16_t port)
{
	struct iphdr ip = {.version = 4,
			   .ihl = 5,
			   .ttl = 64,
			   .protocol = protocol,
			   .tot_len = htons(40),
			   .saddr = inet_addr(from),
			   .daddr = inet_addr(to)};
	struct tcphdr tcp = {.source = htons(40000), .dest = htons(port), .doff = 5, .syn = 1};
	uint32_t sum;

	ip.check = htons(fold(sum_of(&ip, sizeof(ip))));
	sum = sum_of(&ip.saddr, 8) + protocol + sizeof(tcp);
	if (protocol == IPPROTO_UDP) {
		const uint16_t udp[] = {htons(40000), htons(port), htons(20), 0};

		memcpy(&tcp, udp, sizeof(udp)); /* its checksum is left out */
	} else {
		tcp.check = htons(fold(sum + sum_of(&tcp, sizeof(tcp))));
	}
	memcpy(packet, &ip, sizeof(ip));
	memcpy(packet + sizeof(ip), &tcp, sizeof(tcp));
	return sizeof(ip) + sizeof(tcp);
}

/* A good one, or one with a few bytes changed: fragments, options, odd lengths. */
static size_t some_packet(struct fuzz *fuzz, uint8_t *packet, bool inbound)
{
	uint8_t protocol = fuzz_below(fuzz, 2) ? IPPROTO_TCP : IPPROTO_UDP;
	uint16_t port = (uint16_t)(1 + fuzz_below(fuzz, 40));
	size_t len = inbound ? fuzz_packet(packet, protocol, "203.0.113.7", "198.51.100.1", port)
			     : fuzz_packet(packet, protocol, "10.1.0.100", "203.0.113.7", port);

	if (!inbound && fuzz_below(fuzz, 2)) {
		/* The listener's port is the source. */
		memcpy(packet + 20, packet + 22, 2);
	}
	for (uint32_t n = fuzz_below(fuzz, 4); n; n--)
		packet[fuzz_below(fuzz, (uint32_t)len)] = (uint8_t)fuzz_random(fuzz);
	return len;
}

/* Into the public interface, from the other end of its wire. */
static void send_inbound(struct fuzz *fuzz, int fd)
{
	uint8_t frame[ETH_HLEN + 64] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 2, 8, 0};
	size_t len = ETH_HLEN + some_packet(fuzz, frame + ETH_HLEN, true);
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_ifindex = (int)if_nametoindex("veth0"),
				 .sll_protocol = htons(ETH_P_IP)};

	/* The interface may be away just now. */
	(void)!sendto(fd, frame, len, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to));
}

static void send_outbound(struct fuzz *fuzz)
{
	struct ifreq req = {.ifr_flags = IFF_TUN | IFF_NO_PI, .ifr_name = FUZZ_TUNNEL};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	uint8_t packet[64], sink[2048];

	if (fd < 0)
		fuzz_die("/dev/net/tun: %s", strerror(errno));
	if (ioctl(fd, TUNSETIFF, &req) == 0)
		for (int i = 0; i < 100; i++) {
			(void)!write(fd, packet, some_packet(fuzz, packet, false));
			while (read(fd, sink, sizeof(sink)) > 0)
				fuzz->accepted++; /* what the module sent into the tunnel */
		}
	close(fd);
}

void fuzz_traffic(struct fuzz *fuzz, double end, double (*now)(void))
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0)
		fuzz_die("a packet socket: %s", strerror(errno));
	if (kk_net_link_set("veth0", true, 0, NULL) < 0)
		fuzz_die("veth0 cannot be set up");
	while (now() < end) {
		for (int i = 0; i < 100; i++)
			send_inbound(fuzz, fd);
		send_outbound(fuzz);
		fuzz->sent += 200;
	}
	close(fd);
}

/* Requests that the fuzz of others may undo at any time: what they say does not matter, only that they are done. */
static void fill_tables(struct fuzz *fuzz)
{
	struct kk_module_settings settings;
	struct kk_listener listeners[40];
	struct kk_module module;

	fuzz_settings(&settings);
	for (uint16_t i = 0; i < 40; i++)
		listeners[i] = fuzz_listener((uint16_t)(i + 1), i % 9 + 1u);
	if (kk_module_open(&module, NULL) < 0)
		return;
	fuzz->sent++;
	if (kk_module_replace(&module, &settings, listeners, 40, NULL) == 0)
		fuzz->accepted++;
	else
		fuzz->refused++;
	kk_module_close(&module);
}

void fuzz_unruly(struct fuzz *fuzz, double end, double (*now)(void))
{
	static const char *const changes[] = {
		"ip link del " FUZZ_PUBLIC " 2>/dev/null; ip link add " FUZZ_PUBLIC
		" type veth peer name veth0 && ip link set " FUZZ_PUBLIC
		" up && ip link set veth0 up",
		"ip link set " FUZZ_TUNNEL " name kkother && ip link set kkother name " FUZZ_TUNNEL,
		"ip link set " FUZZ_TUNNEL " down; ip link set " FUZZ_TUNNEL " up",
		"ip link del " FUZZ_TUNNEL " 2>/dev/null; ip tuntap add " FUZZ_TUNNEL
		" mode tun && ip link set " FUZZ_TUNNEL " up",
	};

	while (now() < end) {
		fill_tables(fuzz);
		usleep(100000);
		/* Another may hold the name for a moment: then it is the next one's turn. */
		(void)!system(changes[fuzz_below(fuzz, sizeof(changes) / sizeof(*changes))]);
	}
	fill_tables(fuzz);
}
