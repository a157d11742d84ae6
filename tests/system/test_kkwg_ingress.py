# SPDX-License-Identifier: MIT
"""Reply to ingress: one agent, two gateways that are both allowed everything.

    gateway b --- agent a --- gateway c        clients 198.51.100.x behind either gateway
"""
import re
import subprocess

import pytest

from kkwg_world import KKWG, WIREGUARD_GO, End, World, wait_for

CLIENT = "198.51.100.7"


@pytest.mark.parametrize("gateway", [KKWG, WIREGUARD_GO])
@pytest.mark.parametrize("switch", ["flag", "key"])
def test_flow_follows_its_gateway(gateway, switch):
    with World() as w:
        agent = End(w, "a", KKWG, ["--reply-to-ingress"] if switch == "flag" else [])
        gateways = [End(w, side, gateway) for side in "bc"]
        agent.start()
        if switch == "key":
            import socket
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(agent.socket)
                s.sendall(b"set=1\nreply_to_ingress=true\n\n")
                assert s.recv(100) == b"errno=0\n\n"
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
        agent.ip("addr", "add", "10.98.0.1/32", "dev", agent.iface)
        agent.ip("link", "set", agent.iface, "up")
        agent.ip("route", "add", "198.51.100.0/24", "dev", agent.iface)
        for g in gateways:
            g.configure([(agent, None, "")])
            # The client's address lives on both: it moves from one gateway to the other.
            g.ip("addr", "add", f"{CLIENT}/32", "dev", "lo")
            g.ip("link", "set", g.iface, "up")
            g.ip("route", "add", "10.98.0.1/32", "dev", g.iface, "src", CLIENT)
        for g in gateways:
            wait_for(lambda: g.exec("ping", "-c1", "-W1", "10.98.0.1", check=False).count("1 received"),
                     "a way through " + g.ns)
        # Back and forth: each reply comes back to the gateway that asked.
        for _ in range(3):
            for g in gateways:
                out = g.exec("ping", "-c5", "-i0.05", "-W1", "-e", "77", "10.98.0.1", check=False) \
                    if "-e <identifier>" in g.exec("ping", "-h", check=False) \
                    else g.exec("ping", "-c5", "-i0.05", "-W1", "10.98.0.1", check=False)
                assert re.search(r"5 received", out), out
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
