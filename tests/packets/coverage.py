#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Says what the packet cases do not cover, and ends with 1 if there is anything: both families, each with TCP, UDP and the errors
about them, options and extension headers, fragments, sizes, groups, translated flows, and every reason that a packet of it can have.

What a case is about is read off its packets by scapy; nothing is taken from its name.
"""

import itertools
import json
import pathlib
import re
import sys

from scapy.all import (IP, IPerror, IPerror6, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting,
                       TCP, TCPerror, UDP)

EXTENSIONS = (IPv6ExtHdrHopByHop, IPv6ExtHdrDestOpt, IPv6ExtHdrRouting)
WAYS = {"inbound": "tunnel", "outbound": "nic"}
# That are none of a family, or not of this one.
OF_NO_FAMILY = {"not_ip", "host"}
HERE = pathlib.Path(__file__).parent


def reasons():
    """The names of all of them, as reasons.h has them."""
    return re.findall(r'^\tX\(\w+, \w+, "(\w+)"\)', (HERE / "../../include/kk/core/reasons.h").read_text(), re.MULTILINE)


def fragment_of(packet):
    if IPv6 in packet:
        header = packet.getlayer(IPv6ExtHdrFragment)
        offset, more = (header.offset, header.m) if header else (0, 0)
    else:
        offset, more = packet.frag, packet.flags.MF
    return "later" if offset else "first" if more else "whole"


def transport_of(packet):
    """Of an error what it is about."""
    if IPerror in packet or IPerror6 in packet:
        return "error about tcp" if TCPerror in packet or TCP in packet else "error about udp"
    return "tcp" if TCP in packet else "udp" if UDP in packet else "other"


def has_options(packet):
    """In its own header; of an error that may be the quoted one."""
    if IPv6 not in packet:
        return packet.ihl > 5
    layer = packet.payload
    while isinstance(layer, (*EXTENSIONS, IPv6ExtHdrFragment)):
        if isinstance(layer, EXTENSIONS):
            return True
        layer = layer.payload
    return False


def quotes_options(packet):
    if IPerror in packet:
        return packet[IPerror].ihl > 5
    return IPerror6 in packet and isinstance(packet[IPerror6].payload, EXTENSIONS)


def mss_of(packet):
    options = dict(packet[TCP].options) if TCP in packet and packet[TCP].flags.S else {}
    return options.get("MSS")


def tags_of(case, world):
    """What the case is about: tuples of which those that have to be there are looked for."""
    data = bytes.fromhex(case["in"])
    family = data[0] >> 4 if data else 0
    yield "reason", family, case["reason"]
    header = {4: (IP, 20), 6: (IPv6, 40)}.get(family)
    if not header or len(data) < header[1]:
        return
    packet = header[0](data)
    what, way = transport_of(packet), case.get("direction", "inbound")
    yield family, what, case["reason"]
    if case["verdict"] != WAYS[way]:
        return
    yield family, way, what, fragment_of(packet)
    if has_options(packet):
        yield family, way, what, "options"
    if quotes_options(packet):
        yield family, way, what, "about options"
    if case.get("gso_size"):
        yield family, way, what, "segments"
    if mss_of(packet):
        out = header[0](bytes.fromhex(case["out"]))
        yield family, way, "mss", "lowered" if mss_of(out) < mss_of(packet) else "kept"


def flows(case, world):
    """Of cases that go on: whether a group or a translated flow is what they belong to."""
    data = bytes.fromhex(case["in"])
    way = case.get("direction", "inbound")
    if case["verdict"] != WAYS[way] or "out" not in case:
        return
    kind = IPv6 if data[0] >> 4 == 6 else IP
    packet, out = kind(data), kind(bytes.fromhex(case["out"]))
    if transport_of(packet) not in ("tcp", "udp"):
        if fragment_of(packet) == "later" and (packet.src != out.src) and (packet.dst != out.dst):
            yield data[0] >> 4, way, "translated", "later"
        return
    if packet.src != out.src and packet.dst != out.dst:
        yield data[0] >> 4, way, "translated", transport_of(packet)
    port = packet.dport if way == "inbound" else out.sport
    if any(l.get("group") and l["port"] == port and l["protocol"] == transport_of(packet) for l in world["listeners"]):
        yield data[0] >> 4, way, "group", transport_of(packet)


def wanted():
    for family, way in itertools.product((4, 6), WAYS):
        for transport in ("tcp", "udp"):
            yield from ((family, way, transport, what) for what in ("whole", "first", "options"))
            yield from ((family, way, f"error about {transport}", what) for what in ("whole", "options", "about options"))
            yield from ((family, way, kind, transport) for kind in ("group", "translated"))
        yield family, way, "tcp", "segments"
        yield family, way, "translated", "later"
        yield from ((family, way, "mss", what) for what in ("lowered", "kept"))
    for family in (4, 6):
        for transport in ("tcp", "udp"):
            yield from ((family, transport, reason) for reason in (
                "too_big", "malformed", "ttl", "martian", "pool_source", "denied", "banned", "closed_port", "not_published", "spoofed",
                "isolated", "not_ours"))
        for reason in reasons():
            if reason not in OF_NO_FAMILY:
                yield "reason", family, reason
        yield from (("reason", family, f"{way}_fragment") for way in WAYS)


def main():
    found = set()
    for name in ("cases.json", "edge.json"):
        for world in json.loads((HERE / name).read_text())["worlds"]:
            world.setdefault("groups", [])
            for case in world["cases"]:
                found.update(tags_of(case, world))
                found.update(flows(case, world))
    missing = [what for what in dict.fromkeys(wanted()) if what not in found]
    for what in missing:
        print("no case:", *what)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
