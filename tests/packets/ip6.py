# SPDX-License-Identifier: MIT
"""Packet cases of IPv6, for the world of generate.py that has both families."""

import ipaddress

from scapy.all import (ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6MLReport2, ICMPv6ND_NA, ICMPv6ND_NS,
                       ICMPv6ND_Redirect, ICMPv6PacketTooBig, ICMPv6ParamProblem, ICMPv6TimeExceeded, IPv6, IPv6ExtHdrDestOpt,
                       IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, PadN, Raw, TCP, UDP)

from wire import as_bytes, balance, patched, unpad, with_sum_error

PUBLIC, PUBLIC2 = "2001:db8:1::1", "2001:db8:1::2"
CLIENT, ROUTER = "2001:db8:77::7", "2001:db8:99::33"
POOL = "fd4b:6b6b:1:2:3:4::"
MTU = 1420
SSH4, WEB4 = "10.1.0.100", "10.2.0.100"
LISTENERS = [
    # protocol, port, Agent, its port, service, public address
    ("tcp", 2222, SSH4, 2222, 1, PUBLIC),
    ("tcp", 8080, WEB4, 80, 2, PUBLIC),
    ("tcp", 443, SSH4, 443, 12, PUBLIC),         # of IPv6 alone
    ("udp", 27015, SSH4, 27015, 5, PUBLIC),
    ("udp", 2222, WEB4, 53, 6, PUBLIC),
    ("tcp", 2222, WEB4, 22, 9, PUBLIC2),
    ("udp", 28000, WEB4, 28000, 10, PUBLIC2),
]


def inside(ipv4):
    """What an address of the Agents' pool is in IPv6."""
    return str(ipaddress.IPv6Address(int(ipaddress.IPv6Address(POOL)) + int(ipaddress.IPv4Address(ipv4))))


SSH, WEB, GATEWAY = inside(SSH4), inside(WEB4), inside("10.1.0.1")


def stacked(packet, *layers):
    for layer in layers:
        packet = packet / layer
    return packet


def from_client(transport, payload=b"", extensions=(), **ip):
    return stacked(IPv6(**{"src": CLIENT, "dst": PUBLIC, "hlim": 57, "tc": 0x28, "fl": 0x12345, **ip}), *extensions, transport,
                   Raw(payload))


def from_agent(transport, payload=b"", extensions=(), **ip):
    return stacked(IPv6(**{"src": SSH, "dst": CLIENT, "hlim": 64, "fl": 0x54321, **ip}), *extensions, transport, Raw(payload))


def moved(packet, address_field, address, port_field, port, hops=1):
    out = packet.copy()
    out.setfieldval(address_field, address)
    out.hlim -= hops
    (out[TCP] if TCP in out else out[UDP]).setfieldval(port_field, port)
    unpad(out)
    if TCP in out and out[TCP].flags.S and hops:
        out[TCP].options = [("MSS", min(value, MTU - 60)) if name == "MSS" else (name, value)
                            for name, value in out[TCP].options]
    return out


def syn(port=2222):
    return TCP(sport=40000, dport=port, flags="S", seq=1000,
               options=[("MSS", 1440), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)])


def ack(port, **tcp):
    return TCP(**{"sport": 40000, "dport": port, "flags": "PA", "ack": 9, **tcp})


def options(size, header=IPv6ExtHdrDestOpt):
    """An options header of so many bytes, a multiple of 8."""
    return header(options=[PadN(optdata=bytes(size - 4))])


def route(left, size=1):
    return IPv6ExtHdrRouting(type=4, segleft=left, addresses=["2001:db8::5"] * size)


class Cases:
    def __init__(self, world):
        self.world = world

    def to_agent(self, name, packet, agent, port, out=None, **more):
        out = out or moved(packet, "dst", agent, "dport", port)
        self.world.inbound(f"ipv6 {name}", packet, "tunnel", "inbound", out=out, **more)

    def to_client(self, name, packet, port, public=PUBLIC, out=None, **more):
        out = out or moved(packet, "src", public, "sport", port)
        self.world.outbound(f"ipv6 {name}", packet, "nic", "outbound", out=out, **more)

    def inbound(self, name, packet, verdict="pass", reason="not_ours", **more):
        self.world.inbound(f"ipv6 {name}", packet, verdict, reason, **more)

    def outbound(self, name, packet, verdict="drop", reason="not_published", **more):
        self.world.outbound(f"ipv6 {name}", packet, verdict, reason, **more)


