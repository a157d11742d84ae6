#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Makes cases.json: packets, tables, and what has to become of the packets.

Expected packets are put together by scapy from the wanted fields, with checksums counted over the whole packet: nothing
here knows how the forwarding core rewrites. `generate.py` prints the file, `generate.py --check` compares it with the one
beside it, `generate.py --corpus DIRECTORY [--tables]` writes the packets in as inputs of the fuzzers.

A world is settings, listeners and cases. A case is a packet from its IP header on, the direction it comes from, the
verdict and reason, and the packet that goes out where one does (an untouched one where it is left out).
"""

import json
import pathlib
import struct
import sys
import zlib

from scapy.all import ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_RR, IPv6, Raw, raw

import ip6
import shared
from wire import as_bytes, balance, patched, unpad, with_sum_error

PUBLIC = "198.51.100.1"
CLIENT = "203.0.113.7"
ROUTER = "192.0.2.33"             # on the client's side
SSH, WEB = "10.1.0.100", "10.2.0.100"
LISTENERS = [
    # protocol, port, Agent, its port, service
    ("tcp", 2222, SSH, 2222, 1),
    ("tcp", 8080, WEB, 80, 2),
    ("tcp", 80, SSH, 80, 3),          # the Agent port that the other Agent has behind 8080
    ("tcp", 65535, WEB, 1, 4),
    ("udp", 27015, SSH, 27015, 5),
    ("udp", 2222, WEB, 53, 6),
    ("udp", 1, WEB, 65535, 7),
    ("tcp", 3000, WEB, 2222, 8),      # Agent port 2222 of another Agent than that of port 2222
]
PUBLIC2 = "198.51.100.77"
SECOND = [
    ("tcp", 2222, WEB, 22, 9, PUBLIC2),
    ("udp", 28000, WEB, 28000, 10, PUBLIC2),    # the same port inside and outside, but not of the first address
    ("tcp", 7000, WEB, 7000, 11, PUBLIC2),      # a port that the first address has not
]


class World:
    def __init__(self, name, listeners, groups=(), **settings):
        self.name, self.listeners, self.groups, self.cases = name, listeners, list(groups), []
        self.settings = {"addresses": [PUBLIC], "pool": "10.0.0.0/8", "host": 1, "mtu": 1420, **settings}

    def add(self, name, direction, packet, verdict, reason, out=None, **more):
        case = {"name": name, "direction": direction, "in": as_bytes(packet).hex(), "verdict": verdict,
                "reason": reason, **more}
        if out is not None:
            case["out"] = as_bytes(out).hex()
        if (name, direction) in ((other["name"], other["direction"]) for other in self.cases):
            raise ValueError(f"two cases are called {name}")
        self.cases.append(case)

    def inbound(self, name, packet, verdict="pass", reason="not_ours", **more):
        self.add(name, "inbound", packet, verdict, reason, **more)

    def outbound(self, name, packet, verdict="drop", reason="not_published", **more):
        self.add(name, "outbound", packet, verdict, reason, **more)

    def to_agent(self, name, packet, agent, port, out=None, **more):
        """packet goes to the Agent: scapy counts the checksums of a copy with other fields."""
        out = out or clamped(moved(packet, "dst", agent, "dport", port), self.settings["mtu"])
        self.inbound(name, packet, "tunnel", "inbound", out=out, **more)

    def to_client(self, name, packet, port, out=None, **more):
        out = out or clamped(moved(packet, "src", PUBLIC, "sport", port), self.settings["mtu"])
        self.outbound(name, packet, "nic", "outbound", out=out, **more)

    def as_json(self):
        keys = ("protocol", "port", "agent", "agent_port", "service", "address")
        listeners = [listener if isinstance(listener, dict) else dict(zip(keys, listener)) for listener in self.listeners]
        return {"name": self.name, "settings": self.settings, "listeners": listeners, "groups": self.groups,
                "cases": self.cases}


def moved(packet, address_field, address, port_field, port, hops=1):
    out = packet.copy()
    out[IP].setfieldval(address_field, address)
    out[IP].ttl -= hops
    transport = out[TCP] if TCP in out else out[UDP]
    transport.setfieldval(port_field, port)
    unpad(out)
    return out


def clamped(packet, mtu):
    """A segment that opens a connection announces no more than fits into the tunnel."""
    if TCP in packet and packet[TCP].flags.S and mtu:
        packet[TCP].options = [("MSS", min(value, mtu - 40)) if name == "MSS" else (name, value)
                               for name, value in packet[TCP].options]
    return packet


def from_client(transport, payload=b"", **ip):
    return IP(**{"src": CLIENT, "dst": PUBLIC, "ttl": 57, "id": 4711, "flags": "DF", **ip}) / transport / Raw(payload)


def from_agent(transport, payload=b"", **ip):
    return IP(**{"src": SSH, "dst": CLIENT, "ttl": 64, "id": 815, "flags": "DF", **ip}) / transport / Raw(payload)


def too_big(mtu=1280):
    return ICMP(type=3, code=4, nexthopmtu=mtu)


def about(source, dest, icmp=None):
    """What an Agent tells its gateway of a datagram that went from source to dest."""
    quoted = as_bytes(IP(src=source, dst=dest, ttl=60) / UDP(sport=51820, dport=5, len=1400))
    return from_agent(icmp or too_big(), quoted, dst="10.1.0.1")


def syn(port=2222):
    return TCP(sport=40000, dport=port, flags="S", seq=1000,
               options=[("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)])


def add_inbound(world):
    world.to_agent("tcp syn", from_client(syn()), SSH, 2222)
    world.to_agent("tcp to another port of the Agent", from_client(syn(8080)), WEB, 80)
    world.to_agent("tcp to the port that another service has inside", from_client(syn(80)), SSH, 80)
    world.to_agent("tcp highest port", from_client(syn(65535)), WEB, 1)
    world.to_agent("tcp with payload", from_client(TCP(sport=1, dport=8080, flags="PA", ack=9), b"x" * 1380), WEB, 80)
    world.to_agent("tcp with odd payload", from_client(TCP(sport=1, dport=8080, flags="PA", ack=9), b"xyz"), WEB, 80)
    world.to_agent("tcp fin and urgent", from_client(TCP(sport=1, dport=3000, flags="FAU", urgptr=3)), WEB, 2222)
    world.to_agent("tcp keeps tos and id", from_client(syn(), tos=0xb9, id=0xffff, flags=0), SSH, 2222)
    world.to_agent("tcp ttl 2", from_client(syn(), ttl=2), SSH, 2222)
    world.to_agent("tcp ttl 255", from_client(syn(), ttl=255), SSH, 2222)
    world.to_agent("udp", from_client(UDP(sport=5000, dport=27015), b"ping"), SSH, 27015)
    world.to_agent("udp to another port", from_client(UDP(sport=5000, dport=2222), b"ping!"), WEB, 53)
    world.to_agent("udp empty", from_client(UDP(sport=5000, dport=1)), WEB, 65535)
    zero = from_client(UDP(sport=5000, dport=2222, chksum=0), b"no checksum")
    world.to_agent("udp without a checksum", zero, WEB, 53)
    world.to_agent("udp shorter than its IP packet", from_client(UDP(sport=5, dport=27015, len=12), b"ping" + b"rest"),
                   SSH, 27015)
    options = [IPOption_NOP(), IPOption_RR(pointer=4, routers=["0.0.0.0"])]
    world.to_agent("ip options", from_client(syn(), options=options), SSH, 2222)
    world.to_agent("forty bytes of ip options", from_client(UDP(sport=5, dport=2222), b"data", options=[IPOption_NOP()] * 40),
                   WEB, 53)
    ack = from_client(TCP(sport=1, dport=8080, flags="A", ack=9))
    padded = IP(raw(ack) + bytes(6))
    world.to_agent("padding of a short frame is cut off", padded, WEB, 80,
                   out=moved(ack, "dst", WEB, "dport", 80))
    before = from_client(syn(8080))
    after = clamped(moved(before, "dst", WEB, "dport", 80), 1420)
    broken, still = with_sum_error(before, after, 36)
    world.to_agent("wrong tcp checksum stays wrong", broken, WEB, 80, out=still)
    broken, still = with_sum_error(before, after, 10)
    world.to_agent("wrong header checksum stays wrong", broken, WEB, 80, out=still)
    big = from_client(TCP(sport=1, dport=8080, flags="A", ack=9), b"y" * 3000)
    world.to_agent("gso", big, WEB, 80, gso_size=1380)
    beyond = patched(big, 2, b"\0\0")
    # A total length of 0 stays 0: 64 KiB and more. The checksums cover what the fields say.
    moved_beyond = moved(big, "dst", WEB, "dport", 80)
    moved_beyond[IP].len = 0
    moved_beyond[TCP].chksum = int.from_bytes(as_bytes(moved(big, "dst", WEB, "dport", 80))[36:38], "big")
    before_beyond = big.copy()
    before_beyond[IP].len = 0
    beyond = patched(beyond, 10, as_bytes(before_beyond)[10:12])
    world.to_agent("gso beyond 64 KiB has no total length", beyond, WEB, 80, out=moved_beyond, gso_size=1380)
    add_zero_checksums(world)


def add_zero_checksums(world):
    """UDP payloads chosen so that the checksum comes out as 0, which is written 0xffff (RFC 768); and TCP's, which stays 0."""
    for name, transport, agent, port, offset in (
            ("udp", UDP(sport=5000, dport=27015), SSH, 27015, 26),
            ("tcp", TCP(sport=5000, dport=2222, flags="PA", ack=1), SSH, 2222, 36)):
        after = moved(from_client(transport, b"\0\0"), "dst", agent, "dport", port)
        # The payload that is the checksum of the rest makes the sum all ones.
        payload = as_bytes(after)[offset:offset + 2]
        packet = from_client(transport.copy(), payload)
        out = moved(packet, "dst", agent, "dport", port)
        wanted = b"\xff\xff" if name == "udp" else b"\0\0"
        if as_bytes(out)[offset:offset + 2] != wanted:
            raise ValueError(f"{name}: the payload does not give checksum {wanted.hex()}")
        world.to_agent(f"{name} whose new checksum is zero", packet, agent, port)


