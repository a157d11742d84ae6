# SPDX-License-Identifier: MIT
"""kkctl against a Control of its own: users, organisations, audit, apply, backup and restore."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from control.daemon import BUILD, Control  # noqa: E402
from control.node import Node  # noqa: E402

PASSWORD = "a-password-for-tests"


class Kkctl:
    def __init__(self, control):
        self.config = control.state / "admin.json"

    def run(self, *arguments, stdin="", status=0, config=None):
        done = subprocess.run([BUILD / "kkctl", "--config", config or self.config, *map(str, arguments)], text=True,
                              input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False,
                              env={**os.environ, "TZ": "UTC"})
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return done.stdout if status == 0 else done.stderr


@pytest.fixture(name="control")
def make_control(tmp_path):
    control = Control(tmp_path / "control").start()
    yield control
    if control.process:
        control.stop()


@pytest.fixture(name="kkctl")
def make_kkctl(control):
    return Kkctl(control)


def test_users_and_login(control, kkctl, tmp_path):
    kkctl.run("user", "add", "ann", "--role", "operator", stdin=PASSWORD + "\n")
    assert "operator" in kkctl.run("user", "list")
    session = tmp_path / "session.json"
    place = ("--url", control.admin()["url"], "--pin", control.admin()["pin"], "--output", session)
    assert "wrong" in kkctl.run("login", "ann", *place, stdin="not-the-password\n", status=1)
    assert not session.exists()
    assert "role operator" in kkctl.run("login", "ann", *place, stdin=PASSWORD + "\n")
    assert session.stat().st_mode & 0o777 == 0o600
    kkctl.run("gateway", "list", config=session)
    assert "operator" in kkctl.run("agent", "add", "home", config=session, status=1)
    kkctl.run("user", "set", "ann", "--role", "admin")
    kkctl.run("agent", "add", "home", config=session)
    audit = kkctl.run("audit")
    assert "user ann" in audit.splitlines()[1] and "127.0.0.1" in audit and PASSWORD not in audit
    kkctl.run("logout", config=session)
    assert "session" in kkctl.run("gateway", "list", config=session, status=1)


def test_organisations(control, kkctl, tmp_path):
    key = kkctl.run("org", "add", "rivals").splitlines()[-1].strip()
    other = tmp_path / "rivals.json"
    other.write_text(json.dumps({**control.admin(), "key": key}), encoding="utf-8")
    kkctl.run("agent", "add", "home")
    assert "no agent" in kkctl.run("agent", "list", config=other)
    kkctl.run("agent", "add", "home", config=other)
    assert "in_use" not in kkctl.run("org", "rm", "rivals", status=1)
    assert "organisation" in kkctl.run("org", "list", config=other, status=1)
    kkctl.run("agent", "rm", "home", config=other)
    kkctl.run("org", "rm", "rivals")
    assert "unknown or revoked" in kkctl.run("agent", "list", config=other, status=1)


WORLD = {"gateways": [{"name": "gw1", "address": "198.51.100.1"}], "agents": [{"name": "a"}, {"name": "b"}],
         "services": [{"name": "ssh", "agent": "a", "protocol": "tcp", "port": 2222, "target": "127.0.0.1:22"},
                      {"name": "web", "agent": "b", "protocol": "tcp", "port": 8080, "target": "127.0.0.1:80"}]}


def test_apply(control, kkctl, tmp_path):
    file = tmp_path / "world.json"

    def apply(world, *options, **more):
        file.write_text(json.dumps(world), encoding="utf-8")
        return kkctl.run("apply", "-f", file, "--wait", 0, *options, **more)

    before = control.everything()
    shown = apply(WORLD, "--dry-run")
    assert "+ service ssh" in shown and "5 changes, none of them made" in shown
    assert control.everything() == before
    assert "kkgatewayd join kkj1." in apply(WORLD)
    assert control.do("GET", "status")["generation"] == before["generation"] + 1
    assert apply(WORLD).startswith("0 changes")
    changed = {**WORLD, "services": [{**WORLD["services"][0], "port": 2223}]}
    assert "~ service ssh: port 2222 -> 2223" in apply(changed).replace(" port", ": port", 1).replace("  ", " ")
    assert control.do("GET", "services/web")
    shown = apply(changed, "--prune")
    assert "- service web" in shown and "1 changes" in shown
    # All or nothing: the second one cannot be.
    before = control.everything()
    bad = {"agents": [{"name": "c"}], "services": [{**WORLD["services"][1], "agent": "nobody"}]}
    assert "nobody" in apply(bad, status=1)
    assert control.everything() == before
    # What was on one Agent moves to another.
    moved = {"services": [{**WORLD["services"][0], "agent": "b"}]}
    apply(moved)
    assert control.do("GET", "services/ssh")["agent"] == "b"
    # Ports change places.
    apply(WORLD)
    ssh, web = WORLD["services"]
    ids = {name: control.do("GET", f"services/{name}")["id"] for name in ("ssh", "web")}
    shown = apply({"services": [{**ssh, "port": web["port"]}, {**web, "port": ssh["port"]}]})
    assert "2 changes" in shown and "2222 ->  8080" in shown and "8080 ->  2222" in shown
    assert {name: control.do("GET", f"services/{name}")["port"] for name in ids} == {"ssh": 8080, "web": 2222}
    assert {name: control.do("GET", f"services/{name}")["id"] for name in ids} == ids
    entries = control.do("GET", "audit?object=ssh&limit=1")["items"]
    assert (entries[0]["before"]["port"], entries[0]["after"]["port"]) == (2222, 8080)


def test_backup_and_restore(control, kkctl, tmp_path):
    gateway = Node(control, control.add_gateway("gw1", "198.51.100.1")["join_token"])
    agent = control.add_agent("home")
    control.add_service("ssh", "home", 2222)
    gateway.join_in()
    pin = control.pin()
    file = tmp_path / "backup"
    kkctl.run("backup", file)
    assert file.stat().st_mode & 0o777 == 0o600
    control.add_service("later", "home", 3333)
    gateway.receive()
    assert "running" in kkctl.run("restore", file, "--state", control.state, status=1)
    control.stop()
    assert "no backup" in kkctl.run("restore", control.state / "tls.crt", "--state", control.state, status=1)
    kkctl.run("restore", file, "--state", control.state)
    control.start()
    assert [service["name"] for service in control.do("GET", "services")["items"]] == ["ssh"]
    # The gateway, which heard of more, is told everything anew.
    gateway.hello()
    assert [service["name"] for service in gateway.receive()["services"]] == ["ssh"]
    Node(control, agent["join_token"]).join_in()
    # On another machine: the same key, so nodes know it.
    control.stop()
    other = Control(tmp_path / "other")
    kkctl.run("restore", file, "--state", other.state)
    other.start()
    assert other.pin() == pin
    other.stop()


def test_prefix_tokens(control, kkctl):
    token = kkctl.run("token", "add", "--prefix", "edge", "--uses", 2).splitlines()[-1].split()[-1]
    assert "new edge-N" in kkctl.run("token", "list")
    nodes = [Node(control, token) for _ in range(2)]
    assert [node.name for node in nodes] == ["edge-1", "edge-2"]
    with pytest.raises(AssertionError, match="used already"):
        Node(control, token)
