# SPDX-License-Identifier: MIT
"""A flood of junk, or of handshakes that look valid, beside a legitimate tunnel.

The machine that floods is the machine that is flooded here, so what counts is what the flood costs the
engine: its CPU seconds per flood packet, and the throughput of a tunnel whose sender is held to a rate
that the engine carries easily.
"""
import json
import os
import subprocess
import time

import pytest

from kkwg_world import KKWG, World, run, wait_for

TICK = os.sysconf("SC_CLK_TCK")
FLOOD = """
import os, socket, struct, sys, time, hashlib
kind, key, seconds, rate = sys.argv[1], bytes.fromhex(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("192.0.2.2", 51820))
mac1 = hashlib.blake2s(b"mac1----" + key).digest()
def initiation():
    m = struct.pack("<II", 1, 7) + os.urandom(32 + 48 + 28)
    return m + hashlib.blake2s(m, key=mac1, digest_size=16).digest() + bytes(16)
if kind == "junk":
    packets = [os.urandom(100 + i) for i in range(256)]
else:
    packets = [initiation() for i in range(256)]
start, sent = time.monotonic(), 0
while time.monotonic() < start + seconds:
    for p in packets:
        try: s.send(p)
        except OSError: pass
    sent += 256
    ahead = sent / rate - (time.monotonic() - start)
    if ahead > 0: time.sleep(ahead)
print(sent)
"""


def cpu(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


@pytest.mark.parametrize("kind", ["junk", "handshakes"])
def test_flood(kind):
    import base64
    with World() as w:
        a, b = w.pair(KKWG, KKWG)
        a.configure([(b, f"{b.outer4}:51820", "")])
        b.configure([(a, None, "")])
        a.up()
        b.up()
        a.ping(b.inner4)

        def bulk():
            server = subprocess.Popen(["ip", "netns", "exec", b.ns, "iperf3", "-s", "-1"],
                                      stdout=subprocess.DEVNULL)
            w.undo.append(lambda: (server.kill(), server.wait()))
            wait_for(lambda: ":5201 " in b.exec("ss", "-Hltn"), "iperf3")
            out = a.exec("iperf3", "-J", "-t", "3", "-b", "200M", "-c", b.inner4)
            server.wait(10)
            return json.loads(out)["end"]["sum_received"]["bits_per_second"]

        def flood(seconds):
            key = base64.b64decode(b.public).hex()
            return subprocess.Popen(["ip", "netns", "exec", a.ns, "/usr/bin/python3", "-c", FLOOD, kind,
                                     key, str(seconds), "30000"], stdout=subprocess.PIPE, text=True)

        # What the flood alone costs the engine.
        idle = cpu(b.process.pid)
        p = flood(2)
        sent = int(p.communicate()[0])
        cost = (cpu(b.process.pid) - idle) / sent
        assert cost < 10e-6, f"{cost * 1e6:.1f} us of CPU for each packet of the flood"
        quiet = bulk()
        p = flood(5)
        time.sleep(0.5)
        loaded = bulk()
        p.communicate()
        print(f"{kind}: {cost * 1e6:.2f} us a packet, {quiet / 1e6:.0f} -> {loaded / 1e6:.0f} Mb/s")
        assert loaded > 0.9 * quiet
        # And a new peer still gets in, by way of a cookie if need be.
        a.stop()
        run("ip", "-n", a.ns, "link", "del", a.iface, check=False)
        wait_for(lambda: a.iface not in a.ip("link"), "the interface to go")
        a.start()
        a.configure([(b, f"{b.outer4}:51820", "")])
        a.up()
        p = flood(12)
        wait_for(lambda: a.ping(b.inner4, check=False, wait=1), "a handshake during the flood", 11)
        p.kill()
        p.communicate()