def add_inbound(cases):
    cases.to_agent("tcp syn", from_client(syn()), SSH, 2222)
    cases.to_agent("tcp to another port of the Agent", from_client(syn(8080)), WEB, 80)
    cases.to_agent("tcp published for ipv6 alone", from_client(syn(443)), SSH, 443)
    cases.to_agent("tcp to the second address", from_client(syn(), dst=PUBLIC2), WEB, 22)
    cases.to_agent("tcp with payload", from_client(ack(8080), b"x" * 1340), WEB, 80)
    cases.to_agent("tcp with odd payload", from_client(ack(8080), b"xyz"), WEB, 80)
    cases.to_agent("tcp keeps class and label", from_client(syn(), tc=0xff, fl=0xfffff), SSH, 2222)
    cases.to_agent("hop limit 2", from_client(syn(), hlim=2), SSH, 2222)
    cases.to_agent("hop limit 255", from_client(syn(), hlim=255), SSH, 2222)
    cases.to_agent("udp", from_client(UDP(sport=5000, dport=27015), b"ping"), SSH, 27015)
    cases.to_agent("udp to another port", from_client(UDP(sport=5000, dport=2222), b"ping!"), WEB, 53)
    cases.to_agent("udp to the second address", from_client(UDP(sport=5000, dport=28000), b"x", dst=PUBLIC2), WEB, 28000)
    cases.to_agent("udp empty", from_client(UDP(sport=5000, dport=27015)), SSH, 27015)
    cases.to_agent("no mss", from_client(TCP(sport=4, dport=8080, flags="S", options=[("SAckOK", b"")])), WEB, 80)
    cases.to_agent("mss that fits", from_client(TCP(sport=4, dport=8080, flags="S", options=[("MSS", 1360)])), WEB, 80)
    cases.to_agent("mss one byte too large", from_client(TCP(sport=4, dport=8080, flags="S", options=[("MSS", 1361)])), WEB, 80)
    plain = from_client(ack(8080))
    cases.to_agent("padding is cut off", as_bytes(plain) + bytes(6), WEB, 80, out=moved(plain, "dst", WEB, "dport", 80))
    before = from_client(syn(8080))
    broken, still = with_sum_error(before, moved(before, "dst", WEB, "dport", 80), 56)
    cases.to_agent("wrong tcp checksum stays wrong", broken, WEB, 80, out=still)
    before = from_client(UDP(sport=5000, dport=2222), b"ping!")
    broken, still = with_sum_error(before, moved(before, "dst", WEB, "dport", 53), 46)
    cases.to_agent("wrong udp checksum stays wrong", broken, WEB, 53, out=still)
    big = from_client(ack(8080, flags="A"), b"y" * 3000)
    cases.to_agent("gso", big, WEB, 80, gso_size=1360)
    # 64 KiB and more in segments: no payload length, as with a jumbogram, and a checksum that covers what the fields say.
    out = moved(big, "dst", WEB, "dport", 80)
    cases.to_agent("gso beyond 64 KiB has no payload length", patched(big, 4, b"\0\0"), WEB, 80, out=patched(out, 4, b"\0\0"),
                   gso_size=1360)
    # The payload that is the checksum of the rest makes the sum all ones: 0 is written 0xffff.
    after = moved(from_client(UDP(sport=5000, dport=27015), b"\0\0"), "dst", SSH, "dport", 27015)
    packet = from_client(UDP(sport=5000, dport=27015), as_bytes(after)[46:48])
    out = moved(packet, "dst", SSH, "dport", 27015)
    if as_bytes(out)[46:48] != b"\xff\xff":
        raise ValueError("the payload does not give checksum 0")
    cases.to_agent("udp whose new checksum is zero", packet, SSH, 27015)


def add_extensions(cases):
    for name, extensions in (
            ("hop-by-hop options", [options(8, IPv6ExtHdrHopByHop)]), ("destination options", [options(24)]),
            ("a route that is gone", [route(0)]), ("an atomic fragment", [IPv6ExtHdrFragment(id=5)]),
            ("options before and behind a fragment header", [options(8), IPv6ExtHdrFragment(id=5), options(16)]),
            ("four extensions", [options(8, IPv6ExtHdrHopByHop), options(8), route(0), options(8)]),
            ("extensions of 128 bytes", [options(64), options(64)]), ("one extension of 128 bytes", [options(128)])):
        cases.to_agent(f"tcp with {name}", from_client(syn(8080), extensions=extensions), WEB, 80)
        cases.to_agent(f"udp with {name}", from_client(UDP(sport=5, dport=2222), b"data", extensions=extensions), WEB, 53)
        cases.to_client(f"tcp with {name}", from_agent(TCP(sport=80, dport=4, flags="SA", ack=1, options=[("MSS", 1440)]), src=WEB,
                                                       extensions=extensions), 8080)
    for name, extensions in (
            ("five extensions", [options(8)] * 5), ("extensions of 136 bytes", [options(64), options(72)]),
            ("one extension of 136 bytes", [options(136)]), ("a route to go", [route(1)]),
            ("hop-by-hop options behind others", [options(8), options(8, IPv6ExtHdrHopByHop)]),
            ("two fragment headers", [IPv6ExtHdrFragment(id=5), IPv6ExtHdrFragment(id=6)])):
        cases.inbound(f"tcp with {name}", from_client(syn(), extensions=extensions))
        cases.outbound(f"tcp with {name}", from_agent(TCP(sport=2222, dport=4, flags="A", ack=1), extensions=extensions))
    for name, number in (("encrypted", 50), ("authentication", 51), ("no next header", 59), ("mobility", 135), ("gre", 47)):
        cases.inbound(name, from_client(Raw(bytes(24)), nh=number))
        cases.outbound(name, from_agent(Raw(bytes(24)), nh=number))
    cut = as_bytes(from_client(syn(), extensions=[options(16)]))
    cases.inbound("extension cut off", patched(cut, 4, b"\0\x0f")[:55])
    cases.inbound("extension cut within its length", patched(cut, 4, b"\0\x01")[:41])
    cases.inbound("extension longer than the packet", patched(cut, 41, b"\xff"))
    cases.inbound("nothing behind the extensions", patched(cut, 4, b"\0\x10")[:56])


