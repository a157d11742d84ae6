# SPDX-License-Identifier: MIT
"""Packet cases of services with several Agents, of translated flows (snat), and of listeners that drain.

Which Agent or port a flow gets is worked out here anew, from the papers, and not by the core.
"""

import ipaddress
import itertools

from scapy.all import ICMP, ICMPv6DestUnreach, ICMPv6PacketTooBig, IP, IPv6, IPv6ExtHdrFragment, Raw, TCP, UDP, raw

import ip6
from wire import as_bytes

PUBLIC, CLIENT, ROUTER = "198.51.100.1", "203.0.113.7", "192.0.2.33"
PUBLIC6, CLIENT6, ROUTER6 = ip6.PUBLIC, ip6.CLIENT, ip6.ROUTER
AGENTS = ["10.1.0.100", "10.2.0.100", "10.3.0.100", "10.4.0.100"]
UNHEALTHY = AGENTS[2]
PEER, GATEWAY = "10.1.0.100", "10.1.0.1"
MTU = 1420
KEY = [0x243f6a8885a308d3, 0x13198a2e03707344, 0x24093822299f31d0, 0x082efa98ec4e6c89, 0x452821e638d01377, 0x3e5466cf34e90c6c]

GROUPS = [{"id": 7, "members": [{"agent": agent, "healthy": agent != UNHEALTHY} for agent in AGENTS]}]
LISTENERS = [
    {"protocol": "tcp", "port": 443, "group": 7, "agent_port": 8443, "service": 1},
    {"protocol": "udp", "port": 53, "group": 7, "agent_port": 53, "service": 2},
    {"protocol": "tcp", "port": 443, "group": 7, "agent_port": 8443, "service": 1, "address": PUBLIC6},
    {"protocol": "udp", "port": 53, "group": 7, "agent_port": 53, "service": 2, "address": PUBLIC6},
    {"protocol": "tcp", "port": 2022, "agent": PEER, "agent_port": 22, "service": 3, "snat": True},
    {"protocol": "udp", "port": 2053, "agent": PEER, "agent_port": 5353, "service": 4, "snat": True},
    {"protocol": "udp", "port": 6000, "agent": PEER, "agent_port": 6000, "service": 5, "snat": True},
    {"protocol": "tcp", "port": 2022, "agent": PEER, "agent_port": 22, "service": 3, "snat": True, "address": PUBLIC6},
    {"protocol": "udp", "port": 2053, "agent": PEER, "agent_port": 5353, "service": 4, "snat": True, "address": PUBLIC6},
    {"protocol": "tcp", "port": 9443, "group": 7, "agent_port": 9443, "service": 6, "snat": True},
    {"protocol": "tcp", "port": 80, "agent": AGENTS[1], "agent_port": 80, "service": 8, "draining": True},
    {"protocol": "tcp", "port": 81, "agent": PEER, "agent_port": 81, "service": 9, "draining": True, "snat": True},
    {"protocol": "udp", "port": 81, "agent": PEER, "agent_port": 81, "service": 9, "draining": True, "snat": True},
]

WORD = (1 << 64) - 1
SIZE = 1021


# ---- the hash of a flow, Lemire and Kaser 2014 ----

def flow_hash(client, client_port, public_port, protocol):
    address = ipaddress.ip_address(client)
    number = int(address) if address.version == 6 else 0xffff << 32 | int(address)
    words = [number >> shift & 0xffffffff for shift in (96, 64, 32, 0)]
    words.append(protocol << 32 | client_port << 16 | public_port)
    h = (KEY[0] + sum(k * w for k, w in zip(KEY[1:], words))) & WORD
    h ^= h >> 32
    return (h * 0xff51afd7ed558ccd & WORD) >> 32


# ---- the table of a group, Eisenbud et al. 2016 ----

def mix(x):
    x = x + 0x9e3779b97f4a7c15 & WORD
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9 & WORD
    x = (x ^ x >> 27) * 0x94d049bb133111eb & WORD
    return x ^ x >> 31


