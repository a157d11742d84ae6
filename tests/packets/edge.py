#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Makes edge.json: packets that come to the edge, and what has to become of them. See generate.py, whose way this is.

A world has besides what it has there: the edge's settings and tables, and the ports that sockets of the gateway itself are
bound to. Its cases are one sequence, for some of them leave something behind for the next. "on" is the reason of what goes
on untouched. Of a packet that is sent back, "out" is what is of interest: link padding may follow.
"""

import json
import pathlib
import sys

from scapy.all import (ICMPv6EchoRequest, IP, IPOption_NOP, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, PadN, Raw, TCP, UDP, raw)

import ip6
from generate import CLIENT, LISTENERS, PUBLIC, SSH, as_bytes, from_client, patched, syn
from shared import family

NOW = 10**15 + 1                  # nanoseconds since the start: many windows and cookies' times
KEY = (0x0706050403020100, 0x0f0e0d0c0b0a0908)
FAR, FARTHER = "203.0.113.50", "192.0.2.51"
SOCKETS = [("tcp", 22), ("udp", 4500), ("tcp", 40001)]
MASK = 2**64 - 1


def siphash(key, words):
    """SipHash-2-4 of whole words, after Aumasson and Bernstein."""
    v0, v1, v2, v3 = (key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
                      key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573)

    def rotate(x, n):
        return (x << n | x >> (64 - n)) & MASK

    def sip_round(v0, v1, v2, v3):
        v0 = (v0 + v1) & MASK
        v2 = (v2 + v3) & MASK
        v1, v3 = rotate(v1, 13) ^ v0, rotate(v3, 16) ^ v2
        v0 = (rotate(v0, 32) + v3) & MASK
        v2 = (v2 + v1) & MASK
        v1, v3 = rotate(v1, 17) ^ v2, rotate(v3, 21) ^ v0
        return v0, v1, rotate(v2, 32), v3

    for word in [*words, (8 * len(words) % 256) << 56]:
        v3 ^= word
        for _ in range(2):
            v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
        v0 ^= word
    v2 ^= 0xff
    for _ in range(4):
        v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


# The vector of the paper's reference code for the key above and the bytes 0 to 7.
assert siphash(KEY, [0x0706050403020100]) == int.from_bytes(bytes.fromhex("6224939a79f5f593"), "little")


def cookie(packet, age=0):
    """Of the connection that a segment to us belongs to; words as a little-endian machine reads the fields."""
    def little(data):
        return int.from_bytes(data, "little")

    def pairs(data):
        return [little(data[i:i + 4]) << 32 | little(data[i + 4:i + 8]) for i in range(0, len(data), 8)]

    data = as_bytes(packet)
    start, addresses = (40, data[8:40]) if IPv6 in packet else ((data[0] & 15) * 4, data[12:20])
    words = [*pairs(addresses), (little(data[start:start + 2]) << 16 | little(data[start + 2:start + 4])) << 32 | (NOW >> 35) - age]
    return int.from_bytes((siphash(KEY, words) & 0xffffffff).to_bytes(4, "little"), "big")


def challenge(opening):
    """The window makes the checksum that of the pseudo header: it is taken from there, and scapy counts the checksum."""
    ends = {"src": opening[family(opening)].dst, "dst": opening[family(opening)].src}
    header = IPv6(**ends, hlim=64) if IPv6 in opening else IP(**ends, ttl=64, id=0, flags="DF")
    answer = header / TCP(sport=opening[TCP].dport, dport=opening[TCP].sport, seq=0, ack=cookie(opening), flags="A", window=0)
    addresses, segment = (raw(answer)[8:40], 40) if IPv6 in opening else (raw(answer)[12:20], 20)

    def total(data):
        value = sum(int.from_bytes(data[i:i + 2], "big") for i in range(0, len(data), 2))
        while value >> 16:
            value = (value & 0xffff) + (value >> 16)
        return value

    wanted = total(addresses + b"\0\6\0\x14")
    header = bytearray(raw(answer)[segment:segment + 20])
    header[16:18] = b"\0\0"
    answer[TCP].window = ~total((2 * wanted + total(bytes(header))).to_bytes(4, "big")) & 0xffff
    if int.from_bytes(raw(answer)[segment + 16:segment + 18], "big") != wanted:
        raise ValueError("the window does not make the checksum that of the pseudo header")
    return answer


def proof(opening, age=0, **tcp):
    reset = TCP(sport=opening[TCP].sport, dport=opening[TCP].dport, seq=cookie(opening, age), flags="R", window=0, **tcp)
    return (ip6.from_client if IPv6 in opening else from_client)(reset, src=opening[family(opening)].src)


class Edge:
    def __init__(self, name, features=("closed_ports",), listeners=LISTENERS, settings=(), **edge):
        self.name, self.listeners, self.settings, self.cases = name, listeners, dict(settings), []
        self.edge = {"now": NOW, "features": list(features), "syn_rate": 0, "ephemeral": 32768, "cookie_key": list(KEY),
                     "relays": [], "verified": [], "bans": [], "lists": [], "policies": {}, **edge}

    def add(self, name, packet, verdict="pass", reason="on", out=None):
        case = {"name": name, "in": as_bytes(packet).hex(), "verdict": verdict, "reason": reason}
        if out is not None:
            case["out"] = as_bytes(out).hex()
        self.cases.append(case)

    def dropped(self, name, packet, reason):
        self.add(name, packet, "drop", reason)

    def as_json(self):
        keys = ("protocol", "port", "agent", "agent_port", "service", "address")
        settings = {"addresses": [PUBLIC], "pool": "10.0.0.0/8", "host": 1, "mtu": 1420, **self.settings}
        return {"name": self.name, "settings": settings,
                "listeners": [dict(zip(keys, listener)) for listener in self.listeners], "edge": self.edge,
                "sockets": [dict(zip(("protocol", "port"), s)) for s in SOCKETS], "cases": self.cases}


def plain():
    """Malformed packets and closed ports."""
    w = Edge("checks")
    w.add("syn to a published port", from_client(syn()))
    w.add("syn to our own port", from_client(syn(22)))
    w.add("segment to our own port", from_client(TCP(sport=1, dport=22, flags="A", ack=5), b"ls"))
    w.add("answer to a connection of our own", from_client(TCP(sport=443, dport=40001, flags="SA", ack=5)))
    w.add("datagram to our own port", from_client(UDP(sport=500, dport=4500), b"ike"))
    w.add("datagram to an ephemeral port", from_client(UDP(sport=53, dport=32768), b"dns"))
    w.dropped("datagram below the ephemeral ports", from_client(UDP(sport=53, dport=32767), b"dns"), "closed_port")
    w.dropped("syn to a closed port", from_client(syn(23)), "closed_port")
    w.dropped("syn to port 0", from_client(syn(0)), "closed_port")
    w.dropped("syn with much besides", from_client(TCP(sport=1, dport=23, flags="SEC")), "closed_port")
    w.dropped("datagram to a closed port", from_client(UDP(sport=1, dport=161), b"x"), "closed_port")
    w.dropped("datagram to the port that tcp has", from_client(UDP(sport=1, dport=22), b"x"), "closed_port")
    w.dropped("syn to the port that udp has", from_client(syn(4500)), "closed_port")
    w.dropped("first fragment to a closed port", from_client(UDP(sport=1, dport=161, len=3000), b"x" * 64, flags="MF"), "closed_port")
    w.add("syn and ack to a closed port", from_client(TCP(sport=1, dport=23, flags="SA", ack=1)))
    w.add("segment to a closed port", from_client(TCP(sport=1, dport=23, flags="A", ack=1)))
    w.add("reset to a closed port", from_client(TCP(sport=1, dport=23, flags="R")))
    w.add("syn to a closed port of another address", from_client(syn(23), dst="198.51.100.2"))
    w.add("icmp", IP(src=CLIENT, dst=PUBLIC, proto=1) / Raw(b"\x08\0\xf7\xff\0\0\0\0"))
    w.add("gre", IP(src=CLIENT, dst=PUBLIC, proto=47) / Raw(b"\0" * 8))
    w.add("nothing", IP(src=CLIENT, dst=PUBLIC, proto=59))
    whole = from_client(syn())
    for name, packet in (
            ("header below 20 bytes", patched(whole, 0, b"\x44")), ("header beyond the packet", patched(whole, 0, b"\x4f")[:44]),
            ("length below the header", patched(whole, 2, b"\0\x13")), ("length beyond the packet", patched(whole, 2, b"\xff\xff")),
            ("half a transport header", from_client(Raw(b"\0\1\x08"), proto=6)),
            ("tcp header below 20 bytes", patched(whole, 32, b"\x40")), ("tcp header beyond the packet", patched(whole, 32, b"\xf0")),
            ("udp length below 8", from_client(UDP(sport=1, dport=27015, len=7), b"x")),
            ("udp length beyond the packet", from_client(UDP(sport=1, dport=27015, len=10), b"x")),
            ("no flags", from_client(TCP(sport=1, dport=2222, flags=0))), ("fin alone", from_client(TCP(sport=1, dport=2222, flags="F"))),
            ("all flags of a christmas tree", from_client(TCP(sport=1, dport=2222, flags="FPU"))),
            ("syn and fin", from_client(TCP(sport=1, dport=2222, flags="SF"))),
            ("syn and reset", from_client(TCP(sport=1, dport=2222, flags="SR"))),
            ("syn, fin and ack", from_client(TCP(sport=1, dport=22, flags="SFA"))),
            ("tcp from port 0", from_client(TCP(sport=0, dport=22, flags="S"))),
            ("fragment over tcp's flags", from_client(Raw(b"x" * 64), proto=6, frag=1, flags=0)),
            ("fragment beyond 64 KiB", from_client(Raw(b"x" * 64), proto=17, frag=8190, flags=0))):
        w.dropped(name, packet, "malformed")
    w.add("udp from port 0", from_client(UDP(sport=0, dport=27015), b"x"))
    w.add("later fragment", from_client(Raw(b"x" * 64), proto=17, frag=100, flags=0))
    w.add("last fragment of 64 KiB", from_client(Raw(b"x" * 7), proto=17, frag=8188, flags=0))
    w.add("broken, to another address", patched(from_client(syn(), dst="198.51.100.2"), 2, b"\xff\xff"))
    w.add("padding", raw(from_client(TCP(sport=1, dport=2222, flags="A", ack=1))) + bytes(6))
    yield w

    off = Edge("closed ports are the stack's", features=())
    off.add("syn to a closed port", from_client(syn(23)))
    off.add("datagram to a closed port", from_client(UDP(sport=1, dport=161), b"x"))
    off.dropped("no flags", from_client(TCP(sport=1, dport=23, flags=0)), "malformed")
    yield off


def floods():
    w = Edge("flood", features=("syn_cookies",), syn_rate=3, verified=[{"source": FAR, "until": NOW + 1},
                                                                      {"source": FARTHER, "until": NOW}])
    openings = [from_client(TCP(sport=1000 + i, dport=2222, flags="S", seq=i, options=[("MSS", 1460), ("Timestamp", (i, 0))]))
                for i in range(6)]
    w.add("reset before the flood, with a cookie", proof(openings[0]))
    for i in range(3):
        w.add(f"syn {i} within the rate", openings[i])
    for i in range(3, 5):
        w.add(f"syn {i} beyond the rate", openings[i], "back", "syn_challenge", challenge(openings[i]))
    w.add("syn to another service", from_client(syn(8080)))
    w.add("segment", from_client(TCP(sport=1, dport=2222, flags="A", ack=5)))
    w.add("syn of a verified source", from_client(syn(), src=FAR))
    late = from_client(syn(), src=FARTHER)
    w.add("syn of a source that was verified", late, "back", "syn_challenge", challenge(late))
    for name, packet in (("options and data", from_client(TCP(sport=9, dport=2222, flags="S"), b"fast open")),
                         ("no options", from_client(TCP(sport=9, dport=2222, flags="S"))),
                         ("ip options", from_client(TCP(sport=9, dport=2222, flags="SEC"), options=[IPOption_NOP()] * 40)),
                         ("all options", from_client(TCP(sport=9, dport=2222, flags="S", options=[("NOP", None)] * 40)))):
        w.add(f"syn with {name}", packet, "back", "syn_challenge", challenge(packet))
    for name, source in (("loopback", "127.0.0.1"), ("a group", "224.0.0.1"), ("the gateway", PUBLIC), ("an Agent", SSH)):
        w.add(f"syn from {name} is not answered", from_client(syn(), src=source))
    w.add("syn with ttl 1 is not answered", from_client(syn(), ttl=1))
    w.add("reset without a cookie", from_client(TCP(sport=1003, dport=2222, flags="R", seq=4711)))
    w.add("reset with another connection's cookie", patched(proof(openings[3]), 20, b"\x03\xec"))
    w.add("reset with the cookie, and ack", from_client(TCP(sport=1003, dport=2222, flags="RA", seq=cookie(openings[3]), ack=1)))
    w.add("reset with a cookie of long ago", proof(openings[3], age=2))
    w.add("syn before the proof", openings[3], "back", "syn_challenge", challenge(openings[3]))
    w.dropped("reset with the cookie", proof(openings[3]), "syn_proof")
    w.add("syn after the proof", openings[3])
    w.add("another one of the source", openings[5])
    other = from_client(syn(), src="203.0.113.99")
    w.dropped("reset with the cookie of the time before", proof(other, age=1), "syn_proof")
    w.add("syn after that", other)
    yield w

    off = Edge("no flood is looked for", features=("syn_cookies",), syn_rate=0)
    for i in range(5):
        off.add(f"syn {i}", openings[i])
    yield off

    own = Edge("a rate of the service's own", features=("syn_cookies",), syn_rate=0,
               policies={"1": {"service": 1, "syn_rate": 1}})
    own.add("first syn", openings[0])
    own.add("second syn", openings[1], "back", "syn_challenge", challenge(openings[1]))
    for i in range(3):
        own.add(f"syn {i} to a service without", from_client(syn(8080)))
    yield own


def relays():
    """A at FAR and B at FARTHER have a session with ports 3478 and 3479; that of the third has ended."""
    def entry(address, port, at, peer, peer_port, peer_at, until=NOW + 10**9):
        return {"address": address, "port": port, "at": at, "peer": peer, "peer_port": peer_port, "peer_at": peer_at, "until": until}

    w = Edge("relay", features=("relay", "closed_ports"),
             relays=[entry(FAR, 51820, 3478, FARTHER, 40000, 3479), entry(FARTHER, 40000, 3479, FAR, 51820, 3478),
                     entry(FAR, 51820, 3480, CLIENT, 9, 3481), entry(CLIENT, 9, 3481, FAR, 51820, 3480, until=NOW),
                     entry(FAR, 51820, 3482, CLIENT, 10, 3483)])

    def a_to_b(payload, **udp):
        return from_client(UDP(sport=51820, dport=3478, **udp), payload, src=FAR)

    def b_to_a(payload, **ip):
        return from_client(UDP(sport=40000, dport=3479), payload, **{"src": FARTHER, **ip})

    def on(packet, source_port, to, port):
        out = packet.copy()
        out[IP].src, out[IP].dst, out[IP].ttl = packet[IP].dst, to, packet[IP].ttl - 1
        out[UDP].sport, out[UDP].dport = source_port, port
        return out

    def relayed(name, packet, source_port, to, port):
        w.add(name, packet, "back", "relayed", on(packet, source_port, to, port))

    w.dropped("to an end that has not been heard", a_to_b(b"handshake"), "relay_unheard")
    relayed("from the end that was not heard", b_to_a(b"handshake"), 3478, FAR, 51820)
    relayed("and now to it", a_to_b(b"answer"), 3479, FARTHER, 40000)
    relayed("odd length", a_to_b(b"odd"), 3479, FARTHER, 40000)
    relayed("nothing", a_to_b(b""), 3479, FARTHER, 40000)
    relayed("full size", a_to_b(b"x" * 1472), 3479, FARTHER, 40000)
    relayed("without a checksum", a_to_b(b"data", chksum=0), 3479, FARTHER, 40000)
    relayed("with ip options", b_to_a(b"data", options=[IPOption_NOP()] * 8), 3478, FAR, 51820)
    w.dropped("ttl 1", b_to_a(b"data", ttl=1), "ttl")
    w.dropped("to an end whose entry has ended", from_client(UDP(sport=51820, dport=3480), b"x", src=FAR), "relay_unheard")
    w.dropped("from an end whose entry has ended", from_client(UDP(sport=9, dport=3481), b"x"), "closed_port")
    w.dropped("to an end that was not entered", from_client(UDP(sport=51820, dport=3482), b"x", src=FAR), "relay_unheard")
    w.dropped("from another address", from_client(UDP(sport=51820, dport=3478), b"x"), "closed_port")
    w.dropped("from another port", from_client(UDP(sport=51821, dport=3478), b"x", src=FAR), "closed_port")
    w.dropped("to the other one's port", from_client(UDP(sport=51820, dport=3479), b"x", src=FAR), "closed_port")
    w.dropped("first fragment", from_client(UDP(sport=51820, dport=3478, len=3000), b"x" * 64, src=FAR, flags="MF"), "closed_port")
    w.add("syn", from_client(TCP(sport=51820, dport=3478, flags="A", ack=1), src=FAR))
    yield w


def guards():
    w = Edge("lists and bans", features=("closed_ports", "list", "bans"),
             lists=[{"list": 0, "prefix": "203.0.113.64/26", "verdict": "deny"}],
             bans=[{"source": "203.0.113.10", "service": 0, "until": NOW + 1}, {"source": "203.0.113.11", "service": 0, "until": NOW}],
             policies={"1": {"service": 1, "packet_interval": 10**9, "packet_slack": 2 * 10**9}})
    w.add("of nobody's list", from_client(syn(8080)))
    w.dropped("denied", from_client(syn(), src="203.0.113.99"), "denied")
    w.dropped("datagram denied", from_client(UDP(sport=1, dport=27015), b"x", src="203.0.113.98"), "denied")
    w.dropped("segment of a banned source", from_client(TCP(sport=1, dport=2222, flags="A", ack=5), src="203.0.113.10"), "banned")
    w.add("denied, but to our own port", from_client(syn(22), src="203.0.113.99"))
    w.dropped("banned", from_client(UDP(sport=1, dport=27015), b"x", src="203.0.113.10"), "banned")
    w.add("banned, but to our own port", from_client(UDP(sport=1, dport=4500), b"x", src="203.0.113.10"))
    w.add("ban has ended", from_client(syn(8080), src="203.0.113.11"))
    for i in range(3):
        w.add(f"packet {i} within the limit", from_client(syn(), src=FAR))
    w.dropped("packet beyond the limit", from_client(syn(), src=FAR), "limited_packets")
    w.add("packet of another source", from_client(syn(), src=FARTHER))
    yield w

    opens = Edge("limit of new connections", policies={"1": {"service": 1, "connection_interval": 10**9, "connection_slack": 0}})
    opens.add("first", from_client(syn()))
    opens.dropped("second", from_client(syn()), "limited_connections")
    opens.add("segment", from_client(TCP(sport=40000, dport=2222, flags="A", ack=5)))
    yield opens


def of_ip6():
    """The same checks of IPv6, where a header may stand between: RFC 8200 sections 4.5 and 8.1."""
    settings = {"addresses6": [ip6.PUBLIC], "pool6": ip6.POOL}
    listeners = [listener for listener in ip6.LISTENERS if listener[-1] == ip6.PUBLIC]
    client = ip6.from_client
    far, banned, over = "2001:db8:50::50", "2001:db8:bad::1", "2001:db8:bad:0:1::2"
    w = Edge("checks of IPv6", features=("closed_ports", "bans"), settings=settings, listeners=listeners,
             bans=[{"source": "2001:db8:bad::", "service": 0, "until": NOW + 1}])
    options = IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])
    w.add("syn to a published port", client(syn()))
    w.add("syn behind options", client(syn(), extensions=[options]))
    w.add("syn to our own port", client(syn(22)))
    w.add("datagram to our own port", client(UDP(sport=500, dport=4500), b"ike"))
    w.add("datagram to an ephemeral port", client(UDP(sport=53, dport=32768), b"dns"))
    w.dropped("syn to a closed port", client(syn(23)), "closed_port")
    w.dropped("syn to a closed port behind options", client(syn(23), extensions=[options]), "closed_port")
    w.dropped("datagram to a closed port", client(UDP(sport=1, dport=161), b"x"), "closed_port")
    w.add("segment to a closed port", client(TCP(sport=1, dport=23, flags="A", ack=1)))
    w.add("syn to a closed port of another address", client(syn(23), dst=ip6.PUBLIC2))
    w.add("echo", client(ICMPv6EchoRequest()))
    w.dropped("no flags", client(TCP(sport=1, dport=2222, flags=0)), "malformed")
    w.dropped("syn and fin", client(TCP(sport=1, dport=2222, flags="SF")), "malformed")
    w.dropped("no flags behind options", client(TCP(sport=1, dport=2222, flags=0), extensions=[options]), "malformed")
    w.dropped("length beyond the packet", patched(client(syn()), 4, b"\xff\xff"), "malformed")
    w.dropped("udp length below 8", client(UDP(sport=1, dport=27015, len=7), b"x"), "malformed")
    w.dropped("tcp header below 20 bytes", patched(client(syn()), 52, b"\x40"), "malformed")
    w.add("later fragment", client(Raw(b"x" * 64), extensions=[IPv6ExtHdrFragment(nh=17, offset=100, id=7)]))
    w.dropped("banned", client(UDP(sport=1, dport=27015), b"x", src=banned), "banned")
    w.dropped("banned with its /64", client(syn(), src="2001:db8:bad::ffff"), "banned")
    w.add("banned, but to our own port", client(syn(22), src=banned))
    w.add("another /64", client(syn(), src=over.replace("bad:0:1", "bad:1:0")))
    w.add("somebody else", client(syn(), src=far))
    yield w


def floods6():
    """A flood in IPv6: whoever proves himself proves his /64."""
    settings = {"addresses6": [ip6.PUBLIC], "pool6": ip6.POOL}
    listeners = [listener for listener in ip6.LISTENERS if listener[-1] == ip6.PUBLIC]
    far, neighbour = "2001:db8:50::50", "2001:db8:50::51"
    w = Edge("flood in IPv6", features=("syn_cookies",), settings=settings, listeners=listeners, syn_rate=2,
             verified=[{"source": "2001:db8:51::", "until": NOW + 1}])
    openings = [ip6.from_client(TCP(sport=1000 + i, dport=2222, flags="S", seq=i, options=[("MSS", 1440), ("SAckOK", b""),
                                                                                           ("Timestamp", (i, 0)), ("WScale", 7)]))
                for i in range(4)]
    extended = ip6.from_client(syn(), extensions=[IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])])
    for i in range(2):
        w.add(f"syn {i} within the rate", openings[i])
    w.add("syn beyond the rate", openings[2], "back", "syn_challenge", challenge(openings[2]))
    plain_one = ip6.from_client(TCP(sport=9, dport=2222, flags="S"))
    w.add("syn without options", plain_one, "back", "syn_challenge", challenge(plain_one))
    w.add("syn behind options", extended, "back", "syn_challenge", challenge(ip6.from_client(syn())))
    w.add("syn of a verified /64", ip6.from_client(syn(), src="2001:db8:51::9"))
    w.add("syn from the link is not answered", ip6.from_client(syn(), src="fe80::1"))
    w.add("syn with hop limit 1 is not answered", ip6.from_client(syn(), hlim=1))
    w.add("segment", ip6.from_client(TCP(sport=1, dport=2222, flags="A", ack=5)))
    w.add("reset without a cookie", ip6.from_client(TCP(sport=1002, dport=2222, flags="R", seq=4711)))
    w.add("reset with a cookie of long ago", proof(openings[2], age=2))
    w.dropped("reset with the cookie", proof(openings[2]), "syn_proof")
    w.add("syn after the proof", openings[2])
    other = ip6.from_client(syn(), src=far)
    w.add("syn of another /64", other, "back", "syn_challenge", challenge(other))
    w.dropped("reset with the cookie of the time before", proof(other, age=1), "syn_proof")
    w.add("syn of its neighbour", ip6.from_client(syn(), src=neighbour))
    yield w


def relays6():
    settings = {"addresses6": [ip6.PUBLIC], "pool6": ip6.POOL}
    a, b = "2001:db8:50::50", "2001:db8:60::60"
    until = NOW + 10**9
    w = Edge("relay in IPv6", features=("relay", "closed_ports"), settings=settings, relays=[
        {"address": a, "port": 51820, "at": 3478, "peer": b, "peer_port": 40000, "peer_at": 3479, "until": until},
        {"address": b, "port": 40000, "at": 3479, "peer": a, "peer_port": 51820, "peer_at": 3478, "until": until}])

    def from_a(payload, **ip):
        return ip6.from_client(UDP(sport=51820, dport=3478), payload, **{"src": a, **ip})

    def from_b(payload, **ip):
        return ip6.from_client(UDP(sport=40000, dport=3479), payload, **{"src": b, **ip})

    def relayed(name, packet, source_port, to, port):
        out = packet.copy()
        out.src, out.dst, out.hlim = packet.dst, to, packet.hlim - 1
        out[UDP].sport, out[UDP].dport = source_port, port
        w.add(name, packet, "back", "relayed", out)

    w.dropped("to an end that has not been heard", from_a(b"handshake"), "relay_unheard")
    relayed("from the end that was not heard", from_b(b"handshake"), 3478, a, 51820)
    relayed("and now to it", from_a(b"answer!"), 3479, b, 40000)
    relayed("full size", from_a(b"x" * 1452), 3479, b, 40000)
    relayed("behind options", from_b(b"data", extensions=[IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])]), 3478, a, 51820)
    w.dropped("hop limit 1", from_b(b"data", hlim=1), "ttl")
    w.dropped("from another address", from_a(b"x", src=ip6.CLIENT), "closed_port")
    w.dropped("first fragment", from_a(b"x" * 64, extensions=[IPv6ExtHdrFragment(m=1)]), "closed_port")
    yield w


def guards6():
    settings = {"addresses6": [ip6.PUBLIC], "pool6": ip6.POOL}
    listeners = [listener for listener in ip6.LISTENERS if listener[-1] == ip6.PUBLIC]
    a, neighbour, b = "2001:db8:50::50", "2001:db8:50::51", "2001:db8:60::60"
    w = Edge("lists and bans of IPv6", features=("list", "bans", "service_bans"), settings=settings, listeners=listeners,
             lists=[{"list": 0, "prefix": "2001:db8:bad::/48", "verdict": "deny"}, {"list": 0, "prefix": "0.0.0.0/0", "verdict": "deny"},
                    {"list": 3, "prefix": "2001:db8:50::/48", "verdict": "deny"}, {"list": 3, "prefix": "2001:db8:50::50/128", "verdict": "allow"},
                    {"list": 4, "prefix": "2001:db8:60::/48", "verdict": "allow"}],
             bans=[{"source": "2001:db8:77:1::", "service": 0, "until": NOW + 1}, {"source": "2001:db8:77:2::", "service": 5, "until": NOW + 1}],
             policies={"1": {"service": 1, "packet_interval": 10**9, "packet_slack": 2 * 10**9},
                       "2": {"service": 2, "list": 3}, "3": {"service": 12, "list": 4, "deny_others": True},
                       "4": {"service": 6, "connection_interval": 10**9, "connection_slack": 0}})
    w.add("of nobody's list", ip6.from_client(syn(8080)))
    w.dropped("denied by the gateway", ip6.from_client(syn(8080), src="2001:db8:bad:7::1"), "denied")
    w.dropped("datagram denied by the gateway", ip6.from_client(UDP(sport=1, dport=27015), b"x", src="2001:db8:bad:7::2"), "denied")
    w.dropped("denied by the service", ip6.from_client(syn(8080), src=neighbour), "denied")
    w.add("the longer prefix lets it in", ip6.from_client(syn(8080), src=a))
    w.add("allowed where others are not", ip6.from_client(syn(443), src=b))
    w.dropped("one of the others", ip6.from_client(syn(443)), "denied")
    w.dropped("banned with its /64", ip6.from_client(UDP(sport=1, dport=27015), b"x", src="2001:db8:77:1::9"), "banned")
    w.dropped("banned from the service", ip6.from_client(UDP(sport=1, dport=27015), b"x", src="2001:db8:77:2::9"), "banned")
    w.add("but not from another", ip6.from_client(UDP(sport=1, dport=2222), b"x", src="2001:db8:77:2::9"))
    for i, source in enumerate((a, neighbour, a)):
        w.add(f"packet {i} within the limit of the /64", ip6.from_client(syn(), src=source))
    w.dropped("packet beyond it", ip6.from_client(syn(), src=neighbour), "limited_packets")
    w.add("packet of another /64", ip6.from_client(syn(), src=b))
    yield w

    opens = Edge("limit of new connections in IPv6", settings=settings, listeners=listeners,
                 policies={"1": {"service": 1, "connection_interval": 10**9, "connection_slack": 0}})
    opens.add("first", ip6.from_client(syn(), src=a))
    opens.dropped("second, of the /64", ip6.from_client(syn(), src=neighbour), "limited_connections")
    opens.add("segment", ip6.from_client(TCP(sport=40000, dport=2222, flags="A", ack=5), src=a))
    yield opens


def text():
    worlds = [*plain(), *floods(), *relays(), *guards(), *of_ip6(), *floods6(), *relays6(), *guards6()]
    return json.dumps({"licence": "SPDX-License-Identifier: MIT", "worlds": [w.as_json() for w in worlds]}, indent=1) + "\n"


def main():
    if sys.argv[1:] == ["--check"]:
        return 0 if pathlib.Path(__file__).with_name("edge.json").read_text() == text() else 1
    sys.stdout.write(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