def add_inbound_others(cases):
    cases.inbound("tcp to a port that is not published", from_client(syn(22)))
    cases.inbound("tcp published for ipv4 alone", from_client(syn(3000)))
    cases.inbound("udp to a port published for tcp only", from_client(UDP(sport=1, dport=8080), b"x"))
    cases.inbound("another address of the host", from_client(syn(), dst="2001:db8:1::3"))
    cases.inbound("second address, port of the first alone", from_client(syn(8080), dst=PUBLIC2))
    cases.inbound("multicast", from_client(UDP(sport=546, dport=547), dst="ff02::1:2"))
    cases.inbound("mapped public address", from_client(syn(), dst="::ffff:198.51.100.1"))
    cases.inbound("echo request", from_client(ICMPv6EchoRequest(data=b"data")))
    cases.inbound("neighbour solicitation", from_client(ICMPv6ND_NS(tgt=PUBLIC), src="fe80::1", hlim=255))
    cases.inbound("neighbour solicitation to the solicited node", from_client(ICMPv6ND_NS(tgt=PUBLIC), dst="ff02::1:ff00:1", hlim=255))
    cases.inbound("neighbour advertisement", from_client(ICMPv6ND_NA(tgt=CLIENT), src="fe80::1", hlim=255))
    cases.inbound("redirect", from_client(ICMPv6ND_Redirect(tgt=ROUTER, dst=CLIENT), src="fe80::1", hlim=255))
    cases.inbound("multicast listener report", from_client(ICMPv6MLReport2(), dst="ff02::16", hlim=1))
    cases.inbound("icmp of ipv4", from_client(Raw(b"\x08\0\0\0\0\0\0\0"), nh=1))
    cases.inbound("payload length beyond the packet", patched(from_client(syn()), 4, b"\xff\xff"))
    cases.inbound("payload length 0 without gso", patched(from_client(syn()), 4, b"\0\0"))
    cases.inbound("cut within the header", as_bytes(from_client(syn()))[:39])
    cases.inbound("cut within the ports", patched(from_client(syn()), 4, b"\0\3")[:43])
    cases.inbound("length that is not the gso packet's", as_bytes(from_client(syn())) + b"more", gso_size=20)
    udp = from_client(UDP(sport=1, dport=27015), b"x")
    for name, packet in (
            ("tcp cut behind its ports", patched(from_client(syn()), 4, b"\0\4")[:44]),
            ("tcp header shorter than 20", patched(from_client(syn()), 52, b"\x40")),
            ("tcp header longer than the packet", patched(from_client(syn()), 52, b"\xf0")),
            ("udp cut behind its ports", patched(udp, 4, b"\0\4")[:44]), ("udp length below 8", patched(udp, 44, b"\0\7")),
            ("udp length 0", patched(udp, 44, b"\0\0")), ("udp length beyond the packet", patched(udp, 44, b"\0\x0a")),
            ("udp without a checksum", patched(udp, 46, b"\0\0"))):
        cases.inbound(name, packet, "drop", "malformed")
    cases.inbound("hop limit 1", from_client(syn(), hlim=1), "drop", "ttl")
    cases.inbound("hop limit 0", from_client(syn(), hlim=0), "drop", "ttl")
    cases.inbound("hop limit 1 for the host itself", from_client(syn(22), hlim=1))
    for source in ("::", "::1", "::203.0.113.7", "::ffff:203.0.113.7", "fe80::7", "febf::7", "ff02::1", PUBLIC, PUBLIC2):
        cases.inbound(f"source {source}", from_client(syn(), src=source), "drop", "martian")
    for source in ("fec0::7", "fc00::7", "64:ff9b::203.0.113.7"):
        cases.to_agent(f"source {source}", from_client(syn(), src=source), SSH, 2222)
    cases.inbound("source of an Agent", from_client(syn(), src=inside("10.9.0.100")), "drop", "pool_source")
    cases.inbound("datagram of an Agent", from_client(UDP(sport=1, dport=27015), b"x", src=inside("10.9.0.100")), "drop", "pool_source")
    cases.inbound("source in the pool's prefix", from_client(syn(), src=inside("192.0.2.1")), "drop", "pool_source")
    cases.inbound("to an Agent", from_client(syn(), dst=SSH), "drop", "pool_destination")
    cases.inbound("to the pool's prefix", from_client(syn(), dst=inside("192.0.2.1")), "drop", "pool_destination")
    cases.inbound("echo request to an Agent", from_client(ICMPv6EchoRequest(), dst=SSH), "drop", "pool_destination")
    cases.inbound("broken and to an Agent", patched(from_client(syn(), dst=SSH), 4, b"\xff\xff"), "drop", "pool_destination")