def add_inbound_others(world):
    world.inbound("tcp to a port that is not published", from_client(syn(22)))
    world.inbound("udp to a port published for tcp only", from_client(UDP(sport=1, dport=8080), b"x"))
    world.inbound("tcp to port 0", from_client(syn(0)))
    world.inbound("another address of the host", from_client(syn(), dst="198.51.100.2"))
    world.inbound("broadcast", from_client(UDP(sport=68, dport=67), dst="255.255.255.255"))
    world.inbound("icmp echo to the public address", from_client(ICMP()))
    world.inbound("sctp number", from_client(Raw(bytes(12)), proto=132))
    world.inbound("ipv6", IPv6(src="2001:db8::1", dst="2001:db8::2") / syn())
    world.inbound("fragment whose first one is not known", from_client(Raw(b"z" * 64), proto=17, flags=0, frag=175), reason="fragment")
    world.inbound("fragment for another address", from_client(Raw(b"z" * 64), dst="198.51.100.2", proto=17, frag=175))
    world.inbound("header longer than the packet", patched(from_client(syn()), 0, b"\x4f")[:50])
    world.inbound("header shorter than 20", patched(from_client(syn()), 0, b"\x44"))
    world.inbound("total length beyond the packet", patched(from_client(syn()), 2, b"\xff\xff"))
    world.inbound("total length of the header alone", patched(from_client(syn()), 2, b"\x00\x14"))
    world.inbound("total length 0 without gso", patched(from_client(syn()), 2, b"\x00\x00"))
    world.inbound("cut within the header", as_bytes(from_client(syn()))[:19])
    world.inbound("cut within the ports", patched(from_client(syn()), 2, b"\x00\x17")[:23])
    world.inbound("length that is not the gso packet's", as_bytes(from_client(syn())) + b"more", gso_size=20)
    for name, packet in (
            ("tcp cut behind its ports", patched(from_client(syn()), 2, b"\x00\x18")[:24]),
            ("tcp header shorter than 20", patched(from_client(syn()), 32, b"\x40")),
            ("tcp header longer than the packet", patched(from_client(syn()), 32, b"\xf0")),
            ("udp cut behind its ports", patched(from_client(UDP(sport=1, dport=27015)), 2, b"\x00\x18")[:24]),
            ("udp length below 8", from_client(UDP(sport=1, dport=27015, len=7), b"x")),
            ("udp length 0", from_client(UDP(sport=1, dport=27015, len=0), b"x")),
            ("udp length beyond the packet", from_client(UDP(sport=1, dport=27015, len=10), b"x"))):
        world.inbound(name, packet, "drop", "malformed")
    world.inbound("ttl 1", from_client(syn(), ttl=1), "drop", "ttl")
    world.inbound("ttl 0", from_client(syn(), ttl=0), "drop", "ttl")
    world.inbound("ttl 1 for the host itself", from_client(syn(22), ttl=1))
    for source in ("0.0.0.0", "127.0.0.1", "169.254.1.1", "224.0.0.1", "255.255.255.255", PUBLIC):
        world.inbound(f"source {source}", from_client(syn(), src=source), "drop", "martian")
    world.inbound("source of an Agent", from_client(syn(), src="10.9.0.100"), "drop", "pool_source")
    world.inbound("to an Agent", from_client(syn(), dst=SSH), "drop", "pool_destination")
    world.inbound("icmp to an Agent", from_client(ICMP(), dst="10.254.255.1"), "drop", "pool_destination")
    world.inbound("fragment to an Agent", from_client(Raw(b"z" * 64), dst=SSH, proto=17, frag=175), "drop",
                  "pool_destination")


