# SPDX-License-Identifier: MIT
"""Reply to ingress: one agent, two gateways that are both allowed everything.

    gateway b --- agent a --- gateway c        clients 198.51.100.x behind either gateway
"""
import os
import re
import signal
import socket
import subprocess
import time

import pytest

from kkwg_world import KKWG, WIREGUARD_GO, End, World, wait_for

CLIENT = "198.51.100.7"
SERVER = "10.98.0.1"


def set_key(end):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(end.socket)
        s.sendall(b"set=1\nreply_to_ingress=true\n\n")
        assert s.recv(100) == b"errno=0\n\n"


def agent_with_gateways(w, gateway, flags=("--reply-to-ingress",)):
    """Tunnels up, 198.51.100.0/24 routed to the agent's interface."""
    agent = End(w, "a", KKWG, flags)
    gateways = [End(w, side, gateway) for side in "bc"]
    agent.start()
    if not flags:
        set_key(agent)
    conf = f"[Interface]\nPrivateKey={agent.private}\nListenPort=51820\n"
    for n, g in enumerate(gateways):
        g.start()
        name = f"g{n}"
        subprocess.run(["ip", "link", "add", name, "netns", agent.ns, "type", "veth", "peer", "name",
                        "eth", "netns", g.ns], check=True)
        agent.ip("addr", "add", f"192.0.{n + 10}.1/24", "dev", name)
        agent.ip("link", "set", name, "up")
        g.ip("addr", "add", f"192.0.{n + 10}.2/24", "dev", "eth")
        g.ip("link", "set", "eth", "up")
        conf += (f"[Peer]\nPublicKey={g.public}\nEndpoint=192.0.{n + 10}.2:51820\n"
                 "AllowedIPs=0.0.0.0/0, ::/0\nPersistentKeepalive=1\n")
    agent.wg("setconf", agent.iface, "/dev/stdin", stdin=conf)
    shown = agent.wg("show", agent.iface, "allowed-ips")
    assert shown.count("0.0.0.0/0") == 2 and shown.count("::/0") == 2
    agent.ip("addr", "add", f"{SERVER}/32", "dev", agent.iface)
    agent.ip("link", "set", agent.iface, "up")
    agent.ip("route", "add", "198.51.100.0/24", "dev", agent.iface)
    for g in gateways:
        g.configure([(agent, None, "")])
        g.ip("link", "set", g.iface, "up")
    return agent, gateways


def client_on(gateways):
    """The client's address lives on both gateways: it moves from one to the other."""
    for g in gateways:
        g.ip("addr", "add", f"{CLIENT}/32", "dev", "lo")
        g.ip("route", "add", SERVER, "dev", g.iface, "src", CLIENT)
    for g in gateways:
        wait_for(lambda: g.exec("ping", "-c1", "-W1", SERVER, check=False).count("1 received"),
                 "a way through " + g.ns)


def script(w, ns, text, *args, **kw):
    p = subprocess.Popen(["ip", "netns", "exec", ns, "/usr/bin/python3", "-u", "-c", text, *args], text=True, **kw)
    w.undo.append(lambda: (p.kill(), p.wait()))
    return p


# Says by itself how often it has spoken, five times a second.
TALKER = """
import socket, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", 80)); s.listen(8)
c, a = s.accept()
n = 0
while True:
    n += 1
    c.sendall(b"%d\\n" % n)
    time.sleep(0.2)
"""
LISTENER = """
import socket, sys
s = socket.create_connection((sys.argv[1], 80), 5, (sys.argv[2], 40000))
s.settimeout(0.5)
while True:
    try: got = s.recv(100)
    except TimeoutError: s.sendall(b"x"); continue
    if not got: break
    print(got.decode().split()[-1])
"""
# Segments that look as if the client had sent them: late, or made up.
FORGER = """
import socket, struct, sys
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
def add(data):
    total = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
def segment(flags, seq, ack):
    ends = socket.inet_aton(sys.argv[2]) + socket.inet_aton(sys.argv[1])
    tcp = struct.pack(">HHIIBBHHH", 40000, 80, seq, ack, 0x50, flags, 1000, 0, 0)
    tcp = tcp[:16] + struct.pack(">H", add(ends + struct.pack(">HH", 6, 20) + tcp)) + tcp[18:]
    raw.sendto(struct.pack(">BBHHHBBH", 0x45, 0, 40, 0, 0, 64, 6, 0) + ends + tcp, (sys.argv[1], 0))
for i in range(20):
    base = i * 0x0d000001 + 77
    for flags in (4, 20, 2, 16, 17, 24): segment(flags, base & 0xffffffff, (base * 5) & 0xffffffff)
"""