def add_outbound(cases):
    def synack(port):
        return TCP(sport=port, dport=40000, flags="SA", seq=5, ack=1001, options=[("MSS", 1440)])

    cases.to_client("tcp syn ack", from_agent(synack(2222)), 2222)
    cases.to_client("tcp from another port of the Agent", from_agent(synack(80), src=WEB), 8080)
    cases.to_client("tcp from the second address", from_agent(synack(22), src=WEB), 2222, PUBLIC2)
    cases.to_client("udp from the second address", from_agent(UDP(sport=28000, dport=4), b"x", src=WEB), 28000, PUBLIC2)
    cases.to_client("tcp rst", from_agent(TCP(sport=2222, dport=4, flags="R")), 2222)
    cases.to_client("udp", from_agent(UDP(sport=27015, dport=5000), b"pong"), 27015)
    cases.to_client("udp from another port", from_agent(UDP(sport=53, dport=5000), b"pong!", src=WEB), 2222)
    cases.to_client("udp with extensions", from_agent(UDP(sport=53, dport=5000), b"pong!", [options(24), options(104)], src=WEB), 2222)
    cases.to_client("mss that fits", from_agent(TCP(sport=2222, dport=4, flags="SA", ack=1, options=[("MSS", 1360)])), 2222)
    cases.to_client("gso", from_agent(TCP(sport=80, dport=1, flags="A", ack=9), b"y" * 3000, src=WEB), 8080, gso_size=1360)


def about(source, dest):
    """A packet that a gateway's own address sent."""
    return as_bytes(IPv6(src=source, dst=dest, hlim=60) / UDP(sport=51820, dport=5, chksum=7) / Raw(b"x" * 8))


