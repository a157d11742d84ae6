# SPDX-License-Identifier: MIT
"""What a run has made, written down before it is made, so that it can be taken down by whoever comes next.

/run/kakuremichi-demo/ID/record.json names the namespaces, tunnel interfaces and pin directories of a run, and the
processes it started, each by pid and start time (a pid alone may since belong to someone else).
"""

import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import time

from . import netns

BASE = pathlib.Path("/run/kakuremichi-demo")
UAPI_SOCKETS = pathlib.Path("/var/run/wireguard")
PINS = pathlib.Path("/sys/fs/bpf/kakuremichi")
END_GRACE_S = 5
UNWRITTEN_S = 60


def start_time(pid):
    """The kernel's start time of a process in clock ticks, None if there is none or it is a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])


def alive(process):
    return process is not None and start_time(process["pid"]) == process["start_time"]


class Record:
    def __init__(self, run_id):
        self.id = run_id
        self.directory = BASE / run_id
        self.data = {"owner": None, "kept": False, "namespaces": [], "interfaces": [], "processes": []}

    @classmethod
    def new(cls):
        """A fresh run that belongs to this process."""
        run_id = os.urandom(2).hex()
        while (BASE / run_id).exists():
            run_id = os.urandom(2).hex()
        record = cls(run_id)
        record.directory.mkdir(parents=True)
        record.data["owner"] = {"pid": os.getpid(), "start_time": start_time(os.getpid())}
        record.write()
        return record

    @classmethod
    def load(cls, run_id):
        record = cls(run_id)
        with open(record.directory / "record.json", encoding="utf-8") as file:
            record.data.update(json.load(file))
        return record

    def write(self):
        fresh = self.directory / "record.json.new"
        fresh.write_text(json.dumps(self.data), encoding="utf-8")
        fresh.rename(self.directory / "record.json")

    def _add(self, kind, value):
        self.data[kind].append(value)
        self.write()
        return value

    def namespace(self, name):
        """The name, unique to this run, of the namespace `name`."""
        return self._add("namespaces", f"kk-{self.id}-{name}")

    def interface(self, name):
        """The same for a tunnel interface, or the beginning of several; at most 15 bytes with what follows."""
        return self._add("interfaces", f"k{self.id}{name}")

    def pin_dir(self, name):
        return PINS / f"demo-{self.id}-{name}"

    def sockets(self):
        """The control sockets of this run's userspace tunnels."""
        return [socket for interface in self.data["interfaces"] for socket in UAPI_SOCKETS.glob(f"{interface}*.sock")]

    def process(self, pid):
        self._add("processes", {"pid": pid, "start_time": start_time(pid)})

    def keep(self):
        self.data["kept"] = True
        self.write()

    def take_down(self):
        """Ends and removes everything of the run; what is gone already is no error."""
        end([process["pid"] for process in reversed(self.data["processes"]) if alive(process)])
        for namespace in self.data["namespaces"]:
            end(netns.pids(namespace))
        for namespace in self.data["namespaces"]:
            if netns.exists(namespace):
                netns.sh("ip", "netns", "del", namespace)
        for socket in self.sockets():
            socket.unlink()
        for pins in PINS.glob(f"demo-{self.id}-*"):
            shutil.rmtree(pins)
        shutil.rmtree(self.directory, ignore_errors=True)


def end(pids):
    """SIGTERM, and SIGKILL for those that are still there after END_GRACE_S."""
    for how, grace_s in ((signal.SIGTERM, END_GRACE_S), (signal.SIGKILL, END_GRACE_S)):
        pids = [pid for pid in pids if start_time(pid) is not None]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, how)
            except ProcessLookupError:
                pass
        deadline = time.monotonic() + grace_s
        while any(start_time(pid) is not None for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.02)


def runs():
    """The records of all runs on this machine."""
    found = []
    for directory in sorted(BASE.glob("*")):
        if not re.fullmatch("[0-9a-f]{4}", directory.name):
            continue
        try:
            found.append(Record.load(directory.name))
        except FileNotFoundError:
            # Another run is about to write its record, or is being removed, or was killed in between.
            if time.time() - directory.stat().st_mtime > UNWRITTEN_S:
                shutil.rmtree(directory)
    return found


def sweep():
    """Takes down what crashed runs have left: nobody owns it any more, and nobody asked to keep it."""
    swept = []
    BASE.mkdir(exist_ok=True)
    with open(BASE / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for record in runs():
            if not record.data["kept"] and not alive(record.data["owner"]):
                record.take_down()
                swept.append(record.id)
    return swept
