# SPDX-License-Identifier: MIT
"""A UDP service: answers every datagram with its own text and the address it came from.

Where the datagram begins with a PROXY protocol header (version 2, IPv4, as haproxy's proxy-protocol.txt gives it),
the address in that is the sender's.
"""

import socket
import struct
import sys

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
DATAGRAM_IPV4 = 0x12


def unwrap(datagram, sender):
    """The text and the address of the client that sent it."""
    if not datagram.startswith(SIGNATURE):
        return datagram, sender
    family, length = struct.unpack_from("!BH", datagram, len(SIGNATURE) + 1)
    if family == DATAGRAM_IPV4:
        address, _, port, _ = struct.unpack_from("!4s4sHH", datagram, len(SIGNATURE) + 4)
        sender = (socket.inet_ntoa(address), port)
    return datagram[len(SIGNATURE) + 4 + length:], sender


def main():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((sys.argv[1], int(sys.argv[2])))
    while True:
        datagram, peer = server.recvfrom(65536)
        text, client = unwrap(datagram, peer)
        server.sendto(text + f" from {client[0]}:{client[1]}".encode(), peer)


if __name__ == "__main__":
    main()