def add_outbound_others(cases):
    answer = TCP(sport=2222, dport=40000, flags="SA", seq=5, ack=1)
    for name, packet, reason in (
            ("tcp from no published port", from_agent(TCP(sport=22, dport=4, flags="A")), "not_published"),
            ("published for ipv4 alone", from_agent(TCP(sport=80, dport=4, flags="A")), "not_published"),
            ("udp from a port published for tcp only", from_agent(UDP(sport=2222, dport=4)), "not_published"),
            ("published port of another Agent", from_agent(TCP(sport=443, dport=4, flags="A"), src=WEB), "not_published"),
            ("icmp to the internet", from_agent(ICMPv6EchoRequest()), "not_published"),
            ("syn from a published port", from_agent(TCP(sport=2222, dport=25, flags="S")), "unsolicited"),
            ("syn to another Agent", from_agent(TCP(sport=4, dport=22, flags="S"), dst=WEB), "isolated"),
            ("datagram to another Agent", from_agent(UDP(sport=27015, dport=27015), b"x", dst=WEB), "isolated"),
            ("answer to another Agent", from_agent(answer, dst=WEB), "isolated"),
            ("answer to the pool's prefix", from_agent(answer, dst=inside("192.0.2.1")), "isolated"),
            ("answer to another gateway", from_agent(answer, dst=inside("10.1.0.2")), "isolated"),
            ("answer to the Agent itself", from_agent(answer, dst=SSH), "isolated"),
            ("answer to the public address", from_agent(answer, dst=PUBLIC), "isolated"),
            ("answer to the second public address", from_agent(answer, dst=PUBLIC2), "isolated"),
            ("syn to the gateway", from_agent(TCP(sport=4, dport=22, flags="S"), dst=GATEWAY), "unsolicited"),
            ("udp to the gateway", from_agent(UDP(sport=27015, dport=53), dst=GATEWAY), "unsolicited"),
            ("echo request to the gateway", from_agent(ICMPv6EchoRequest(), dst=GATEWAY), "unsolicited"),
            ("neighbour solicitation to the gateway", from_agent(ICMPv6ND_NS(tgt=GATEWAY), dst=GATEWAY), "unsolicited"),
            ("path mtu to somebody else", from_agent(ICMPv6PacketTooBig(), about(PUBLIC, CLIENT), dst=GATEWAY), "unsolicited"),
            ("path mtu from somebody else", from_agent(ICMPv6PacketTooBig(), about(GATEWAY, CLIENT), dst=GATEWAY), "unsolicited"),
            ("parameter problem to the gateway", from_agent(ICMPv6ParamProblem(), about(GATEWAY, SSH), dst=GATEWAY), "unsolicited"),
            ("path mtu about half a header", from_agent(ICMPv6PacketTooBig(), bytes(39), dst=GATEWAY), "unsolicited"),
            ("tcp cut short to the gateway", from_agent(Raw(bytes(13)), dst=GATEWAY, nh=6), "malformed"),
            ("fragment to the gateway", from_agent(answer, dst=GATEWAY, extensions=[IPv6ExtHdrFragment(m=1)]), "agent_fragment"),
            ("in a client's name", from_agent(answer, src=CLIENT), "spoofed"),
            ("datagram in a client's name", from_agent(UDP(sport=27015, dport=5000), b"x", src="2001:db8:77::8"), "spoofed"),
            ("in the public address's name", from_agent(answer, src=PUBLIC), "spoofed"),
            ("in the name of the pool's prefix", from_agent(answer, src=inside("11.1.0.100")), "spoofed"),
            ("from the link", from_agent(ICMPv6MLReport2(), src="fe80::1", dst="ff02::16"), "spoofed"),
            ("hop limit 1", from_agent(answer, hlim=1), "ttl"),
            ("cut within the header", as_bytes(from_agent(answer))[:39], "not_ip"),
            ("payload length beyond the packet", patched(from_agent(answer), 4, b"\x7f\xff"), "malformed"),
            ("cut within the ports", patched(from_agent(answer), 4, b"\0\3")[:43], "malformed"),
            ("udp without a checksum", patched(from_agent(UDP(sport=27015, dport=4), b"x"), 46, b"\0\0"), "malformed")):
        cases.outbound(name, packet, "drop", reason)
    for dst in ("::", "::1", "::ffff:203.0.113.7", "fe80::7", "ff02::fb"):
        cases.outbound(f"to {dst}", from_agent(UDP(sport=27015, dport=53), dst=dst), "drop", "martian")
    for name, transport, payload in (
            ("echo reply", ICMPv6EchoReply(), b""), ("packet too big", ICMPv6PacketTooBig(), about(GATEWAY, SSH)),
            ("destination unreachable", ICMPv6DestUnreach(), about(GATEWAY, SSH)),
            ("time exceeded", ICMPv6TimeExceeded(), about(GATEWAY, SSH)), ("syn ack", answer, b""),
            ("segment", TCP(sport=8080, dport=4, flags="PA", ack=1), b"data")):
        cases.outbound(f"{name} to the gateway", from_agent(transport, payload, dst=GATEWAY), "pass", "answer")