def add_outbound(world):
    def synack(port):
        return TCP(sport=port, dport=40000, flags="SA", seq=5, ack=1001, options=[("MSS", 1380)])

    world.to_client("tcp syn ack", from_agent(synack(2222)), 2222)
    world.to_client("tcp from another port of the Agent", from_agent(synack(80), src=WEB), 8080)
    world.to_client("tcp from the port that another service has outside", from_agent(synack(80)), 80)
    world.to_client("tcp lowest port", from_agent(synack(1), src=WEB), 65535)
    world.to_client("tcp port of another Agent's listener", from_agent(synack(2222), src=WEB), 3000)
    world.to_client("tcp rst", from_agent(TCP(sport=2222, dport=4, flags="R")), 2222)
    world.to_client("tcp fin ack", from_agent(TCP(sport=2222, dport=4, flags="FA", ack=1), b"bye"), 2222)
    world.to_client("udp", from_agent(UDP(sport=27015, dport=5000), b"pong"), 27015)
    world.to_client("udp from another port", from_agent(UDP(sport=53, dport=5000), b"pong!", src=WEB), 2222)
    world.to_client("udp highest port", from_agent(UDP(sport=65535, dport=5000), src=WEB), 1)
    world.to_client("udp without a checksum", from_agent(UDP(sport=53, dport=5, chksum=0), b"none", src=WEB), 2222)
    world.to_client("ip options", from_agent(synack(2222), options=[IPOption_NOP()] * 4), 2222)
    world.to_client("udp with ip options", from_agent(UDP(sport=53, dport=5000), b"pong!", src=WEB, options=[IPOption_NOP()] * 40), 2222)
    world.to_client("gso", from_agent(TCP(sport=80, dport=1, flags="A", ack=9), b"y" * 3000, src=WEB), 8080,
                    gso_size=1380)


