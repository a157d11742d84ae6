// SPDX-License-Identifier: MIT
/* The interfaces between which packets go. */
#include "bpf/internal.h"

#include <errno.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "util/cleanup.h"

#define MTU_MIN 576 /* what every host takes, RFC 1122 section 3.3.2 */

static const struct {
	const char *field; /* as the daemons' option is called */
	unsigned short type;
	const char *text;
} kinds[KK_LINKS] = {
	[KK_TUNNEL] = {"tunnel-interface", ARPHRD_NONE, "layer 3 tunnel (WireGuard or TUN)"},
	[KK_PUBLIC] = {"public-interface", ARPHRD_ETHER, "Ethernet device"},
};

int kk_link_end_init(struct kk_link_end *ends, int which, const char *ifname, struct kk_err *err)
{
	KK_CLEANUP_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const char *field = kinds[which].field;
	struct ifreq req = {0};

	if (fd < 0)
		return kk_err_set(err, errno, NULL, "cannot open a socket: %s", strerror(errno));
	if (strlen(ifname) >= sizeof(req.ifr_name))
		return kk_err_set(err, ENODEV, field, "there is no interface %s", ifname);
	strcpy(req.ifr_name, ifname);
	if (ioctl(fd, SIOCGIFHWADDR, &req) < 0)
		return kk_err_set(err, errno, field, "interface %s: %s", ifname, strerror(errno));
	if (req.ifr_hwaddr.sa_family != kinds[which].type)
		return kk_err_set(err, EINVAL, field, "interface %s is no %s", ifname,
				  kinds[which].text);
	if (ioctl(fd, SIOCGIFINDEX, &req) < 0)
		return kk_err_set(err, errno, field, "interface %s: %s", ifname, strerror(errno));
	strcpy(ends[which].name, ifname);
	ends[which].ifindex = req.ifr_ifindex;
	if (ioctl(fd, SIOCGIFMTU, &req) < 0)
		return kk_err_set(err, errno, field, "interface %s: %s", ifname, strerror(errno));
	if (req.ifr_mtu < MTU_MIN)
		return kk_err_set(err, EINVAL, field,
				  "interface %s has an MTU of %d, less than the %d of IPv4", ifname,
				  req.ifr_mtu, MTU_MIN);
	ends[which].mtu = (uint32_t)req.ifr_mtu;
	return 0;
}