def add_inbound_errors(cases):
    def error(name, icmp, sent, agent, port, quote=48, half=0, extensions=(), **ip):
        """sent: the packet as the internet saw it, of which quote bytes come back, and then half a checksum or nothing."""
        known = as_bytes(moved(sent, "src", agent, "sport", port, hops=0))[:quote]
        rest = as_bytes(sent)[quote:quote + half]
        ip = {"src": ROUTER, **ip}
        out = from_client(icmp, known + rest, extensions=extensions, **{**ip, "dst": agent})
        out.hlim -= 1
        cases.inbound(name, from_client(icmp, as_bytes(sent)[:quote] + rest, extensions=extensions, **ip), "tunnel",
                      "inbound_error", out=out)

    def sent(transport, payload=b"x" * 20, extensions=(), **ip):
        return from_agent(transport, payload, extensions, **{"src": PUBLIC, "hlim": 50, **ip})

    data = sent(TCP(sport=8080, dport=40000, flags="PA", ack=5))
    datagram = sent(UDP(sport=2222, dport=5000))
    error("packet too big", ICMPv6PacketTooBig(mtu=1280), data, WEB, 80)
    error("packet too big with the tcp checksum", ICMPv6PacketTooBig(mtu=1280), data, WEB, 80, quote=60)
    error("packet too big with half the tcp checksum", ICMPv6PacketTooBig(mtu=1280), data, WEB, 80, quote=56, half=1)
    error("packet too big about udp", ICMPv6PacketTooBig(mtu=1280), datagram, WEB, 53)
    error("packet too big, ports alike", ICMPv6PacketTooBig(mtu=1280), sent(UDP(sport=27015, dport=5)), SSH, 27015)
    error("packet too big, second address", ICMPv6PacketTooBig(mtu=1280), sent(UDP(sport=28000, dport=5), src=PUBLIC2), WEB, 28000,
          dst=PUBLIC2)
    error("port unreachable from the client", ICMPv6DestUnreach(code=4), datagram, WEB, 53, quote=68, src=CLIENT)
    error("time exceeded", ICMPv6TimeExceeded(), data, WEB, 80)
    error("parameter problem", ICMPv6ParamProblem(ptr=6), datagram, WEB, 53)
    error("error with extensions", ICMPv6PacketTooBig(mtu=1280), data, WEB, 80, extensions=[options(8, IPv6ExtHdrHopByHop), options(16)])
    extended = [options(16), IPv6ExtHdrFragment(id=5, m=1), options(8)]
    error("error about a packet with extensions", ICMPv6PacketTooBig(mtu=1280), sent(UDP(sport=2222, dport=5000), extensions=extended),
          WEB, 53, quote=40 + 32 + 8)
    error("error with and about extensions, of udp", ICMPv6PacketTooBig(mtu=1280),
          sent(UDP(sport=2222, dport=5000), extensions=[options(24)]), WEB, 53, quote=40 + 24 + 20, extensions=[options(8)])
    error("error with and about 128 bytes of extensions", ICMPv6PacketTooBig(mtu=1280),
          sent(TCP(sport=8080, dport=4, flags="A", ack=1), extensions=[options(128)]), WEB, 80, quote=40 + 128 + 20,
          extensions=[options(128)])
    quote = as_bytes(data)
    for name, icmp, quoted, ip in (
            ("echo reply with a quote", ICMPv6EchoReply(), quote, {}),
            ("error of another kind", ICMPv6DestUnreach(type=100), quote, {}),
            ("error about a port that is not published", ICMPv6PacketTooBig(), as_bytes(sent(ack(4, sport=22))), {}),
            ("error about another sender", ICMPv6PacketTooBig(), as_bytes(sent(ack(4, sport=8080), src="2001:db8:1::9")), {}),
            ("error about the other address", ICMPv6PacketTooBig(), as_bytes(sent(ack(4, sport=2222), src=PUBLIC2)), {}),
            ("error about a packet to an Agent", ICMPv6PacketTooBig(), as_bytes(sent(ack(4, sport=8080), dst=SSH)), {}),
            ("error about icmp", ICMPv6PacketTooBig(), as_bytes(sent(ICMPv6EchoReply())), {}),
            ("error about a later fragment", ICMPv6PacketTooBig(),
             as_bytes(sent(Raw(b"z" * 64), extensions=[IPv6ExtHdrFragment(nh=17, offset=100)])), {}),
            ("error about ipv4", ICMPv6PacketTooBig(), b"\x45" + bytes(59), {}),
            ("error with a short quote", ICMPv6PacketTooBig(), quote[:47], {}),
            ("error with a quote cut within its header", ICMPv6PacketTooBig(), quote[:39], {}),
            ("error without a quote", ICMPv6PacketTooBig(), b"", {}),
            ("error with quoted extensions cut off", ICMPv6PacketTooBig(), as_bytes(sent(ack(4, sport=8080), extensions=[options(64)]))[:60],
             {})):
        cases.inbound(name, from_client(icmp, quoted, **{"src": ROUTER, **ip}))
    for name, ip, reason in (
            ("error with hop limit 1", {"hlim": 1}, "ttl"), ("error from the link", {"src": "fe80::1"}, "martian"),
            ("error from the public address", {"src": PUBLIC2}, "martian"), ("error from the pool", {"src": WEB}, "pool_source")):
        cases.inbound(name, from_client(ICMPv6PacketTooBig(), quote[:60], **{"src": ROUTER, **ip}), "drop", reason)
    cases.inbound("fragment of an error", from_client(ICMPv6PacketTooBig(), quote[:60], extensions=[IPv6ExtHdrFragment(m=1)],
                                                      src=ROUTER), "pass", "fragment")