def arrived(end):
    return int(end.exec("cat", f"/sys/class/net/{end.iface}/statistics/rx_packets"))


def numbers(p, count):
    return [int(p.stdout.readline()) for _ in range(count)]


def test_forged_segments_move_nothing():
    """A connection through one gateway; what others write in its name and send to the other has no effect."""
    with World() as w:
        agent, (other, gateway) = agent_with_gateways(w, KKWG)
        client_on([other, gateway])
        script(w, agent.ns, TALKER)
        wait_for(lambda: ":80 " in agent.exec("ss", "-Hltn"), "the server")
        client = script(w, gateway.ns, LISTENER, SERVER, CLIENT, stdout=subprocess.PIPE)
        numbers(client, 3)
        # A gateway that gets a packet of a connection that it does not know would reset it.
        before = arrived(other)
        assert script(w, other.ns, FORGER, SERVER, CLIENT).wait(10) == 0
        numbers(client, 10)
        assert arrived(other) == before


def test_flow_moves_when_its_gateway_dies():
    """The client's packets come by the other gateway, and so the answers leave by that."""
    with World() as w:
        agent, gateways = agent_with_gateways(w, KKWG)
        client = End(w, "d", None)
        client.ip("addr", "add", f"{CLIENT}/32", "dev", "lo")
        for n, g in enumerate(gateways):
            subprocess.run(["ip", "link", "add", f"d{n}", "netns", client.ns, "type", "veth", "peer", "name",
                            "in", "netns", g.ns], check=True)
            client.ip("addr", "add", f"203.0.{n}.2/24", "dev", f"d{n}")
            client.ip("link", "set", f"d{n}", "up")
            g.ip("addr", "add", f"203.0.{n}.1/24", "dev", "in")
            g.ip("link", "set", "in", "up")
            g.ip("route", "add", CLIENT, "via", f"203.0.{n}.2")
            g.ip("route", "add", SERVER, "dev", g.iface)
            g.exec("sysctl", "-qw", "net.ipv4.ip_forward=1")
        for n in (0, 1):
            client.ip("route", "replace", SERVER, "via", f"203.0.{n}.1", "src", CLIENT)
            wait_for(lambda: client.exec("ping", "-c1", "-W1", SERVER, check=False).count("1 received"),
                     f"a way through gateway {n}")
        script(w, agent.ns, TALKER)
        wait_for(lambda: ":80 " in agent.exec("ss", "-Hltn"), "the server")
        p = script(w, client.ns, LISTENER, SERVER, CLIENT, stdout=subprocess.PIPE)
        last = numbers(p, 3)[-1]
        os.kill(gateways[1].process.pid, signal.SIGKILL)
        client.ip("route", "replace", SERVER, "via", "203.0.0.1", "src", CLIENT)
        since = time.monotonic()
        assert numbers(p, 10)[-1] > last
        assert time.monotonic() < since + 15


@pytest.mark.parametrize("gateway", [KKWG, WIREGUARD_GO])
@pytest.mark.parametrize("switch", ["flag", "key"])
def test_flow_follows_its_gateway(gateway, switch):
    with World() as w:
        agent, gateways = agent_with_gateways(w, gateway, ["--reply-to-ingress"] if switch == "flag" else [])
        client_on(gateways)
        # Back and forth: each reply comes back to the gateway that asked.
        for _ in range(3):
            for g in gateways:
                out = g.exec("ping", "-c5", "-i0.05", "-W1", "-e", "77", "10.98.0.1", check=False) \
                    if "-e <identifier>" in g.exec("ping", "-h", check=False) \
                    else g.exec("ping", "-c5", "-i0.05", "-W1", "10.98.0.1", check=False)
                # One may be lost where both ends begin a handshake at once.
                assert re.search(r"[45] received", out), out
        # TCP with the same addresses and ports through one, then the other.
        server = subprocess.Popen(["ip", "netns", "exec", agent.ns, "/usr/bin/python3", "-c", """
import socket
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("10.98.0.1", 80)); s.listen(8)
while True:
    c, a = s.accept(); c.sendall(a[0].encode()); c.close()
"""])
        w.undo.append(lambda: (server.kill(), server.wait()))
        wait_for(lambda: ":80 " in agent.exec("ss", "-Hltn"), "the server")
        for g in gateways * 2:
            got = g.exec("/usr/bin/python3", "-c", f"""
import socket
s = socket.create_connection(("10.98.0.1", 80), 3, ("{CLIENT}", 0)); print(s.recv(100).decode())
""")
            assert got.strip() == CLIENT
