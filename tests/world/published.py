# SPDX-License-Identifier: MIT
"""What the demo publishes, and how the outside user tries it: with the programs that people use."""

import dataclasses
import secrets
import socket

from . import netns, topology
from .processes import PATIENCE

TRY_S = str(10 * PATIENCE)


@dataclasses.dataclass(frozen=True)
class Published:
    name: str
    protocol: str
    port: int
    target: str
    proxy_protocol: bool
    probe: object  # (world, gateway address): tries it, returns the client that the service itself saw or None

    def options(self):
        """Those of `kkctl service add`, but for the Agent."""
        argv = [f"--{self.protocol}", str(self.port), "--target", self.target]
        return argv + (["--proxy-protocol"] if self.proxy_protocol else [])


def ssh_command(world, address, *command):
    ssh = world.services["ssh"]
    return netns.within(world.network["user"], "ssh", "-F", "none", "-p", "2222", "-i", str(ssh.key),
                        "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", f"ConnectTimeout={TRY_S}",
                        "-o", f"UserKnownHostsFile={ssh.directory}/known_hosts", f"{ssh.user}@{address}", *command)


def psql_command(world, address, query):
    connection = f"host={address} port=5432 user=demo dbname=postgres connect_timeout={TRY_S}"
    return netns.within(world.network["user"], "env", f"PGPASSWORD={world.services['postgres'].password}",
                        "psql", "-X", "-A", "-t", "-c", query, connection)


def curl_command(world, address):
    return netns.within(world.network["user"], "curl", "-sS", "-f", "-i", "--noproxy", "*", "--max-time", TRY_S,
                        f"http://{address}:8080/")


def _expect(what, wanted, got):
    if wanted not in got:
        raise AssertionError(f"{what} answered {got!r}, not {wanted!r}")


def try_ssh(world, address):
    """A login with a key; the command runs on the Agent's machine. sshd sees the relay, so it cannot tell."""
    word = secrets.token_hex(8)
    _expect("ssh", f"{word} /root", netns.sh(*ssh_command(world, address, f"echo {word} $HOME")))


def try_postgres(world, address):
    """A query, with a password. PostgreSQL sees the relay, so it cannot tell."""
    number = secrets.randbelow(1 << 30)
    _expect("psql", str(number + 1), netns.sh(*psql_command(world, address, f"select {number} + 1")))


def try_web(world, address):
    """The page. nginx takes the PROXY protocol and so knows the client."""
    head, _, body = netns.sh(*curl_command(world, address)).partition("\n\n")
    _expect("nginx", world.services["web"].page, body)
    return next(line.split()[1] for line in head.splitlines() if line.lower().startswith("x-client:"))


def try_udp(world, address):
    """A datagram and the answer to it."""
    word = secrets.token_hex(8)
    with netns.entered(world.network["user"]):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with client:
        client.settimeout(1)
        client.connect((address, 27015))
        for _ in range(int(TRY_S)):
            client.send(word.encode())
            try:
                _expect("the UDP service", f"{word} from ", client.recv(2048).decode())
                return None
            except TimeoutError:
                # UDP may lose a datagram: so does everyone who speaks it try again.
                continue
    raise TimeoutError(f"no answer within {TRY_S} s")


DEMO = (
    Published("ssh", "tcp", 2222, "127.0.0.1:22", False, try_ssh),
    Published("postgres", "tcp", 5432, f"{topology.LAN}:5432", False, try_postgres),
    Published("web", "tcp", 8080, f"{topology.LAN}:80", True, try_web),
    Published("udp", "udp", 27015, f"{topology.LAN}:27015", False, try_udp),
)