def add_outbound_errors(cases):
    def error(name, icmp, came, port, public=PUBLIC, quote=48, extensions=(), **ip):
        """came: the packet as the Agent got it."""
        known = moved(came, "dst", public, "dport", port, hops=0)
        ip = {"src": came.dst, **ip}
        out = from_agent(icmp, as_bytes(known)[:quote], extensions=extensions, **{**ip, "src": public})
        out.hlim -= 1
        cases.outbound(name, from_agent(icmp, as_bytes(came)[:quote], extensions=extensions, **ip), "nic", "outbound_error", out=out)

    datagram = from_client(UDP(sport=5000, dport=53), b"x" * 900, dst=WEB)
    data = from_client(ack(80), b"x" * 900, dst=WEB)
    error("port unreachable", ICMPv6DestUnreach(code=4), datagram, 2222)
    error("port unreachable with much of the datagram", ICMPv6DestUnreach(code=4), datagram, 2222, quote=948)
    error("port unreachable, second address", ICMPv6DestUnreach(code=4), from_client(UDP(sport=5, dport=28000), b"x", dst=WEB), 28000,
          PUBLIC2)
    error("packet too big from a router of the Agent", ICMPv6PacketTooBig(mtu=1280), data, 8080, src=inside("10.2.0.7"))
    error("quote with the tcp checksum", ICMPv6PacketTooBig(mtu=1280), data, 8080, quote=60)
    error("error with and about extensions, of udp", ICMPv6DestUnreach(code=4),
          from_client(UDP(sport=5000, dport=53), b"x", extensions=[options(128)], dst=WEB), 2222, quote=40 + 128 + 9,
          extensions=[options(24)])
    error("error with and about extensions", ICMPv6PacketTooBig(mtu=1280),
          from_client(ack(80), b"x", extensions=[options(24)], dst=WEB), 8080, quote=40 + 24 + 20, extensions=[options(8)])
    quote = as_bytes(datagram)[:48]
    for name, icmp, quoted, ip, reason in (
            ("echo reply with a quote", ICMPv6EchoReply(), quote, {}, "not_published"),
            ("error about a port that is not published", ICMPv6DestUnreach(),
             as_bytes(from_client(UDP(sport=5, dport=54), b"x", dst=WEB)), {}, "not_published"),
            ("error to another than the sender of the quote", ICMPv6DestUnreach(), quote, {"dst": "2001:db8:77::8"}, "not_published"),
            ("error about another Agent's port", ICMPv6DestUnreach(), quote, {"src": SSH}, "not_published"),
            ("error about what is no Agent's", ICMPv6DestUnreach(),
             as_bytes(from_client(UDP(sport=5, dport=53), b"x", dst="2001:db8::10.2.0.100")), {}, "not_published"),
            ("error with a short quote", ICMPv6DestUnreach(), quote[:47], {}, "not_published"),
            ("error to a neighbour", ICMPv6DestUnreach(), quote, {"dst": SSH}, "isolated"),
            ("error with hop limit 1", ICMPv6DestUnreach(), quote, {"hlim": 1}, "ttl"),
            ("error to the link", ICMPv6DestUnreach(), as_bytes(from_client(UDP(sport=5000, dport=53), src="fe80::7", dst=WEB))[:48],
             {"dst": "fe80::7"}, "martian")):
        cases.outbound(name, from_agent(icmp, quoted, **{"src": WEB, **ip}), "drop", reason)
    cases.outbound("fragment of an error", from_agent(ICMPv6DestUnreach(), quote, extensions=[IPv6ExtHdrFragment(m=1)], src=WEB),
                   "drop", "agent_fragment")


def add_too_big(cases):
    def told(name, packet, quote, l4=40, **more):
        """quote: bytes up to and with the transport checksum."""
        data = as_bytes(packet)
        out = IPv6(src=packet.dst, dst=CLIENT, hlim=64) / ICMPv6PacketTooBig(mtu=MTU) / Raw(data[:quote] + balance(data, l4, quote))
        cases.inbound(name, packet, "nic", "too_big", out=out, **more)

    told("udp too big", from_client(UDP(sport=5000, dport=27015), b"x" * 1373), 48)
    told("tcp too big", from_client(ack(8080), b"x" * 1400), 58)
    told("udp too big for the second address", from_client(UDP(sport=5000, dport=28000), b"x" * 3000, dst=PUBLIC2), 48)
    told("udp too big with extensions", from_client(UDP(sport=5000, dport=27015), b"x" * 1300, extensions=[options(128)]), 176, 168)
    told("first fragment too big", from_client(UDP(sport=5000, dport=27015, len=4000), b"x" * 1400,
                                               extensions=[IPv6ExtHdrFragment(m=1, id=1)]), 56, 48)
    told("segments too big", from_client(ack(8080, flags="A"), b"y" * 3000), 58, gso_size=1361)
    told("datagrams too big", from_client(UDP(sport=1, dport=27015), b"y" * 3000), 48, gso_size=1373)
    cases.to_agent("datagrams that fit", from_client(UDP(sport=1, dport=27015), b"y" * 2744), SSH, 27015, gso_size=1372)
    cases.to_agent("fits", from_client(UDP(sport=5000, dport=27015), b"x" * 1372), SSH, 27015)
    cases.inbound("too big for a port that is not published", from_client(UDP(sport=5000, dport=4), b"x" * 1400))
    cases.to_client("too big for the tunnel, from it", from_agent(UDP(sport=27015, dport=4), b"x" * 1400), 27015)


