// SPDX-License-Identifier: MIT
/*
 * Packets as the TUN interface and the tunnel hand them over: cut into segments, and joined again. What
 * is cut and joined must be what it was.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kkwg/coalesce.h"
#include "kkwg/offload.h"
#include "wg/packet.h"

#define FO_MAX 4096

/* Input: virtio header, then the packet. */
static void fo_cut(const uint8_t *data, size_t len)
{
	static uint8_t packet[FO_MAX], segment[FO_MAX];
	struct wg_packet parsed;
	struct offload o;
	tun_header hdr;

	if (len < sizeof(hdr) || len > FO_MAX)
		return;
	memcpy(&hdr, data, sizeof(hdr));
	len -= sizeof(hdr);
	memcpy(packet, data + sizeof(hdr), len);
	if (wg_packet_parse(packet, len, &parsed) < 0)
		return;
	if (hdr.gso_type == VIRTIO_NET_HDR_GSO_NONE) {
		offload_checksum(&hdr, packet, parsed.len);
		return;
	}
	if (offload_parse(&hdr, packet, parsed.len, &o) < 0)
		return;
	for (size_t at = 0, i = 0; at < parsed.len - o.headers; at += o.size, i++) {
		size_t left = parsed.len - o.headers - at, size = left < o.size ? left : o.size;

		memcpy(segment, packet, o.headers);
		memcpy(segment + o.headers, packet + o.headers + at, size);
		offload_finish(&o, segment, size, i, at, at + size == parsed.len - o.headers);
	}
}

/* Input: packets of a length each that two bytes in front of them tell. */
static void fo_join(const uint8_t *data, size_t len)
{
	static uint8_t arena[FO_MAX * 16];
	static struct tun tun = {.fd = -1, .vnet = true, .tso = true, .uso = true};
	static struct coalesce c;
	struct wg_packet parsed;
	size_t at = 0, used = 64;

	if (tun.fd < 0)
		tun.fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (len > FO_MAX)
		return;
	c.tun = &tun;
	while (at + 2 < len) {
		size_t n = data[at] | (size_t)data[at + 1] << 8;
		uint8_t *copy = arena + used;

		at += 2;
		if (n > len - at)
			n = len - at;
		if (used + n + 64 > sizeof(arena))
			break;
		memcpy(copy, data + at, n);
		if (wg_packet_parse(copy, n, &parsed) == 0)
			coalesce_add(&c, copy, parsed.len);
		at += n;
		used += n + 64;
	}
	coalesce_flush(&c);
	assert(c.lost == 0);
}

int fuzz_kkwg_offload(const uint8_t *data, size_t len)
{
	if (len < 1)
		return 0;
	if (data[0] & 1)
		fo_cut(data + 1, len - 1);
	else
		fo_join(data + 1, len - 1);
	return 0;
}

#ifdef KK_FUZZ
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	return fuzz_kkwg_offload(data, len);
}
#endif