def maglev(members):
    """members: a dict of numbers to whether they are healthy. A list of SIZE numbers."""
    names = sorted(members)
    permutations = {}
    for name in names:
        offset, skip = mix(name) % SIZE, mix(mix(name)) % (SIZE - 1) + 1
        permutations[name] = iter([(offset + j * skip) % SIZE for j in range(SIZE)])
    table = [None] * SIZE
    turn = 0
    while None in table:
        name = names[turn % len(names)]
        table[next(slot for slot in permutations[name] if table[slot] is None)] = name
        turn += 1
    healthy = [name for name in names if members[name]]
    return [name if members[name] else max(healthy, key=lambda m, e=element: mix(mix(m) ^ e))
            for element, name in enumerate(table)]


def offset_of(agent):
    return int(ipaddress.IPv4Address(agent)) & 0xffffff


TABLE = maglev({offset_of(member["agent"]): member["healthy"] for member in GROUPS[0]["members"]})


def member_of(client, client_port, public_port, protocol):
    element = flow_hash(client, client_port, public_port, protocol) * SIZE >> 32
    return str(ipaddress.IPv4Address(10 << 24 | TABLE[element]))


# ---- the port of a translated flow ----

def snat_ports(client, client_port, public_port, protocol):
    h = flow_hash(client, client_port, public_port, protocol)
    return [16384 + ((h + i * (h >> 14 | 1)) & 16383) for i in range(8)]


# ---- packets ----

def family(packet):
    return IPv6 if IPv6 in packet else IP


def hop(packet):
    field = "hlim" if IPv6 in packet else "ttl"
    packet.setfieldval(field, packet.getfieldval(field) - 1)


def clamp(packet):
    room = MTU - (60 if IPv6 in packet else 40)
    if TCP in packet and packet[TCP].flags.S:
        packet[TCP].options = [("MSS", min(v, room)) if n == "MSS" else (n, v) for n, v in packet[TCP].options]


def ends(packet, **fields):
    """A copy with other src, dst, sport, dport, one hop on."""
    out = packet.copy()
    transport = out[TCP] if TCP in out else out[UDP]
    for name, value in fields.items():
        (transport if name.endswith("port") else out).setfieldval(name, value)
    return out


def on(packet, **fields):
    out = ends(packet, **fields)
    hop(out)
    clamp(out)
    return out


def client4(transport, payload=b"", **ip):
    return IP(**{"src": CLIENT, "dst": PUBLIC, "ttl": 57, "id": 4711, "flags": "DF", **ip}) / transport / Raw(payload)


def client6(transport, payload=b"", **ip):
    return IPv6(**{"src": CLIENT6, "dst": PUBLIC6, "hlim": 57, **ip}) / transport / Raw(payload)


def opening(sport, dport):
    return TCP(sport=sport, dport=dport, flags="S", seq=1, options=[("MSS", 1460), ("NOP", None), ("WScale", 7)])


def segment(sport, dport, flags="PA"):
    return TCP(sport=sport, dport=dport, flags=flags, seq=5, ack=9)


def pieces4(packet):
    data = as_bytes(packet)
    header, rest = data[:20], data[20:]
    for at in range(0, len(rest), 1400):
        piece = IP(header)
        piece.len = piece.chksum = None
        piece.flags, piece.frag = "MF" if at + 1400 < len(rest) else 0, at // 8
        yield raw(piece / Raw(rest[at:at + 1400]))


