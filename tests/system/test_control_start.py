# SPDX-License-Identifier: MIT
"""What kkcontrold makes at its start, what it says of its options, and what it finds after it was killed."""

import pathlib
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from control.calls import API, check_error, world  # noqa: E402
from control.daemon import PROGRAM, free_port, read_token  # noqa: E402
from control.node import Node  # noqa: E402


def test_first_start(control):
    admin = control.state / "admin.json"
    assert admin.stat().st_mode & 0o777 == 0o600
    assert (control.state / "tls.key").stat().st_mode & 0o777 == 0o600
    assert (control.state / "control.db").stat().st_mode & 0o777 == 0o600
    assert control.admin()["pin"] == control.pin()
    assert control.admin()["url"] == f"https://127.0.0.1:{control.port}"
    status = control.do("GET", "status")
    assert (status["gateways"], status["agents"], status["services"]) == ({"total": 0, "connected": 0},) * 2 + (0,)
    before = control.admin()
    control.stop()
    control.start()
    assert control.admin() == before and control.pin() == before["pin"]


def test_lost_admin_file_is_made_again(control):
    old = control.key
    control.stop()
    (control.state / "admin.json").unlink()
    control.start()
    assert control.key != old
    assert control.call("GET", f"{API}/status")[0] == 200
    check_error(control.call("GET", f"{API}/status", key=old), 401, "unauthorized")


def test_removed_admin_key_stays_removed(control):
    other = control.do("POST", "api-keys", {"name": "other"})["key"]
    control.do("DELETE", "api-keys/admin")
    control.stop()
    control.start()
    check_error(control.call("GET", f"{API}/status"), 401, "unauthorized")
    assert control.call("GET", f"{API}/status", key=other)[0] == 200


def test_no_secret_in_the_database(control):
    token = control.add_agent("home")["join_token"]
    key = control.do("POST", "api-keys", {"name": "other"})["key"]
    node = Node(control, token)
    data = b"".join(path.read_bytes() for path in control.state.glob("control.db*"))
    assert b"home" in data
    for secret in (control.key, key, node.key, read_token(token)["secret"]):
        assert secret.encode() not in data and secret[4:].encode() not in data


def run(*arguments):
    return subprocess.run([PROGRAM, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=20, check=False)


def test_second_daemon_says_so(control):
    done = run("--state", control.state, "--listen", f"127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and "another kkcontrold" in done.stderr


def test_port_that_is_taken(control, tmp_path):
    done = run("--state", tmp_path / "other", "--listen", f"127.0.0.1:{control.port}")
    assert done.returncode == 1 and f"127.0.0.1:{control.port}" in done.stderr
    assert not (tmp_path / "other" / "admin.json").exists()


def test_newer_database(control):
    control.stop()
    database = sqlite3.connect(control.state / "control.db")
    database.execute("PRAGMA user_version = 1000")
    database.close()
    done = run("--state", control.state, "--listen", f"127.0.0.1:{control.port}")
    assert done.returncode == 1 and "newer version" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments,part", [
    (["--pool", "10.0.0.0/16"], "/8"), (["--pool", "10.1.0.0/8"], "host bits"), (["--pool", "x"], "x"),
    (["--rate", "-1"], "-1"), (["--rate", "1000001"], "1000001"), (["--rate", "many"], "many"),
    (["--listen", "127.0.0.1"], "listen"), (["--listen", "localhost:1"], "localhost"),
    (["--listen", "127.0.0.1:70000"], "70000"), (["--url", "http://x:1"], "http://x:1"),
    (["--url", "https://x"], "url"), (["--url", "https://x:1/path"], "path"),
    (["--nonsense"], "--nonsense"), (["word"], "word"), (["--state"], "state"),
])
def test_bad_options(arguments, part, tmp_path):
    done = run("--state", tmp_path / "x", *arguments) if arguments != ["--state"] else run(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and part in done.stderr
    assert not (tmp_path / "x").exists()


def test_help_and_version():
    done = run("--help")
    assert done.returncode == 0 and "--listen" in done.stdout and done.stderr == ""
    assert run("--version").stdout.startswith("kkcontrold ")


def test_killed_between_writes(control):
    """What was acknowledged is there after SIGKILL, at whatever moment it comes."""
    gateway, _ = world(control)
    control.kill()
    acknowledged = []
    for turn in range(6):
        start = time.monotonic()
        control.start()
        assert time.monotonic() - start < 10
        gateway.hello()
        gateway.quiet()
        killer = threading.Timer(0.05 + 0.11 * turn, control.process.kill)
        killer.start()
        port = 10000 + 1000 * turn
        try:
            while True:
                answer = control.add_service(f"s{port}", "agent1", port)
                acknowledged.append((port, answer["generation"]))
                port += 1
        except OSError:
            pass
        except Exception as error:  # the end of an answer that was cut off
            assert type(error).__name__ in ("RemoteDisconnected", "IncompleteRead", "JSONDecodeError"), error
        killer.join()
        control.kill()
    control.start()
    services = {service["port"]: service["generation"] for service in control.do("GET", "services")["items"]}
    assert acknowledged and all(services.get(port) == generation for port, generation in acknowledged)
    # At most one a turn was made and not acknowledged any more.
    assert len(services) - len(acknowledged) <= 6
    generations = sorted(services.values())
    assert len(set(generations)) == len(generations)
    assert control.do("GET", "status")["generation"] >= generations[-1]
    check = sqlite3.connect(control.state / "control.db").execute("PRAGMA integrity_check").fetchone()
    assert check == ("ok",)
    gateway.hello()
    gateway.receive()
    assert gateway.generation >= generations[-1]
