# SPDX-License-Identifier: MIT
"""Packets as bytes, and what is done to them after scapy has counted the checksums."""

from scapy.all import Padding, raw


def as_bytes(packet):
    return packet if isinstance(packet, bytes) else raw(packet)


def unpad(packet):
    """Takes link padding off: it does not belong to the IP packet."""
    if Padding in packet:
        packet[Padding].underlayer.remove_payload()


def patched(packet, offset, new):
    """Bytes of the packet replaced after scapy has counted the checksums."""
    data = bytearray(as_bytes(packet))
    data[offset:offset + len(new)] = new
    return bytes(data)


def with_sum_error(before, after, offset):
    """Both packets with the same error in the checksum at offset: a wrong checksum has to stay wrong by the same amount."""
    def wrong(packet):
        data = as_bytes(packet)
        value = (int.from_bytes(data[offset:offset + 2], "big") + 0x0101 - 1) % 0xffff + 1
        return patched(data, offset, value.to_bytes(2, "big"))
    return wrong(before), wrong(after)


def balance(data, start, end):
    """2 bytes that make the transport header quoted from start to end, its checksum last, sum up to the complement of that."""
    words = [int.from_bytes(data[i:i + 2], "big") for i in range(start, end, 2)]
    return ((-(sum(words) + words[-1])) % 0xffff).to_bytes(2, "big")
