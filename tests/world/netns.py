# SPDX-License-Identifier: MIT
"""Network namespaces: commands, sockets and links in them."""

import contextlib
import ctypes
import os
import subprocess

# How many times longer than here something may take: scripts/vm sets KK_VM, and emulates the processor.
PATIENCE = 10 if "KK_VM" in os.environ else 1
COMMAND_LIMIT_S = 60 * PATIENCE
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def sh(*argv, **options):
    """Runs a command that has to succeed and returns what it printed."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                          timeout=COMMAND_LIMIT_S, stdin=None if "input" in options else subprocess.DEVNULL, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: exit status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def within(namespace, *argv):
    """The command line that runs argv in a namespace. `ip netns exec` would hide /sys/fs/bpf from it."""
    return ["nsenter", f"--net=/run/netns/{namespace}", "--", *argv]


_waiting = None # what a batch has collected: lines for ip by namespace, None for those in none


@contextlib.contextmanager
def batch():
    """
    What is asked of ip(8) by the functions below is done at the end, by one process for each namespace: those in the order in
    which they first appear, lines of one as they came.
    """
    global _waiting
    _waiting = {None: []}
    try:
        yield
        for namespace, lines in _waiting.items():
            if lines:
                sh("ip", *(["-n", namespace] if namespace else []), "-batch", "-", input="\n".join(lines) + "\n")
    finally:
        _waiting = None


def _ip(namespace, *argv):
    if _waiting is None:
        sh("ip", *(["-n", namespace] if namespace else []), *argv)
    else:
        _waiting.setdefault(namespace, []).append(" ".join(argv))


def add(namespace):
    _ip(None, "netns", "add", namespace)
    _ip(namespace, "link", "set", "lo", "up")


def exists(namespace):
    return os.path.exists(f"/run/netns/{namespace}")


def pids(namespace):
    if not exists(namespace):
        return []
    return [int(pid) for pid in sh("ip", "netns", "pids", namespace).split()]


def add_bridge(namespace, name, address=None):
    _ip(namespace, "link", "add", name, "type", "bridge")
    if address:
        _ip(namespace, "addr", "add", address, "dev", name)
    _ip(namespace, "link", "set", name, "up")


def add_cable(namespace, interface, peer_namespace, peer_interface, bridge=None, peer_address=None):
    """A veth pair between two namespaces, the near end plugged into a bridge where one is named."""
    _ip(namespace, "link", "add", interface, "type", "veth",
        "peer", "name", peer_interface, "netns", peer_namespace)
    if bridge:
        _ip(namespace, "link", "set", interface, "master", bridge)
    _ip(namespace, "link", "set", interface, "up")
    if peer_address:
        _ip(peer_namespace, "addr", "add", peer_address, "dev", peer_interface)
    _ip(peer_namespace, "link", "set", peer_interface, "up")


def add_address(namespace, interface, address):
    _ip(namespace, "addr", "add", address, "dev", interface)


def add_address6(namespace, interface, address):
    """Without waiting for duplicates to be found: there are none."""
    _ip(namespace, "addr", "add", address, "dev", interface, "nodad")


def add_default_route(namespace, via):
    _ip(namespace, "route", "add", "default", "via", via)


def set_forwarding(namespace, on=True):
    sh(*within(namespace, "sh", "-c", f"echo {int(on)} >/proc/sys/net/ipv4/ip_forward; "
               f"echo {int(on)} >/proc/sys/net/ipv6/conf/all/forwarding"))


@contextlib.contextmanager
def entered(namespace):
    """The calling thread is in the namespace meanwhile; sockets made here belong to it for good."""
    with open("/proc/thread-self/ns/net", "rb") as home, open(f"/run/netns/{namespace}", "rb") as there:
        _setns(there)
        try:
            yield
        finally:
            _setns(home)


def _setns(namespace_file):
    if _libc.setns(namespace_file.fileno(), _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