def add_outbound_others(world):
    answer = TCP(sport=2222, dport=40000, flags="SA", seq=5, ack=1)
    for name, packet, reason in (
            ("tcp from no published port", from_agent(TCP(sport=22, dport=4, flags="A")), "not_published"),
            ("udp from a port published for tcp only", from_agent(UDP(sport=2222, dport=4)), "not_published"),
            ("published port of another Agent", from_agent(UDP(sport=27015, dport=4), src=WEB), "not_published"),
            ("from an Agent of which nothing is published", from_agent(answer, src="10.3.0.100"), "not_published"),
            ("icmp to the internet", from_agent(ICMP()), "not_published"),
            ("gre to the internet", from_agent(Raw(bytes(8)), proto=47), "not_published"),
            ("syn from a published port", from_agent(TCP(sport=2222, dport=25, flags="S")), "unsolicited"),
            ("syn rst from a published port", from_agent(TCP(sport=2222, dport=25, flags="SR")), "unsolicited"),
            ("tcp without flags", from_agent(TCP(sport=2222, dport=25, flags="")), "unsolicited"),
            ("tcp fin alone", from_agent(TCP(sport=2222, dport=25, flags="F")), "unsolicited"),
            ("syn to another Agent", from_agent(TCP(sport=4, dport=22, flags="S"), dst=WEB), "isolated"),
            ("datagram to another Agent", from_agent(UDP(sport=27015, dport=27015), b"x", dst=WEB), "isolated"),
            ("answer to another Agent", from_agent(answer, dst=WEB), "isolated"),
            ("answer to the gateway's address in another Agent's /24", from_agent(answer, dst="10.2.0.1"), "isolated"),
            ("answer to another gateway", from_agent(answer, dst="10.1.0.2"), "isolated"),
            ("answer to the Agent itself", from_agent(answer, dst=SSH), "isolated"),
            ("answer to the public address", from_agent(answer, dst=PUBLIC), "isolated"),
            ("gateway's address as source and destination", from_agent(ICMP(type=0), src="10.1.0.1", dst="10.1.0.1"),
             "isolated"),
            ("icmp to another Agent", from_agent(ICMP(), dst=WEB), "isolated"),
            ("syn to the gateway", from_agent(TCP(sport=4, dport=22, flags="S"), dst="10.1.0.1"), "unsolicited"),
            ("udp to the gateway", from_agent(UDP(sport=4, dport=53), dst="10.1.0.1"), "unsolicited"),
            ("published udp to the gateway", from_agent(UDP(sport=27015, dport=53), dst="10.1.0.1"), "unsolicited"),
            ("echo request to the gateway", from_agent(ICMP(type=8), dst="10.1.0.1"), "unsolicited"),
            ("redirect to the gateway", from_agent(ICMP(type=5), dst="10.1.0.1"), "unsolicited"),
            ("gre to the gateway", from_agent(Raw(bytes(8)), dst="10.1.0.1", proto=47), "unsolicited"),
            ("path mtu to somebody else", about(PUBLIC, CLIENT), "unsolicited"),
            ("path mtu from somebody else", about("10.1.0.1", CLIENT), "unsolicited"),
            ("path mtu of the public address", about(PUBLIC, SSH), "unsolicited"),
            ("path mtu about nothing", from_agent(too_big(), dst="10.1.0.1"), "unsolicited"),
            ("path mtu about half a header", from_agent(too_big(), bytes(19), dst="10.1.0.1"), "unsolicited"),
            ("icmp cut short to the gateway", from_agent(Raw(bytes(7)), dst="10.1.0.1", proto=1), "unsolicited"),
            ("tcp cut short to the gateway", from_agent(Raw(bytes(13)), dst="10.1.0.1", proto=6), "malformed"),
            ("in a client's name", from_agent(answer, src=CLIENT), "spoofed"),
            ("datagram in a client's name", from_agent(UDP(sport=27015, dport=5000), b"x", src="203.0.113.8"), "spoofed"),
            ("in the public address's name", from_agent(answer, src=PUBLIC), "spoofed"),
            ("fragment whose first one is not known", from_agent(Raw(b"z" * 64), proto=17, frag=175), "agent_fragment"),
            ("fragment to the gateway", from_agent(Raw(b"z" * 64), dst="10.1.0.1", proto=1, frag=175), "agent_fragment"),
            ("fragment to another Agent", from_agent(Raw(b"z" * 64), dst=WEB, proto=17, frag=175), "isolated"),
            ("ttl 1", from_agent(answer.copy(), ttl=1), "ttl"),
            ("ipv6", IPv6(src="2001:db8::1", dst="2001:db8::2") / answer, "spoofed"),
            ("cut within the header", as_bytes(from_agent(answer))[:19], "not_ip"),
            ("header shorter than 20", patched(from_agent(answer), 0, b"\x43"), "malformed"),
            ("total length beyond the packet", patched(from_agent(answer), 2, b"\x7f\xff"), "malformed"),
            ("cut within the ports", patched(from_agent(answer), 2, b"\x00\x17")[:23], "malformed"),
            ("tcp header longer than the packet", patched(from_agent(answer), 32, b"\xf0"), "malformed"),
            ("udp length beyond the packet", from_agent(UDP(sport=27015, dport=4, len=9)), "malformed")):
        world.outbound(name, packet, "drop", reason)
    for dst in ("0.0.0.0", "127.0.0.1", "169.254.169.254", "224.0.0.251", "255.255.255.255"):
        world.outbound(f"to {dst}", from_agent(UDP(sport=27015, dport=53), dst=dst), "drop", "martian")
    for name, transport in (
            ("echo reply", ICMP(type=0)), ("destination unreachable", about("10.1.0.1", SSH)[ICMP]),
            ("time exceeded", about("10.1.0.1", SSH, ICMP(type=11))[ICMP]), ("syn ack", answer), ("rst", TCP(sport=8080, dport=4, flags="R")),
            ("segment", TCP(sport=8080, dport=4, flags="PA", ack=1))):
        world.outbound(f"{name} to the gateway", from_agent(transport, dst="10.1.0.1"), "pass", "answer")