def pieces(packet, size=1200, **fragment):
    """The packet, which has no extensions, cut at every size bytes behind its header."""
    data = as_bytes(packet)
    for at in range(40, len(data), size):
        header = IPv6ExtHdrFragment(nh=packet.nh, offset=(at - 40) // 8, m=at + size < len(data), **fragment)
        yield IPv6(src=packet.src, dst=packet.dst, hlim=packet.hlim, tc=packet.tc, fl=packet.fl) / header / Raw(data[at:at + size])


def add_fragments(cases):
    def through(name, direction, packet, out, **fragment):
        verdict = {"inbound": "tunnel", "outbound": "nic"}[direction]
        add = cases.inbound if direction == "inbound" else cases.outbound
        for i, (piece, expected) in enumerate(zip(pieces(packet, **fragment), pieces(out, **fragment))):
            add(f"{name}, fragment {i}", piece, verdict, f"{direction}_fragment" if i else direction, out=expected)

    body = bytes(range(256)) * 14
    for number, (name, transport, agent, port, public) in enumerate((
            ("datagram", UDP(sport=5000, dport=27015), SSH, 27015, PUBLIC),
            ("datagram to another port", UDP(sport=5000, dport=2222), WEB, 53, PUBLIC),
            ("datagram to the second address", UDP(sport=5000, dport=28000), WEB, 28000, PUBLIC2),
            ("segment", ack(8080), WEB, 80, PUBLIC))):
        packet = from_client(transport, body, dst=public, nh=6 if TCP in transport else 17)
        through(name, "inbound", packet, moved(packet, "dst", agent, "dport", port), id=100 + number)
    for number, (name, transport, agent, port) in enumerate((
            ("datagram", UDP(sport=27015, dport=5000), SSH, 27015),
            ("datagram from another port", UDP(sport=53, dport=5000), WEB, 2222),
            ("segment", TCP(sport=80, dport=1, flags="PA", ack=9), WEB, 8080))):
        packet = from_agent(transport, body, src=agent, nh=6 if TCP in transport else 17)
        through(name, "outbound", packet, moved(packet, "src", PUBLIC, "sport", port), id=200 + number)

    def later(**fragment):
        return [IPv6ExtHdrFragment(**{"nh": 17, "offset": 150, "id": 100, **fragment})]

    rest = Raw(b"z" * 64)
    cases.inbound("fragment with hop limit 1", from_client(rest, extensions=later(), hlim=1), "drop", "ttl")
    cases.inbound("fragment of another packet", from_client(rest, extensions=later(id=99)), "pass", "fragment")
    cases.inbound("fragment of another client", from_client(rest, extensions=later(), src="2001:db8:77::8"), "pass", "fragment")
    # RFC 8200 section 4.5: only the first fragment's next header counts.
    out = from_client(rest, extensions=later(nh=60), dst=SSH)
    out.hlim -= 1
    cases.inbound("fragment that says another header", from_client(rest, extensions=later(nh=60)), "tunnel", "inbound_fragment", out=out)
    cases.inbound("fragment for another address", from_client(rest, extensions=later(), dst="2001:db8:1::3"))
    cases.inbound("fragment to an Agent", from_client(rest, extensions=later(), dst=SSH), "drop", "pool_destination")
    cases.inbound("first fragment without a whole header", from_client(Raw(bytes(as_bytes(from_client(syn()))[40:56])),
                                                                       extensions=[IPv6ExtHdrFragment(nh=6, m=1)]), "drop", "malformed")
    cases.outbound("fragment with hop limit 1", from_agent(rest, extensions=later(id=200), hlim=1), "drop", "ttl")
    cases.outbound("fragment of another packet", from_agent(rest, extensions=later(id=199)), "drop", "agent_fragment")
    cases.outbound("fragment of another Agent's packet", from_agent(rest, extensions=later(id=200), src=WEB), "drop", "agent_fragment")
    cases.outbound("first fragment that opens", from_agent(TCP(sport=2222, dport=4, flags="S"), extensions=[IPv6ExtHdrFragment(m=1)]),
                   "drop", "unsolicited")


def add_to(world):
    cases = Cases(world)
    add_inbound(cases)
    add_extensions(cases)
    add_inbound_others(cases)
    add_outbound(cases)
    add_outbound_others(cases)
    add_inbound_errors(cases)
    add_outbound_errors(cases)
    add_too_big(cases)
    add_fragments(cases)
