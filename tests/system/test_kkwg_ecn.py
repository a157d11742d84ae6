# SPDX-License-Identifier: MIT
"""Congestion marks (RFC 6040): what is sent carries those of the packet inside, what arrives passes its own on."""
import json
import subprocess

import pytest

from kkwg_world import KKWG, World

# In the receiver's namespace: what came, [mark when it was sent, mark now], and the marks of what it came in.
RECEIVE = """
import json, select, socket, struct, sys
expected = int(sys.argv[1])
sniff = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
sniff.bind(("eth", 3))
u4 = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u4.setsockopt(socket.IPPROTO_IP, 13, 1)  # IP_RECVTOS
u4.bind(("0.0.0.0", 7000))
u6 = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
u6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
u6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
u6.bind(("::", 7000))
print("ready", flush=True)
inner, outer = [], []
while len(inner) < expected or len(outer) < 8:
    ready = select.select([sniff, u4, u6], [], [], 3)[0]
    if not ready: break
    for s in ready:
        data, control, _, who = s.recvmsg(2048, 256)
        if s is sniff:
            four = data[0] >> 4 == 4
            if len(data) > 300 and data[9 if four else 6] == 17 and who[2] != socket.PACKET_OUTGOING:
                outer.append(data[1] & 3 if four else data[1] >> 4 & 3)
        else:
            inner.append([data[0], control[0][2][0] & 3])
print(json.dumps([inner, outer]))
"""
SEND = """
import socket, sys, time
for address in sys.argv[1:]:
    six = ":" in address
    u = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
    for mark in range(4):
        u.setsockopt(*((socket.IPPROTO_IPV6, socket.IPV6_TCLASS) if six else (socket.IPPROTO_IP, socket.IP_TOS)), mark)
        u.sendto(bytes([mark]) * 300, (address, 7000))
        time.sleep(0.05)
"""
MARK = """
table inet congested {
	chain arriving {
		type filter hook prerouting priority -300;
		meta nfproto ipv4 udp dport 51820 ip ecn set ce
		meta nfproto ipv6 udp dport 51820 ip6 ecn set ce
	}
}
"""


def marks(a, b, expected):
    """Sends one datagram of each mark, in IPv4 and in IPv6."""
    sink = subprocess.Popen(["ip", "netns", "exec", b.ns, "/usr/bin/python3", "-c", RECEIVE, str(expected)],
                            stdout=subprocess.PIPE, text=True)
    a.world.undo.append(lambda: (sink.kill(), sink.wait()))
    assert sink.stdout.readline() == "ready\n"
    a.exec("/usr/bin/python3", "-c", SEND, b.inner4, b.inner6)
    inner, outer = json.loads(sink.communicate(timeout=30)[0])
    return inner, outer


@pytest.mark.parametrize("outer", ["outer4", "outer6"])
def test_marks(outer):
    with World() as w:
        a, b = w.pair(KKWG, KKWG)
        host = getattr(b, outer)
        a.configure([(b, f"[{host}]:51820" if ":" in host else f"{host}:51820", "")])
        b.configure([(a, None, "")])
        a.up()
        b.up()
        a.ping(b.inner4)
        a.ping(b.inner6)
        # Nothing is changed on the way, and the outside says what the inside does.
        sent, carried = marks(a, b, 8)
        assert sent == [[mark, mark] for mark in range(4)] * 2
        assert carried == [0, 1, 2, 3] * 2
        # Congestion on the way: who understands hears of it, for who does not the packet is lost.
        b.exec("nft", "-f", "-", stdin=MARK)
        sent, _ = marks(a, b, 6)
        assert sent == [[mark, 3] for mark in (1, 2, 3)] * 2