def add_inbound_errors(world):
    """Routers and clients complain of what came from the public address; the Agent has to know its own packet again."""
    def error(name, icmp, sent, agent, port, quote=28, half=0, **ip):
        """sent: the packet as the internet saw it, of which quote bytes come back, and then half a checksum or nothing."""
        known = as_bytes(moved(sent, "src", agent, "sport", port, hops=0))[:quote]
        rest = as_bytes(sent)[quote:quote + half]
        packet = from_client(icmp, as_bytes(sent)[:quote] + rest, **{"src": ROUTER, "flags": 0, **ip})
        out = from_client(icmp, known + rest, **{"src": ROUTER, "flags": 0, **ip, "dst": agent})
        out[IP].ttl -= 1
        if out[IP].src.startswith("10."):
            out[IP].src = PUBLIC  # of the Agents' pool, by chance
        world.inbound(name, packet, "tunnel", "inbound_error", out=out)

    def sent(transport, payload=b"", **ip):
        return from_agent(transport, payload, **{"src": PUBLIC, "ttl": 60, **ip})

    data = sent(TCP(sport=8080, dport=40000, flags="A", seq=77, ack=5), b"y" * 1300)
    error("path mtu of tcp", too_big(), data, WEB, 80)
    error("path mtu of tcp, ports alike", too_big(), sent(TCP(sport=2222, dport=4, flags="A"), b"y" * 99), SSH, 2222)
    error("quote up to the tcp checksum", too_big(), data, WEB, 80, quote=38)
    error("quote into the tcp checksum", too_big(), data, WEB, 80, quote=36, half=1)
    error("quote of 548 bytes", too_big(), data, WEB, 80, quote=548)
    error("from a router with an address of the pool", too_big(), data, WEB, 80, src="10.255.0.1")
    error("quote of odd length", too_big(), data, WEB, 80, quote=301)
    datagram = sent(UDP(sport=2222, dport=5000), b"y" * 1300)
    error("path mtu of udp", too_big(), datagram, WEB, 53)
    error("port unreachable", ICMP(type=3, code=3), datagram, WEB, 53, src=CLIENT)
    error("time exceeded", ICMP(type=11, code=0), datagram, WEB, 53, quote=200)
    error("parameter problem", ICMP(type=12, ptr=1), datagram, WEB, 53)
    error("quoted udp without a checksum", too_big(), sent(UDP(sport=2222, dport=5000, chksum=0), b"none"), WEB, 53)
    error("quoted first fragment", ICMP(type=11, code=1), sent(UDP(sport=2222, dport=5, len=3000), flags="MF"), WEB, 53)
    error("quoted ip options", too_big(), sent(TCP(sport=8080, dport=4, flags="A"), options=[IPOption_NOP()] * 12), WEB, 80,
          quote=52)
    error("ip options of both headers", too_big(), sent(TCP(sport=8080, dport=4, flags="A"), options=[IPOption_NOP()] * 40),
          WEB, 80, quote=80, options=[IPOption_NOP()] * 40)
    error("ip options of both headers, about udp", too_big(), sent(UDP(sport=2222, dport=5000), b"y" * 9, options=[IPOption_NOP()] * 24),
          WEB, 53, quote=52, options=[IPOption_NOP()] * 8)
    # The payload that is the checksum of the rest makes the sum all ones, written 0xffff.
    zero = moved(sent(UDP(sport=2222, dport=5000), b"\0\0"), "src", WEB, "sport", 53, hops=0)
    zero = sent(UDP(sport=2222, dport=5000), as_bytes(zero)[26:28])
    error("quoted udp whose new checksum is zero", too_big(), zero, WEB, 53, quote=30)
    packet = from_client(too_big(), as_bytes(data)[:28], src=ROUTER)
    out = from_client(too_big(), as_bytes(moved(data, "src", WEB, "sport", 80, hops=0))[:28], src=ROUTER, dst=WEB, ttl=56)
    world.inbound("error in a padded frame", raw(packet) + bytes(4), "tunnel", "inbound_error", out=out)
    broken, still = with_sum_error(packet, out, 22)
    world.inbound("wrong icmp checksum stays wrong", broken, "tunnel", "inbound_error", out=still)
    for name, icmp, quoted, ip in (
            ("echo request", ICMP(type=8), data, {}), ("echo reply", ICMP(type=0), data, {}),
            ("redirect", ICMP(type=5), data, {}), ("source quench", ICMP(type=4), data, {}),
            ("error about a port that is not published", too_big(), sent(TCP(sport=22, dport=4, flags="A")), {}),
            ("error about a port published for udp only", too_big(), sent(TCP(sport=27015, dport=4, flags="A")), {}),
            ("error about another sender", too_big(), sent(TCP(sport=8080, dport=4), src="198.51.100.2"), {}),
            ("error about a packet to an Agent", too_big(), sent(TCP(sport=8080, dport=4), dst=SSH), {}),
            ("error about icmp", too_big(), sent(ICMP(), b"data"), {}),
            ("error about a later fragment", too_big(), sent(Raw(b"z" * 64), proto=17, frag=175), {}),
            ("error about ipv6", too_big(), IPv6(src="2001:db8::1", dst="2001:db8::2") / TCP(sport=8080), {}),
            ("error with a short quote", too_big(), as_bytes(data)[:27], {}),
            ("error with a quote cut within its header", too_big(), as_bytes(data)[:19], {}),
            ("error without a quote", too_big(), b"", {}),
            ("error with a quoted header below 20 bytes", too_big(), patched(data, 0, b"\x44"), {})):
        world.inbound(name, from_client(icmp, as_bytes(quoted)[:60], **{"src": ROUTER, **ip}))
    for name, ip, reason in (
            ("error with ttl 1", {"ttl": 1}, "ttl"), ("error from loopback", {"src": "127.0.0.1"}, "martian"),
            ("error from the public address", {"src": PUBLIC}, "martian")):
        world.inbound(name, from_client(too_big(), as_bytes(data)[:28], **{"src": ROUTER, **ip}), "drop", reason)
    world.inbound("fragment of an error", from_client(too_big(), as_bytes(data)[:28], flags="MF"), "pass", "fragment")


