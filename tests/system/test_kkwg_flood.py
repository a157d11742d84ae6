# SPDX-License-Identifier: MIT
"""A flood of junk, or of handshakes that look valid, as fast as this machine can make it, beside a legitimate tunnel.

The machine that floods is the machine that is flooded here, and both share its processors with the tunnel and with
iperf3. So what counts is what the flood costs the engine: its CPU seconds per flood packet, and what of a stream that
is held to a rate, that the machine carries easily, is left. doc/tunnel.md has what an unbounded stream loses.
"""
import base64
import json
import os
import subprocess
import time

import pytest

from kkwg_world import BUILD, KKWG, PATIENCE, World, wait_for

TICK = os.sysconf("SC_CLK_TCK")
FLOOD = os.path.join(BUILD, "bench/flood")
# Microseconds of CPU for each packet of the flood: all but initiations the kernel drops. An initiation takes 0.8 where
# the engine gets many at once, and up to 4 where it has a processor to itself and wakes up for each of them; one whose
# Diffie-Hellman were computed would take a hundred.
LIMITS_US = {"junk": 0.2, "short": 0.2, "typed": 0.2, "data": 0.2, "handshakes": 12}


def cpu(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


class Flood:
    def __init__(self, a, b, kind, seconds):
        key = base64.b64decode(b.public).hex()
        self.process = subprocess.Popen(["ip", "netns", "exec", a.ns, FLOOD, b.outer4, "51820", kind, str(seconds), key],
                                        stdout=subprocess.PIPE, text=True)
        a.world.undo.append(lambda: (self.process.kill(), self.process.wait()))

    def sent(self):
        return int(self.process.communicate()[0])


def tunnel(w):
    a, b = w.pair(KKWG, KKWG)
    a.configure([(b, f"{b.outer4}:51820", "")])
    b.configure([(a, None, "")])
    a.up()
    b.up()
    a.ping(b.inner4)
    return a, b


@pytest.mark.parametrize("kind", LIMITS_US)
def test_cost(kind):
    with World() as w:
        a, b = tunnel(w)
        before = cpu(b.process.pid)
        sent = Flood(a, b, kind, 1.5).sent()
        cost = (cpu(b.process.pid) - before) / sent * 1e6
        print(f"{kind}: {sent / 1.5e3:.0f} kpps, {cost:.2f} us a packet")
        assert sent > 1000
        assert cost < LIMITS_US[kind] * PATIENCE, f"{cost:.2f} us of CPU for each packet of the flood"
        a.ping(b.inner4)


def bulk(w, a, b, rate):
    server = subprocess.Popen(["ip", "netns", "exec", b.ns, "iperf3", "-s", "-1"], stdout=subprocess.DEVNULL)
    w.undo.append(lambda: (server.kill(), server.wait()))
    wait_for(lambda: ":5201 " in b.exec("ss", "-Hltn"), "iperf3")
    out = a.exec("iperf3", "-J", "-t", "3", "-b", f"{rate:.0f}", "-c", b.inner4)
    server.wait(10)
    return json.loads(out)["end"]["sum_received"]["bits_per_second"]


@pytest.mark.parametrize("kind", ["junk", "data", "handshakes"])
def test_tunnel_goes_on(kind):
    with World() as w:
        a, b = tunnel(w)
        tries = []
        rate = 200e6
        # Others may keep the machine busy meanwhile, with the flood or without it: then it is asked to carry less.
        for _ in range(7):
            quiet = bulk(w, a, b, rate)
            if quiet < 0.75 * rate:
                tries.append(f"{quiet / 1e6:.0f} of {rate / 1e6:.0f} Mb/s without a flood")
                rate = max(rate / 2, 10e6)
                continue
            flood = Flood(a, b, kind, 4)
            time.sleep(0.5)
            loaded = bulk(w, a, b, rate)
            tries.append(f"{kind}: {quiet / 1e6:.0f} -> {loaded / 1e6:.0f} Mb/s, {flood.sent() / 4e3:.0f} kpps")
            if loaded > 0.9 * quiet:
                break
        else:
            pytest.fail("; ".join(tries))
        print(tries)


def test_new_session_during_a_flood():
    """From another address than the flood's, by way of a cookie."""
    with World() as w:
        a, b = tunnel(w)
        a.stop()
        wait_for(lambda: a.iface not in a.ip("link"), "the interface to go")
        a.ip("addr", "add", "192.0.2.99/24", "dev", "eth")
        flood = Flood(a, b, "handshakes", 20)
        time.sleep(1)
        a.start()
        # The flood was sent from the first address; the tunnel leaves from the other.
        a.ip("route", "replace", "192.0.2.2/32", "dev", "eth", "src", "192.0.2.99")
        a.configure([(b, f"{b.outer4}:51820", "")])
        a.up()
        wait_for(lambda: a.ping(b.inner4, check=False, wait=1), "a handshake during the flood", 16)
        assert flood.process.poll() is None and b.peer(a.public)["endpoint"].startswith("192.0.2.99:")
        flood.process.kill()
