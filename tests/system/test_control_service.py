# SPDX-License-Identifier: MIT
"""What systemd is told of kkcontrold, and what it holds it to."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from control.daemon import Control  # noqa: E402
from control.node import Node  # noqa: E402

TREE = pathlib.Path(__file__).resolve().parents[2]
UNIT = TREE / "packaging" / "kkcontrold.service"
WATCHDOG_S = 2


class Watched(Control):
    """Started as systemd would: with a socket to notify, and a watchdog."""

    def __init__(self, state):
        super().__init__(state)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.path = state.with_suffix(".notify")
        self.socket.bind(str(self.path))

    def start(self):
        before = dict(os.environ)
        os.environ.update(NOTIFY_SOCKET=str(self.path), WATCHDOG_USEC=str(WATCHDOG_S * 1000000))
        try:
            return super().start()
        finally:
            os.environ.clear()
            os.environ.update(before)

    def told(self, within_s):
        """What comes next, a list of lines; None if nothing does."""
        self.socket.settimeout(within_s or 0.001)
        try:
            return self.socket.recv(4096).decode().split("\n")
        except TimeoutError:
            return None

    def hears(self, message, within_s=20):
        deadline = time.monotonic() + within_s
        while (left := deadline - time.monotonic()) > 0:
            if message in (self.told(left) or []):
                return True
        return False


@pytest.fixture(name="control")
def make_control(tmp_path):
    control = Watched(tmp_path / "control")
    yield control
    if control.process:
        control.stop()
    control.socket.close()


def test_ready_when_it_serves_and_not_before(control):
    with open(control.log, "ab") as log:
        control.process = subprocess.Popen(control.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                           env={**os.environ, "NOTIFY_SOCKET": str(control.path)})
    assert control.told(20) == ["READY=1"]
    # At once, without another try.
    assert control.call("GET", "/healthz", key="")[0] == 200
    assert control.admin()["url"].endswith(f":{control.port}")
    control.process.send_signal(signal.SIGHUP)
    assert control.told(20) == ["RELOADING=1"] and control.told(20) == ["READY=1"]
    control.process.terminate()
    assert control.told(20) == ["STOPPING=1"]


def test_never_ready_where_it_cannot_serve(control):
    with socket.create_server(("127.0.0.1", control.port)):
        done = subprocess.run(control.command(), stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False,
                              env={**os.environ, "NOTIFY_SOCKET": str(control.path)})
    assert done.returncode == 1 and control.told(0) is None


def test_the_watchdog_is_fed_while_the_loop_turns(control):
    control.start()
    assert control.hears("READY=1")
    fed = [control.hears("WATCHDOG=1", WATCHDOG_S * 3) for _ in range(4)]
    assert all(fed)


def test_a_loop_that_hangs_does_not_feed_it(control):
    """A change has to wait for the database, which somebody holds, and with it all else."""
    control.start()
    assert control.hears("WATCHDOG=1")
    with contextlib.closing(sqlite3.connect(control.state / "control.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        calls = [threading.Thread(target=control.call, args=("POST", "/api/v1/agents", {"name": f"a{i}"}), daemon=True)
                 for i in range(3)]
        for call in calls:
            call.start()
        deadline = time.monotonic() + 20
        while control.told(WATCHDOG_S) is not None:
            assert time.monotonic() < deadline, "systemd would not have noticed"
        database.execute("ROLLBACK")
    # It goes on, and says so.
    assert control.hears("WATCHDOG=1")
    for call in calls:
        call.join(20)


def test_lines_for_the_journal_have_priorities(tmp_path):
    """With its standard error at the journal, each line says how bad it is; without, who says it."""
    before = os.environ.get("JOURNAL_STREAM")
    control = Control(tmp_path / "journal")
    os.environ["JOURNAL_STREAM"] = "1:1"
    try:
        control.start()
    finally:
        os.environ.pop("JOURNAL_STREAM")
        if before is not None:
            os.environ["JOURNAL_STREAM"] = before
    control.stop()
    lines = control.log.read_text(encoding="utf-8").splitlines()
    assert lines and all(re.match(r"<[3-7]>\S", line) for line in lines), lines
    assert any(line.startswith("<6>version ") and f"serving https://127.0.0.1:{control.port}" in line for line in lines)


def events(text):
    """The fields behind the sentences, of every line that has some."""
    lines = [dict((name, value or quoted.replace('\\"', '"')) for name, quoted, value in
                  re.findall(r' (\w+)=(?:"((?:[^"\\]|\\.)*)"|(\S+))', line)) for line in text.splitlines()]
    return [line for line in lines if "event" in line]


def cause_events(control):
    control.add_agent("home")
    viewer = control.do("POST", "api-keys", {"name": "guest", "role": "viewer"})["key"]
    assert control.call("POST", "/api/v1/agents", {"name": "two"}, key=viewer)[0] == 403
    assert control.call("POST", "/api/v1/agents", {"name": "home"})[0] == 409
    assert control.call("POST", "/api/v1/login", {"name": 'x"\n<3>y z', "password": "nothing at all"}, key="")[0] == 401
    node = Node(control, control.add_gateway("gw1", "198.51.100.1")["join_token"])
    node.join_in()
    node.disconnect()
    deadline = time.monotonic() + 20
    while control.do("GET", "status/gateways")["items"][0]["connected"]:
        assert time.monotonic() < deadline


WANTED = [
    {"event": "done", "operation": "addAgent", "object": "home", "who": "key admin", "organisation": "default",
     "from": "127.0.0.1", "generation": "2"},
    {"event": "refused", "operation": "addAgent", "who": "key guest", "from": "127.0.0.1"},
    {"event": "refused", "operation": "addAgent", "object": "home", "reason": "name: there is already an Agent home"},
    {"event": "login-failed", "from": "127.0.0.1", "user": 'x"?<3>y z', "organisation": "default"},
    {"event": "joined", "gateway": "gw1", "from": "127.0.0.1"}, {"event": "connected", "gateway": "gw1"},
    {"event": "disconnected", "gateway": "gw1"},
]


def check_events(got):
    rest = iter(got)
    for wanted in WANTED:
        assert any(wanted.items() <= one.items() for one in rest), (wanted, got)


def test_events_have_fields(tmp_path):
    """What happened can be found again by programs, in the order in which it happened, and nobody forges a line."""
    control = Control(tmp_path / "events", verbose=False).start()
    cause_events(control)
    control.stop()
    text = control.log.read_text(encoding="utf-8")
    check_events(events(text))
    assert all(line.startswith("kkcontrold: ") for line in text.splitlines())
    for secret in (control.key, "nothing at all"):
        assert secret not in text


JOURNAL = """
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && mount --bind "$0" /run/systemd/journal && exec "$@"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a journal of its own")
def test_events_are_the_journals_own_fields(tmp_path):
    """A journal that is ours, in a mount namespace of the daemon's."""
    directory = tmp_path / "journal"
    directory.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(directory / "socket"))
        journal.settimeout(10)
        control = Journalled(tmp_path / "control", directory).start()
        cause_events(control)
        control.stop()
        got = []
        journal.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                entry = dict(line.split("=", 1) for line in journal.recv(65536).decode().splitlines())
                assert entry["SYSLOG_IDENTIFIER"] == "kkcontrold" and entry["PRIORITY"] in "3456" and entry["MESSAGE"]
                got.append({name.removeprefix("KK_").lower(): value for name, value in entry.items()
                            if name.startswith("KK_")})
    check_events(got)
    # What has no fields goes the way that it always went.
    assert "<6>version " in control.log.read_text(encoding="utf-8")


class Journalled(Control):
    def __init__(self, state, journal):
        super().__init__(state, verbose=False)
        self.journal = journal

    def command(self):
        self.log.touch()
        here = self.log.stat()
        return ["env", f"JOURNAL_STREAM={here.st_dev}:{here.st_ino}", "unshare", "--mount", "sh", "-ec", JOURNAL,
                self.journal, *super().command()]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", sorted(path.name for path in (TREE / "packaging").glob("*.service")))
def test_units_are_well_formed(unit, tmp_path):
    """The files alone: their programs need not be installed."""
    name = unit.replace("@.", "@one.")
    text = (TREE / "packaging" / unit).read_text(encoding="utf-8")
    (tmp_path / name).write_text(re.sub(r"^(Exec\w+)=(/usr/s?bin|/usr/libexec)/\S+", r"\1=/bin/true", text, flags=re.M),
                                 encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", tmp_path / name], capture_output=True, text=True,
                          timeout=60, check=False, env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"})
    # What is said of other units of this machine is not about ours.
    said = [line for line in done.stderr.splitlines() if name in line or "packaging" in line]
    assert not said, done.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_control_is_well_confined():
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=15", UNIT], capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
