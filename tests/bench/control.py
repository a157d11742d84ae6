#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Control at scale (make bench-control): 100 gateways and 5,000 Agents connected by one driver process
(tests/bench/control_nodes.c), 10,000 services. Prints a line a figure, "figure NAME VALUE UNIT":

  control-delta-p50-ms, -p99-ms   from the answer to a change of one service until the last gateway has its delta
  control-bytes-per-change        text of messages to all nodes for it
  control-apply-10k-s             from sending one apply that changes every service until the last of all nodes has it
  control-apply-10k-wire-s        of that, from the first node's receipt: what the messages alone take
  control-storm-s                 from SIGKILL of Control until all nodes are connected again and told
  control-kib-per-node            memory that a connected node costs, with the report that it sends
  control-rss-mib                 memory of Control with everything connected, after all of the above
"""

import argparse
import hashlib
import http.client
import json
import math
import pathlib
import secrets
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TREE / "tests"))

from control.daemon import BUILD, Control  # noqa: E402


class Driver:
    """The process that plays the nodes; its events in order."""

    def __init__(self, port, keys):
        self.process = subprocess.Popen([BUILD / "bench" / "control_nodes", str(port), keys], text=True, bufsize=1,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.all_at = {}

    def command(self, text):
        self.process.stdin.write(text + "\n")

    def wait(self, what, least=None):
        """The next event of this name, as numbers; of at least that generation."""
        for line in self.process.stdout:
            name, *values = line.split()
            values = [float(value) for value in values]
            if name == what and (least is None or values[0] >= least):
                return values
        raise RuntimeError("the driver of the nodes has ended")

    def stop(self):
        self.process.kill()
        self.process.wait()


class Api:
    """Calls that have to succeed, a connection each as kkctl makes them."""

    def __init__(self, control, address="127.0.3.1"):
        self.control = control
        self.line = http.client.HTTPSConnection("127.0.0.1", control.port, timeout=120, source_address=(address, 0),
                                                context=ssl._create_unverified_context())

    def call(self, method, path, body=None, key=None):
        self.line.close()  # which Control does with one that is idle
        self.line.connect()
        self.line.request(method, path, json.dumps(body) if body is not None else None,
                          {"Authorization": f"Bearer {self.control.key if key is None else key}"})
        answer = self.line.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:400]}")
        return text

    def do(self, method, path, body=None):
        return json.loads(self.call(method, f"/api/v1/{path}", body))


def world(args, turn):
    """Everything, with targets and limits that differ from turn to turn, so that Agents and gateways hear of it."""
    return {"gateways": [{"name": f"gw{n}", "address": f"198.18.0.{n}"} for n in range(1, args.gateways + 1)],
            "agents": [{"name": f"a{n}"} for n in range(1, args.agents + 1)],
            "services": [{"name": f"s{n}", "agent": f"a{n % args.agents + 1}", "protocol": "tcp", "port": n + 1000,
                          "target": f"127.0.0.1:{1000 + turn}", "proxy_protocol": False, "limit_connections": turn}
                         for n in range(1, args.services + 1)]}


def join_all(control, path):
    """Gives every node a key, straight into the database of a Control that is stopped: 5,100 joins one after the
    other are not what is measured. Writes the keys for the driver, gateways first."""
    database = sqlite3.connect(control.state / "control.db")
    with open(path, "w", encoding="utf-8") as file:
        for role in ("gateway", "agent"):
            for number, in database.execute(f"SELECT id FROM {role}s").fetchall():
                key = "kkn_" + secrets.token_urlsafe(32)
                database.execute(f"UPDATE {role}s SET key_hash = ? WHERE id = ?",
                                 (hashlib.sha256(key.encode()).digest(), number))
                file.write(f"{role} {key}\n")
    database.commit()
    database.close()


def resident_kib(control):
    text = pathlib.Path(f"/proc/{control.process.pid}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS:"))


def at_rest(control):
    """Its memory when that has stood still for 12 s, in which what was needed for a moment is given back."""
    readings = []
    while len(readings) < 5 or max(readings) - min(readings) > 1024:
        time.sleep(3)
        readings = readings[-4:] + [resident_kib(control)]
    return readings[-1]


def connected(api):
    return sum(int(line.split()[-1]) for line in api.call("GET", "/metrics").decode().splitlines()
               if line.startswith("kakuremichi_control_nodes_connected"))


def settle(driver):
    """Waits until nothing is sent to the nodes any more."""
    last, now = None, ()
    while now != last:
        last = now
        time.sleep(2)
        driver.command("bytes")
        now = driver.wait("bytes")


def percentile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, math.ceil(part * len(values)) - 1)]


UNITS = {"ms": "ms", "s": "s", "change": "B", "node": "KiB", "mib": "MiB"} # by how a name ends


def figure(name, value, digits=1):
    print(f"figure {name} {value:.{digits}f} {UNITS[name.rsplit('-', 1)[1]]}", flush=True)


def measure_changes(args, api, driver):
    driver.command("bytes")
    before, = driver.wait("bytes")
    times = []
    for turn in range(args.changes):
        answer = api.do("PATCH", f"services/s{turn % args.services + 1}?wait=0", {"target": f"10.9.9.9:{turn + 1}"})
        answered = time.monotonic()
        _, at = driver.wait("all", answer["generation"])
        times.append(max(0, at - answered) * 1000)
    time.sleep(0.5)
    driver.command("bytes")
    after, = driver.wait("bytes")
    figure("control-delta-p50-ms", percentile(times, 0.5))
    figure("control-delta-p99-ms", percentile(times, 0.99))
    figure("control-bytes-per-change", (after - before) / args.changes, 0)


def measure_apply(args, api, driver):
    body = world(args, 7)
    start = time.monotonic()
    answer = api.do("POST", "apply?wait=0", body)
    _, at, first = driver.wait("everybody", answer["generation"])
    assert len(answer["changes"]) == args.services, len(answer["changes"])
    figure("control-apply-10k-s", at - start, 2)
    figure("control-apply-10k-wire-s", at - first, 2)


def measure_storm(args, control, driver):
    start = time.monotonic()
    control.kill()
    control.start()
    api = Api(control)
    driver.command("connect")
    _ = driver.wait("up")
    while connected(api) < args.gateways + args.agents:
        time.sleep(0.05)
        assert time.monotonic() - start < 120, connected(api)
    figure("control-storm-s", time.monotonic() - start, 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateways", type=int, default=100)
    parser.add_argument("--agents", type=int, default=5000)
    parser.add_argument("--services", type=int, default=10000)
    parser.add_argument("--changes", type=int, default=200)
    args = parser.parse_args()
    nodes = args.gateways + args.agents
    with tempfile.TemporaryDirectory(prefix="kk-bench-") as directory:
        control = Control(pathlib.Path(directory) / "control", verbose=False).start()
        driver = None
        try:
            keys = pathlib.Path(directory) / "keys"
            api = Api(control)
            api.do("POST", "apply?wait=0", world(args, 0))
            # As it is after a restart: nothing is left in memory of how the world was made.
            control.stop()
            join_all(control, keys)
            control.start()
            api = Api(control)
            api.do("GET", "status")
            idle = resident_kib(control)
            driver = Driver(control.port, keys)
            driver.command("connect")
            driver.wait("up")
            while connected(api) < nodes:
                time.sleep(0.1)
            driver.command("report")
            settle(driver)
            loaded = at_rest(control)
            measure_changes(args, api, driver)
            measure_apply(args, api, driver)
            measure_storm(args, control, driver)
            figure("control-kib-per-node", (loaded - idle) / nodes)
            figure("control-rss-mib", resident_kib(control) / 1024)
        except Exception as error:
            raise RuntimeError(control.tail()) from error
        finally:
            if driver:
                driver.stop()
            if control.process:
                control.stop()


if __name__ == "__main__":
    main()