def add_outbound_errors(world):
    """Agents complain of what came to their published ports; the client knows the public address alone."""
    def error(name, icmp, came, port, quote=28, **ip):
        """came: the packet as the Agent got it."""
        known = moved(came, "dst", PUBLIC, "dport", port, hops=0)
        ip = {"src": came[IP].dst, "flags": 0, "tos": 0xc0, **ip}
        out = from_agent(icmp, as_bytes(known)[:quote], **{**ip, "src": PUBLIC})
        out[IP].ttl -= 1
        world.outbound(name, from_agent(icmp, as_bytes(came)[:quote], **ip), "nic", "outbound_error", out=out)

    datagram = from_client(UDP(sport=5000, dport=53), b"x" * 900, dst=WEB)
    data = from_client(TCP(sport=40000, dport=80, flags="PA", ack=5), b"x" * 900, dst=WEB)
    error("port unreachable", ICMP(type=3, code=3), datagram, 2222)
    error("port unreachable with much of the datagram", ICMP(type=3, code=3), datagram, 2222, quote=548)
    error("port unreachable, ports alike", ICMP(type=3, code=3), from_client(UDP(sport=5, dport=27015), b"x", dst=SSH), 27015)
    error("path mtu from a router of the Agent", too_big(), data, 8080, src="10.2.0.7")
    error("quote with the tcp checksum", too_big(), data, 8080, quote=40)
    error("quoted udp without a checksum", ICMP(type=3, code=3), from_client(UDP(sport=5, dport=53, chksum=0), b"x", dst=WEB), 2222)
    error("time exceeded in reassembly", ICMP(type=11, code=1), from_client(UDP(sport=5, dport=53, len=3000), dst=WEB, flags="MF"),
          2222)
    error("ip options of both headers", too_big(),
          from_client(TCP(sport=4, dport=80, flags="A"), dst=WEB, options=[IPOption_NOP()] * 40), 8080, quote=80,
          options=[IPOption_NOP()] * 20)
    error("ip options of both headers, about udp", ICMP(type=3, code=3),
          from_client(UDP(sport=5000, dport=53), b"x" * 9, dst=WEB, options=[IPOption_NOP()] * 8), 2222, quote=36,
          options=[IPOption_NOP()] * 40)
    quote = as_bytes(datagram)[:28]
    for name, icmp, quoted, ip, reason in (
            ("echo reply with a quote", ICMP(type=0), quote, {}, "not_published"),
            ("error about a port that is not published", too_big(),
             as_bytes(from_client(UDP(sport=5, dport=54), b"x", dst=WEB)), {}, "not_published"),
            ("error to another than the sender of the quote", too_big(), quote, {"dst": "203.0.113.8"}, "not_published"),
            ("error about another Agent's port", too_big(), quote, {"src": SSH}, "not_published"),
            ("error with a short quote", too_big(), quote[:27], {}, "not_published"),
            ("error to a neighbour", too_big(), quote, {"dst": SSH}, "isolated"),
            ("error to the public address", too_big(), quote, {"dst": PUBLIC}, "isolated"),
            ("error with ttl 1", too_big(), quote, {"ttl": 1}, "ttl"),
            ("error to the link", too_big(), as_bytes(from_client(UDP(sport=5000, dport=53), src="169.254.1.1", dst=WEB))[:28],
             {"dst": "169.254.1.1"}, "martian"),
            ("fragment of an error", too_big(), quote, {"flags": "MF"}, "agent_fragment")):
        world.outbound(name, from_agent(icmp, quoted, **{"src": WEB, **ip}), "drop", reason)