def pieces6(packet, ident):
    data = as_bytes(packet)
    header, rest = IPv6(data[:40]), data[40:]
    for at in range(0, len(rest), 1280):
        piece = IPv6(src=header.src, dst=header.dst, hlim=header.hlim)
        fragment = IPv6ExtHdrFragment(offset=at // 8, m=int(at + 1280 < len(rest)), id=ident, nh=header.nh)
        yield raw(piece / fragment / Raw(rest[at:at + 1280]))


def through(world, name, direction, cut_in, cut_out):
    verdict = {"inbound": "tunnel", "outbound": "nic"}[direction]
    for i, (piece, expected) in enumerate(zip(cut_in, cut_out)):
        world.add(f"{name}, fragment {i}", direction, piece, verdict, f"{direction}_fragment" if i else direction, expected)


# ---- groups ----

def add_groups(world):
    chosen = set()
    for sport in range(40000, 40012):
        agent = member_of(CLIENT, sport, 443, 6)
        chosen.add(agent)
        packet = client4(opening(sport, 443))
        world.inbound(f"group, flow {sport}", packet, "tunnel", "inbound", out=on(packet, dst=agent, dport=8443))
        packet = client4(segment(sport, 443), b"more")
        world.inbound(f"group, flow {sport} goes on", packet, "tunnel", "inbound", out=on(packet, dst=agent, dport=8443))
    if chosen != set(AGENTS) - {UNHEALTHY}:
        raise ValueError(f"flows go to {chosen}")
    for sport in range(40000, 40004):
        packet = client6(opening(sport, 443))
        agent = ip6.inside(member_of(CLIENT6, sport, 443, 6))
        world.inbound(f"group in IPv6, flow {sport}", packet, "tunnel", "inbound", out=on(packet, dst=agent, dport=8443))
    for agent in AGENTS:
        packet = IP(src=agent, dst=CLIENT, ttl=64) / segment(8443, 40000, "SA")
        world.outbound(f"group, answer of {agent}", packet, "nic", "outbound", out=on(packet, src=PUBLIC, sport=443))
        packet = IPv6(src=ip6.inside(agent), dst=CLIENT6) / segment(8443, 40000, "SA")
        world.outbound(f"group in IPv6, answer of {agent}", packet, "nic", "outbound", out=on(packet, src=PUBLIC6, sport=443))
    packet = IPv6(src=ip6.inside(AGENTS[0]), dst=CLIENT6) / UDP(sport=53, dport=5000) / Raw(b"answer")
    world.outbound("group in IPv6, datagram", packet, "nic", "outbound", out=on(packet, src=PUBLIC6))
    packet = IP(src="10.5.0.100", dst=CLIENT, ttl=64) / segment(8443, 40000, "SA")
    world.outbound("group, answer of another Agent", packet)
    packet = IP(src=AGENTS[0], dst=CLIENT, ttl=64) / segment(443, 40000, "SA")
    world.outbound("group, the public port inside", packet)
    add_group_errors(world)
    add_group_fragments(world)


def add_group_errors(world):
    for sport in (40000, 40001, 40002):
        agent = member_of(CLIENT, sport, 443, 6)
        sent = IP(src=PUBLIC, dst=CLIENT, ttl=60) / segment(443, sport) / Raw(b"y" * 900)
        packet = client4(ICMP(type=3, code=4, nexthopmtu=1280), as_bytes(sent)[:60], src=ROUTER)
        out = client4(ICMP(type=3, code=4, nexthopmtu=1280), as_bytes(ends(sent, src=agent, sport=8443))[:60], src=ROUTER, dst=agent)
        hop(out)
        world.inbound(f"group, path mtu of flow {sport}", packet, "tunnel", "inbound_error", out=out)
        came = client4(UDP(sport=sport, dport=53), b"x", dst=agent)
        packet = IP(src=agent, dst=CLIENT, ttl=64) / ICMP(type=3, code=3) / Raw(as_bytes(came)[:28])
        out = IP(src=PUBLIC, dst=CLIENT, ttl=63) / ICMP(type=3, code=3) / Raw(as_bytes(ends(came, dst=PUBLIC, dport=53))[:28])
        world.outbound(f"group, port unreachable from {agent} to {sport}", packet, "nic", "outbound_error", out=out)


def add_group_fragments(world):
    for number, sport in enumerate((5000, 5001, 5002)):
        agent = member_of(CLIENT, sport, 53, 17)
        packet = client4(UDP(sport=sport, dport=53), bytes(range(256)) * 12, flags=0, id=100 + number)
        through(world, f"group, datagram of {sport}", "inbound", pieces4(packet), pieces4(on(packet, dst=agent)))
        packet = IP(src=agent, dst=CLIENT, ttl=64, id=300 + number) / UDP(sport=53, dport=sport) / Raw(bytes(3000))
        through(world, f"group, datagram to {sport}", "outbound", pieces4(packet), pieces4(on(packet, src=PUBLIC)))
    agent = ip6.inside(member_of(CLIENT6, 5000, 53, 17))
    packet = client6(UDP(sport=5000, dport=53), bytes(range(256)) * 12)
    through(world, "group in IPv6, datagram", "inbound", pieces6(packet, 77), pieces6(on(packet, dst=agent), 77))


# ---- translated flows ----

def add_snat(world):
    port = snat_ports(CLIENT, 40000, 2022, 6)[0]
    for sport in (40000, 40007, 40008, 40009):
        packet = client4(segment(sport, 2022))
        world.inbound(f"snat, segment of {sport} before its connection", packet, "pass", "no_flow")
    packet = client4(opening(40000, 2022))
    world.inbound("snat, syn", packet, "tunnel", "inbound", out=on(packet, src=GATEWAY, sport=port, dst=PEER, dport=22))
    packet = IP(src=PEER, dst=GATEWAY, ttl=64) / TCP(sport=22, dport=port, flags="SA", ack=1, options=[("MSS", 8960)])
    world.outbound("snat, syn ack", packet, "nic", "outbound", out=on(packet, src=PUBLIC, sport=2022, dst=CLIENT, dport=40000))
    packet = client4(segment(40000, 2022), b"data!")
    world.inbound("snat, segment", packet, "tunnel", "inbound", out=on(packet, src=GATEWAY, sport=port, dst=PEER, dport=22))
    packet = IP(src=PEER, dst=GATEWAY, ttl=64) / segment(22, port, "FA")
    world.outbound("snat, fin", packet, "nic", "outbound", out=on(packet, src=PUBLIC, sport=2022, dst=CLIENT, dport=40000))
    for name, transport, reason in (
            ("a connection of its own", TCP(sport=22, dport=port, flags="S"), "unsolicited"),
            ("a broken segment", Raw(as_bytes(segment(22, port))[:15]), "malformed")):
        packet = IP(src=PEER, dst=GATEWAY, ttl=64, proto=6) / transport
        world.outbound(f"snat, {name}", packet, "drop", reason)
    world.outbound("snat, ttl 1", IP(src=PEER, dst=GATEWAY, ttl=1) / segment(22, port), "drop", "ttl")
    world.outbound("snat, another port of the Agent", IP(src=PEER, dst=GATEWAY, ttl=64) / segment(23, port), "pass", "answer")
    world.outbound("snat, datagram to a port without a flow", IP(src=PEER, dst=GATEWAY, ttl=64) / UDP(sport=5353, dport=20000), "drop",
                   "unsolicited")
    world.outbound("snat, past the gateway", IP(src=PEER, dst=CLIENT, ttl=64) / segment(22, 40000))
    add_snat_udp(world)
    add_snat6(world)
    add_snat_errors(world)
    add_snat_fragments(world)
    agent = member_of(CLIENT, 40000, 9443, 6)
    port = snat_ports(CLIENT, 40000, 9443, 6)[0]
    gateway = agent.rsplit(".", 1)[0] + ".1"
    packet = client4(opening(40000, 9443))
    world.inbound("snat of a group", packet, "tunnel", "inbound", out=on(packet, src=gateway, sport=port, dst=agent))
    packet = IP(src=agent, dst=gateway, ttl=64) / segment(9443, port, "SA")
    world.outbound("snat of a group, answer", packet, "nic", "outbound", out=on(packet, src=PUBLIC, dst=CLIENT, dport=40000))
    add_exhausted(world)


def add_snat_udp(world):
    for sport, dport, inside, extra in ((5000, 2053, 5353, {}), (5001, 2053, 5353, {"chksum": 0}), (5000, 6000, 6000, {})):
        port = snat_ports(CLIENT, sport, dport, 17)[0]
        packet = client4(UDP(sport=sport, dport=dport, **extra), b"question")
        without = " without a checksum" if extra else ""
        world.inbound(f"snat, datagram {sport} to {dport}{without}", packet, "tunnel", "inbound",
                      out=on(packet, src=GATEWAY, sport=port, dst=PEER, dport=inside))
        packet = IP(src=PEER, dst=GATEWAY, ttl=64) / UDP(sport=inside, dport=port, **extra) / Raw(b"answer")
        world.outbound(f"snat, datagram {sport} from {dport}", packet, "nic", "outbound",
                       out=on(packet, src=PUBLIC, sport=dport, dst=CLIENT, dport=sport))


def add_snat6(world):
    peer, gateway = ip6.inside(PEER), ip6.inside(GATEWAY)
    port = snat_ports(CLIENT6, 40000, 2022, 6)[0]
    packet = client6(opening(40000, 2022))
    world.inbound("snat in IPv6, syn", packet, "tunnel", "inbound", out=on(packet, src=gateway, sport=port, dst=peer, dport=22))
    packet = IPv6(src=peer, dst=gateway) / TCP(sport=22, dport=port, flags="SA", ack=1, options=[("MSS", 8960)])
    world.outbound("snat in IPv6, syn ack", packet, "nic", "outbound",
                   out=on(packet, src=PUBLIC6, sport=2022, dst=CLIENT6, dport=40000))
    packet = client6(segment(40001, 2022))
    world.inbound("snat in IPv6, segment before its connection", packet, "pass", "no_flow")
    sent = IPv6(src=PUBLIC6, dst=CLIENT6, hlim=60) / segment(2022, 40000) / Raw(b"y" * 900)
    quoted = ends(sent, src=peer, sport=22, dst=gateway, dport=port)
    packet = client6(ICMPv6PacketTooBig(mtu=1280), as_bytes(sent)[:100], src=ROUTER6)
    out = client6(ICMPv6PacketTooBig(mtu=1280), as_bytes(quoted)[:100], src=gateway, dst=peer)
    hop(out)
    world.inbound("snat in IPv6, path mtu", packet, "tunnel", "inbound_error", out=out)
    port = snat_ports(CLIENT6, 5000, 2053, 17)[0]
    packet = client6(UDP(sport=5000, dport=2053), bytes(range(256)) * 12)
    through(world, "snat in IPv6, datagram", "inbound", pieces6(packet, 79),
            pieces6(on(packet, src=gateway, sport=port, dst=peer, dport=5353), 79))
    packet = IPv6(src=peer, dst=gateway) / UDP(sport=5353, dport=port) / Raw(bytes(3000))
    through(world, "snat in IPv6, datagram", "outbound", pieces6(packet, 80),
            pieces6(on(packet, src=PUBLIC6, sport=2053, dst=CLIENT6, dport=5000), 80))
    came = IPv6(src=gateway, dst=peer, hlim=60) / UDP(sport=port, dport=5353) / Raw(b"x" * 20)
    packet = IPv6(src=peer, dst=gateway) / ICMPv6DestUnreach(code=4) / Raw(as_bytes(came))
    quoted = ends(came, src=CLIENT6, sport=5000, dst=PUBLIC6, dport=2053)
    out = IPv6(src=PUBLIC6, dst=CLIENT6, hlim=63) / ICMPv6DestUnreach(code=4) / Raw(as_bytes(quoted))
    world.outbound("snat in IPv6, port unreachable", packet, "nic", "outbound_error", out=out)


def add_snat_errors(world):
    port = snat_ports(CLIENT, 40000, 2022, 6)[0]
    sent = IP(src=PUBLIC, dst=CLIENT, ttl=60) / segment(2022, 40000) / Raw(b"y" * 900)
    inside = ends(sent, src=PEER, sport=22, dst=GATEWAY, dport=port)
    for quote in (28, 40, 300):
        packet = client4(ICMP(type=3, code=4, nexthopmtu=1280), as_bytes(sent)[:quote], src=ROUTER)
        out = client4(ICMP(type=3, code=4, nexthopmtu=1280), as_bytes(inside)[:quote], src=GATEWAY, dst=PEER)
        hop(out)
        world.inbound(f"snat, path mtu, quote of {quote}", packet, "tunnel", "inbound_error", out=out)
    unknown = ends(sent, dport=40001)
    packet = client4(ICMP(type=3, code=4, nexthopmtu=1280), as_bytes(unknown)[:60], src=ROUTER)
    world.inbound("snat, path mtu of no flow", packet)
    port = snat_ports(CLIENT, 5000, 2053, 17)[0]
    came = IP(src=GATEWAY, dst=PEER, ttl=60) / UDP(sport=port, dport=5353) / Raw(b"question")
    packet = IP(src=PEER, dst=GATEWAY, ttl=64) / ICMP(type=3, code=3) / Raw(as_bytes(came))
    outside = ends(came, src=CLIENT, sport=5000, dst=PUBLIC, dport=2053)
    out = IP(src=PUBLIC, dst=CLIENT, ttl=63) / ICMP(type=3, code=3) / Raw(as_bytes(outside))
    world.outbound("snat, port unreachable", packet, "nic", "outbound_error", out=out)
    own = IP(src=GATEWAY, dst=PEER, ttl=60) / UDP(sport=40001, dport=5353) / Raw(b"of the gateway")
    packet = IP(src=PEER, dst=GATEWAY, ttl=64) / ICMP(type=3, code=3) / Raw(as_bytes(own))
    world.outbound("snat, port unreachable to the gateway's own", packet, "pass", "answer")


def add_snat_fragments(world):
    port = snat_ports(CLIENT, 5000, 2053, 17)[0]
    packet = client4(UDP(sport=5000, dport=2053), bytes(range(256)) * 12, flags=0, id=200)
    through(world, "snat, datagram", "inbound", pieces4(packet),
            pieces4(on(packet, src=GATEWAY, sport=port, dst=PEER, dport=5353)))
    packet = IP(src=PEER, dst=GATEWAY, ttl=64, id=201) / UDP(sport=5353, dport=port) / Raw(bytes(3000))
    through(world, "snat, datagram", "outbound", pieces4(packet),
            pieces4(on(packet, src=PUBLIC, sport=2053, dst=CLIENT, dport=5000)))
    later = IP(src=PEER, dst=GATEWAY, ttl=64, id=202, proto=17, frag=175) / Raw(b"z" * 64)
    world.outbound("snat, fragment of another packet", later, "drop", "agent_fragment")


def add_exhausted(world):
    """Eight flows have the eight ports that a ninth can have."""
    exhaust(world, client4, CLIENT, (f"203.0.112.{i}" for i in range(1, 255)), 6000, GATEWAY, PEER, 6000)
    exhaust(world, client6, CLIENT6, (f"2001:db8:78::{i:x}" for i in range(1, 255)), 2053, ip6.inside(GATEWAY), ip6.inside(PEER), 5353)


def exhaust(world, make, client, others, port, gateway, peer, inside):
    wanted = set(snat_ports(client, 1, port, 17))
    for other, sport in itertools.product(others, range(1024, 65536, 64)):
        first = snat_ports(other, sport, port, 17)[0]
        if first not in wanted:
            continue
        wanted.remove(first)
        packet = make(UDP(sport=sport, dport=port), b"x", src=other)
        world.inbound(f"snat, {other}:{sport} takes {first}", packet, "tunnel", "inbound",
                      out=on(packet, src=gateway, sport=first, dst=peer, dport=inside))
        if not wanted:
            break
    else:
        raise ValueError(f"nobody takes {wanted}")
    name = "snat in IPv6" if make is client6 else "snat"
    for size in range(1, 9):
        world.inbound(f"{name}, all ports are taken, {size}", make(UDP(sport=1, dport=port), b"x" * size), "drop", "snat_exhausted")


# ---- draining ----

def add_draining(world):
    world.inbound("draining, syn", client4(opening(40000, 80)))
    packet = client4(segment(40000, 80))
    world.inbound("draining, segment", packet, "tunnel", "inbound", out=on(packet, dst=AGENTS[1]))
    packet = IP(src=AGENTS[1], dst=CLIENT, ttl=64) / segment(80, 40000)
    world.outbound("draining, answer", packet, "nic", "outbound", out=on(packet, src=PUBLIC))
    world.inbound("draining with snat, syn", client4(opening(40000, 81)))
    world.inbound("draining with snat, segment of no flow", client4(segment(40000, 81)))
    world.inbound("draining with snat, datagram of no flow", client4(UDP(sport=40000, dport=81), b"x"))


def add_to(world):
    add_groups(world)
    add_snat(world)
    add_draining(world)
