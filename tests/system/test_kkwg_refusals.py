# SPDX-License-Identifier: MIT
"""kkwg on a kernel that refuses one of its offloads, at the start or later: traffic goes on, end to end."""
import os
import pathlib
import subprocess

import pytest

from kkwg_world import KKWG, World, wait_for

SOURCE = pathlib.Path(__file__).resolve().parent.parent / "preload/refuse.c"
REFUSALS = ["gso", "gro", "gso-eio", "gso-einval", "gso-emsgsize", "uso", "tso", "tso,offload", "vnet", "gso,partial",
            "enobufs", "eagain", "buffers", "ipv6", "gso,gro,vnet,buffers,ipv6,enobufs"]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("preload") / "refuse.so"
    subprocess.run([os.environ.get("CC", "gcc"), "-D_GNU_SOURCE", "-std=gnu17", "-O1", "-Wall", "-Wextra", "-Werror",
                    "-shared", "-fPIC", "-o", path, SOURCE, "-ldl"], check=True)
    return path


# Sends back all that comes, TCP and UDP.
ECHO = """
import socket, threading
def stream(s):
    while True:
        c, _ = s.accept()
        while got := c.recv(1 << 16): c.sendall(got)
        c.close()
for family, any in (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"):
    s = socket.socket(family); u = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        for x in s, u: x.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    u.bind((any, 7)); s.bind((any, 7)); s.listen()
    threading.Thread(target=stream, args=(s,)).start()
    def datagrams(u=u):
        while True:
            got, who = u.recvfrom(2000)
            u.sendto(got, who)
    threading.Thread(target=datagrams).start()
"""
# 4 MB there and back, then 200 datagrams, that leave the kernel ten at a time where it can. Prints how many came back.
CLIENT = """
import hashlib, os, socket, sys, threading
data = os.urandom(4 << 20)
s = socket.create_connection((sys.argv[1], 7), 10)
s.settimeout(30)
def send():
    s.sendall(data); s.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
back = b""
while got := s.recv(1 << 20): back += got
assert back == data, (len(back), len(data))
u = socket.socket(s.family, socket.SOCK_DGRAM)
u.connect((sys.argv[1], 7)); u.settimeout(1)
u.setsockopt(17, 103, 1300)
came = 0
for i in range(20):
    u.send(bytes([i]) * 13000)
    try:
        for j in range(10): came += u.recv(2000) == bytes([i]) * 1300
    except TimeoutError: pass
print(came)
"""


@pytest.mark.parametrize("what", REFUSALS)
def test_refusal(library, tmp_path, what):
    env = {"LD_PRELOAD": str(library), "KK_REFUSE": what, "KK_REFUSE_LOG": str(tmp_path / "refused")}
    with World() as w:
        a, b = w.pair(KKWG, KKWG, env=env)
        a.configure([(b, f"{b.outer4}:51820", "")])
        b.configure([(a, None, "")])
        a.up()
        b.up()
        echo = subprocess.Popen(["ip", "netns", "exec", b.ns, "/usr/bin/python3", "-c", ECHO])
        w.undo.append(lambda: (echo.kill(), echo.wait()))
        wait_for(lambda: b.exec("ss", "-Hltn").count(":7 ") == 2, "the server")
        for address in (b.inner4, b.inner6):
            a.ping(address)
            assert int(a.exec("/usr/bin/python3", "-c", CLIENT, address)) > 150
        for size in (0, 1392, 4000):
            a.ping(b.inner4, size=size)
        for name in what.split(","):
            assert os.path.exists(f"{tmp_path}/refused.{name}"), f"nothing of {name} was ever refused"