def add_mss(world):
    def opening(tcp_options, **ip):
        return from_client(TCP(sport=40000, dport=8080, flags="S", seq=1, options=tcp_options), **ip)

    world.to_agent("mss that fits", opening([("MSS", 1380)]), WEB, 80)
    world.to_agent("mss one byte too large", opening([("MSS", 1381)]), WEB, 80)
    world.to_agent("mss at an odd offset", opening([("NOP", None), ("MSS", 8960)]), WEB, 80)
    world.to_agent("mss last of forty bytes of options", opening([("NOP", None)] * 36 + [("MSS", 0xffff)]), WEB, 80)
    world.to_agent("mss behind others and ip options", opening([("SAckOK", b""), ("Timestamp", (1, 0)), ("MSS", 1460)],
                                                             options=[IPOption_NOP()] * 4), WEB, 80)
    world.to_agent("no mss", opening([("SAckOK", b"")]), WEB, 80)
    world.to_agent("no options", opening([]), WEB, 80)
    world.to_client("mss of an answer", from_agent(TCP(sport=80, dport=4, flags="SA", ack=1, options=[("MSS", 1460)]), src=WEB),
                    8080)
    for name, options in (
            ("mss behind the end of options", b"\0\x02\x04\x05\xb4\0\0\0"), ("option of length 0", b"\x03\0\x02\x04\x05\xb4\0\0"),
            ("option beyond the header", b"\x03\xff\x02\x04\x05\xb4\0\0"), ("mss of another length", b"\x02\x03\x05\xb4\1\1\1\1"),
            ("mss cut off", b"\1\1\1\1\1\1\x02\x04"), ("mss of a segment without syn", b"\x02\x04\x05\xb4")):
        # Written as payload below a header whose length takes it in: scapy leaves such options alone.
        flags = "A" if name.endswith("without syn") else "S"
        packet = from_client(TCP(sport=4, dport=8080, flags=flags, dataofs=5 + len(options) // 4), options)
        world.to_agent(name, packet, WEB, 80, out=moved(packet, "dst", WEB, "dport", 80))


def add_too_big(world):
    def answer(packet, quote):
        """quote: bytes up to and with the transport checksum; 2 more make the quoted transport sum up to its complement."""
        data = as_bytes(packet)
        start = packet[IP].ihl * 4 if packet[IP].ihl else 20
        return IP(src=PUBLIC, dst=CLIENT, ttl=64, tos=0xc0, id=0, flags="DF") / too_big(1420) / Raw(data[:quote] + balance(data, start, quote))

    def told(name, packet, quote, **more):
        world.inbound(name, packet, "nic", "too_big", out=answer(packet, quote), **more)

    told("udp too big", from_client(UDP(sport=5000, dport=27015), b"x" * 1393), 28)
    told("udp much too big without a checksum", from_client(UDP(sport=5000, dport=2222, chksum=0), b"x" * 3000), 28)
    told("tcp too big", from_client(TCP(sport=1, dport=8080, flags="PA", ack=9, seq=77), b"x" * 1400), 38)
    big = from_client(UDP(sport=5000, dport=27015), b"x" * 1400, options=[IPOption_NOP()] * 40)
    big[IP].ihl = 15
    told("udp too big with ip options", big, 68)
    big = from_client(TCP(sport=1, dport=8080, flags="A", ack=9), b"y" * 3000)
    told("segments too big", big, 38, gso_size=1381)
    told("datagrams too big", from_client(UDP(sport=1, dport=27015), b"y" * 3000), 28, gso_size=1393)
    told("padded and too big", IP(raw(from_client(UDP(sport=5000, dport=27015), b"x" * 1393)) + b"12"), 28)
    world.to_agent("datagrams that fit", from_client(UDP(sport=1, dport=27015), b"y" * 2784), SSH, 27015, gso_size=1392)
    world.to_agent("fits", from_client(UDP(sport=5000, dport=27015), b"x" * 1392), SSH, 27015)
    world.to_agent("too big, may be fragmented", from_client(UDP(sport=5000, dport=27015), b"x" * 1393, flags=0), SSH, 27015)
    world.inbound("too big for a port that is not published", from_client(UDP(sport=5000, dport=4), b"x" * 1400))
    world.inbound("too big from an Agent", from_client(UDP(sport=5, dport=27015), b"x" * 1400, src=SSH), "drop", "pool_source")


def add_fragments(world):
    """Whole datagrams, sent and expected, cut at the same places: the checksum is that of the whole."""
    def pieces(packet):
        data = as_bytes(packet)
        header, rest = data[:20], data[20:]
        for at in range(0, len(rest), 1400):
            more = at + 1400 < len(rest)
            piece = IP(header)
            piece.len = piece.chksum = None
            piece.flags, piece.frag = "MF" if more else 0, at // 8
            yield raw(piece / Raw(rest[at:at + 1400]))

    def through(name, direction, packet, out):
        verdict = {"inbound": "tunnel", "outbound": "nic"}[direction]
        for i, (piece, expected) in enumerate(zip(pieces(packet), pieces(out))):
            world.add(f"{name}, fragment {i}", direction, piece, verdict, f"{direction}_fragment" if i else direction, expected)

    for number, (name, transport, agent, port) in enumerate((
            ("datagram", UDP(sport=5000, dport=27015), SSH, 27015),
            ("datagram to another port", UDP(sport=5000, dport=2222), WEB, 53),
            ("datagram without a checksum", UDP(sport=5000, dport=2222, chksum=0), WEB, 53),
            ("segment", TCP(sport=1, dport=8080, flags="PA", ack=9), WEB, 80))):
        packet = from_client(transport, bytes(range(256)) * 14, flags=0, id=100 + number)
        through(name, "inbound", packet, moved(packet, "dst", agent, "dport", port))
    for number, (name, transport, agent, port) in enumerate((
            ("datagram", UDP(sport=27015, dport=5000), SSH, 27015),
            ("datagram from another port", UDP(sport=53, dport=5000), WEB, 2222),
            ("segment", TCP(sport=80, dport=1, flags="PA", ack=9), WEB, 8080))):
        packet = from_agent(transport, bytes(range(256)) * 14, flags=0, id=200 + number, src=agent)
        through(name, "outbound", packet, moved(packet, "src", PUBLIC, "sport", port))

    later = {"proto": 17, "frag": 175, "flags": 0}
    world.inbound("fragment with ttl 1", from_client(Raw(b"z" * 64), **later, id=100, ttl=1), "drop", "ttl")
    world.inbound("fragment of another packet", from_client(Raw(b"z" * 64), **later, id=99), "pass", "fragment")
    world.inbound("fragment of another protocol", from_client(Raw(b"z" * 64), **{**later, "proto": 6}, id=100), "pass", "fragment")
    world.inbound("fragment of icmp", from_client(Raw(b"z" * 64), **{**later, "proto": 1}, id=100), "pass", "fragment")
    world.inbound("fragment of another client", from_client(Raw(b"z" * 64), **later, id=100, src="203.0.113.8"), "pass", "fragment")
    world.inbound("first fragment to a port that is not published",
                  from_client(UDP(sport=5, dport=4, len=3000), b"z" * 1400, flags="MF", id=7))
    world.inbound("and the one behind it", from_client(Raw(b"z" * 64), **later, id=7), "pass", "fragment")
    world.inbound("first fragment without a whole header",
                  from_client(Raw(as_bytes(from_client(TCP(sport=1, dport=8080)))[20:36]), flags="MF", proto=6), "drop", "malformed")
    world.inbound("first fragment of a length below 8", from_client(UDP(sport=1, dport=27015, len=7), b"z", flags="MF"), "drop",
                  "malformed")
    world.outbound("fragment with ttl 1", from_agent(Raw(b"z" * 64), **later, id=200, ttl=1), "drop", "ttl")
    world.outbound("fragment of another packet", from_agent(Raw(b"z" * 64), **later, id=199), "drop", "agent_fragment")
    world.outbound("first fragment of icmp", from_agent(ICMP(), b"z" * 64, flags="MF"), "drop", "agent_fragment")
    world.outbound("first fragment to the gateway", from_agent(UDP(sport=27015, dport=4), dst="10.1.0.1", flags="MF"), "drop",
                   "agent_fragment")
    world.outbound("first fragment that opens", from_agent(TCP(sport=2222, dport=4, flags="S"), flags="MF"), "drop", "unsolicited")


def add_second_address(world):
    """The same ports are other services there, and answers leave by the address that their listener has."""
    def inbound(name, transport, agent, port):
        packet = from_client(transport, b"data", dst=PUBLIC2)
        world.inbound(name, packet, "tunnel", "inbound", out=clamped(moved(packet, "dst", agent, "dport", port), 1420))

    def outbound(name, transport, port):
        packet = from_agent(transport, b"data", src=WEB)
        out = clamped(moved(packet, "src", PUBLIC2, "sport", port), 1420)
        world.outbound(name, packet, "nic", "outbound", out=out)

    inbound("tcp to the second address", syn(), WEB, 22)
    inbound("udp to the second address", UDP(sport=5, dport=28000), WEB, 28000)
    inbound("tcp to a port of the second address alone", syn(7000), WEB, 7000)
    world.inbound("tcp to the second address and a port of the first alone", from_client(syn(8080), dst=PUBLIC2))
    world.inbound("tcp to the first address and a port of the second alone", from_client(syn(7000)))
    world.inbound("source of the second address", from_client(syn(), src=PUBLIC2), "drop", "martian")
    outbound("tcp from the second address", TCP(sport=22, dport=4, flags="A", ack=1), 2222)
    outbound("udp from the second address", UDP(sport=28000, dport=4), 28000)
    outbound("tcp from a port of the second address alone", TCP(sport=7000, dport=4, flags="A", ack=1), 7000)
    world.outbound("answer to the second address", from_agent(TCP(sport=2222, dport=4, flags="A"), dst=PUBLIC2), "drop",
                   "isolated")
    sent = IP(src=PUBLIC2, dst=CLIENT, ttl=60) / UDP(sport=28000, dport=9) / Raw(b"x" * 20)
    known = moved(sent, "src", WEB, "sport", 28000, hops=0)
    out = from_client(too_big(), as_bytes(known)[:28], src=ROUTER, dst=WEB)
    out.ttl -= 1
    world.inbound("error to the second address", from_client(too_big(), as_bytes(sent)[:28], src=ROUTER, dst=PUBLIC2), "tunnel",
                  "inbound_error", out=out)
    world.inbound("error to the second address about the first", from_client(too_big(), as_bytes(sent)[:28], src=ROUTER))


def worlds():
    main = World("published", LISTENERS + SECOND + ip6.LISTENERS, addresses=[PUBLIC, PUBLIC2],
                 addresses6=[ip6.PUBLIC, ip6.PUBLIC2], pool6=ip6.POOL)
    add_inbound(main)
    add_inbound_others(main)
    add_outbound(main)
    add_outbound_others(main)
    add_inbound_errors(main)
    add_outbound_errors(main)
    add_mss(main)
    add_too_big(main)
    add_fragments(main)
    add_second_address(main)
    ip6.add_to(main)
    yield main

    several = World("groups and translated flows", shared.LISTENERS, shared.GROUPS, addresses6=[ip6.PUBLIC], pool6=ip6.POOL,
                    flow_key=[f"{word:016x}" for word in shared.KEY])
    shared.add_to(several)
    yield several

    empty = World("nothing published", [])
    empty.inbound("tcp", from_client(syn()))
    empty.inbound("udp", from_client(UDP(sport=1, dport=27015), b"x"))
    empty.outbound("tcp", from_agent(TCP(sport=2222, dport=4, flags="SA", ack=1)))
    yield empty

    other = World("public address within another pool's neighbourhood", [("tcp", 443, "172.20.7.100", 8443, 1), ("udp", 443, "172.20.7.100", 8443, 2)],
                  addresses=["172.31.0.9"], pool="172.16.0.0/12", host=0,
                  mtu=0)
    packet = from_client(syn(443), dst="172.31.0.9")
    other.to_agent("no bound to size", from_client(UDP(sport=4, dport=443), b"x" * 3000, dst="172.31.0.9"), "172.20.7.100", 8443)
    other.to_agent("the public address counts before the pool", packet, "172.20.7.100", 8443)
    other.inbound("but its neighbours are the pool's", from_client(syn(443), dst="172.31.0.8"), "drop", "pool_destination")
    other.inbound("outside of the pool", from_client(syn(443), dst="172.32.0.1"))
    other.outbound("no address of the gateway, no answer", from_agent(ICMP(type=0), src="172.20.7.100", dst="172.20.7.0"),
                   "drop", "isolated")
    yield other


def text():
    return json.dumps({"licence": "SPDX-License-Identifier: MIT",
                       "worlds": [world.as_json() for world in worlds()]}, indent=1) + "\n"


def inputs():
    """Name, direction, segments' size and packet of every case, those of the edge (edge.py) too."""
    for world in worlds():
        for case in world.cases:
            yield (f"{world.name} {case['direction']} {case['name']}", case["direction"] == "outbound", case.get("gso_size", 0),
                   bytes.fromhex(case["in"]))
    for world in json.loads(pathlib.Path(__file__).with_name("edge.json").read_text())["worlds"]:
        for case in world["cases"]:
            yield f"edge {world['name']} {case['name']}", False, 0, bytes.fromhex(case["in"])


def write_corpus(directory, tables):
    """
    Every case as an input of tests/fuzz/fuzz_core.c; with tables as one of fuzz_ways.c, behind a number that they are drawn by,
    and in front of a few packets of their own.
    """
    for name, outbound, gso_size, packet in inputs():
        data = struct.pack("<BHH", outbound, gso_size, len(packet)) + packet
        if tables:
            number = zlib.crc32(name.encode())
            own = range(number % 1000, number % 1000 + 4)
            data = struct.pack("<I", number) + data + b"".join(struct.pack("<BHH", n % 8, 0, 0x8000 + n) for n in own)
        (directory / "".join(c if c.isalnum() else "-" for c in name)).write_bytes(data)


def main():
    if len(sys.argv) > 2 and sys.argv[1] == "--corpus":
        write_corpus(pathlib.Path(sys.argv[2]), tables="--tables" in sys.argv)
        return 0
    if sys.argv[1:] == ["--check"]:
        return 0 if pathlib.Path(__file__).with_name("cases.json").read_text() == text() else 1
    sys.stdout.write(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
