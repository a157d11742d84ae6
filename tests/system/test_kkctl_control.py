# SPDX-License-Identifier: MIT
"""kkctl against a Control of its own: users, organisations, audit, apply, backup and restore."""

import base64
import functools
import json
import os
import pathlib
import re
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


def test_plain_peers(kkctl):
    """By its alias or its public key, which the peer may have made itself; at the address that was asked for."""
    public = "+/8" + "A" * 39 + "Q="  # what a query has to escape
    made = kkctl.run("peer", "add", "--alias", "router")
    assert "PrivateKey = " in made and "# PrivateKey" not in made and "Address = 10.1.0.100/32" in made
    given = kkctl.run("peer", "add", public, "--alias", "phone", "--wg-ip", "10.7.3.100")
    assert f"# PrivateKey = that of {public}" in given and "Address = 10.7.3.100/32" in given
    assert kkctl.run("peer", "show", public) == kkctl.run("peer", "show", "phone")
    assert kkctl.run("peer", "config", public) == given
    for arguments, status, sentence in (
            (("add", public), 2, "--alias is missing"), (("add", "--alias", "Bad"), 2, "alias"),
            (("add", "x", "--alias", "x"), 2, "PUBKEY: \"x\" is not a WireGuard key"),
            (("add", "--alias", "tv", "--wg-ip", "10.7.3.1"), 1, "wg_ip: 10.7.3.1 is none that a peer can have"),
            (("add", "--alias", "tv", "--wg-ip", "10.7.3.100"), 1, "wg_ip: another"),
            (("add", public, "--alias", "tv"), 1, "public_key"), (("remove", "A" * 43 + "="), 1, "there is no peer with"),
            (("remove", "a/b"), 2, "alias"), (("show", "tv"), 1, "tv")):
        said = kkctl.run("peer", *arguments, status=status)
        assert sentence in said and len(said.splitlines()) == 1, said
    kkctl.run("peer", "remove", public)
    assert "phone" not in kkctl.run("peer", "list")
    kkctl.run("peer", "remove", "router")
    assert "There is no plain WireGuard peer" in kkctl.run("peer", "list")


def examples():
    """What README.md and the manual page tell an operator of Control to type, one after the other."""
    tree = pathlib.Path(__file__).resolve().parents[2]
    readme = re.findall(r"^control# (kkctl .*?)(?:  +#.*)?$", (tree / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    page = (tree / "doc/kkctl.1").read_text(encoding="utf-8").partition(".SH EXAMPLES")[2].partition(".fi")[0]
    return {"README.md": readme, "kkctl.1": re.findall(r"^kkctl .*$", page.replace("\\-", "-"), re.MULTILINE)}


@pytest.mark.parametrize("document", examples())
def test_examples_work_as_written(kkctl, document, tmp_path):
    lines = examples()[document]
    assert len(lines) > 8
    for line in lines:
        done = subprocess.run(["sh", "-c", line], cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=60, check=False, env={**os.environ, "PATH": f"{BUILD}:{os.environ['PATH']}",
                                                            "KKCTL_CONFIG": str(kkctl.config)})
        assert done.returncode == 0, (line, done.stderr)


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
    control.do("PATCH", "services/ssh?wait=0", {"access": "rules"})
    control.do("POST", "hosts?wait=0", {"name": "ann", "prefixes": ["192.0.2.7"]})
    control.do("POST", "groups?wait=0", {"name": "staff", "hosts": ["ann"]})
    control.do("POST", "rules?wait=0", {"name": "staff-ssh", "source": "staff", "destination": "ssh"})
    gateway.hello(model=2)
    gateway.receive()
    pin = control.pin()
    access = [control.do("GET", kind) for kind in ("hosts", "groups", "rules")]
    file = tmp_path / "backup"
    kkctl.run("backup", file)
    assert file.stat().st_mode & 0o777 == 0o600
    control.add_service("later", "home", 3333)
    gateway.receive()
    control.do("DELETE", "rules/staff-ssh?wait=0")
    control.do("PATCH", "hosts/ann?wait=0", {"prefixes": ["198.51.100.7"]})
    control.do("PATCH", "services/ssh?wait=0", {"access": "open"})
    gateway.quiet()
    assert "running" in kkctl.run("restore", file, "--state", control.state, status=1)
    control.stop()
    assert "no backup" in kkctl.run("restore", control.state / "tls.crt", "--state", control.state, status=1)
    kkctl.run("restore", file, "--state", control.state)
    control.start()
    assert [service["name"] for service in control.do("GET", "services")["items"]] == ["ssh"]
    # The gateway, which heard of more, is told everything anew.
    gateway.hello(model=2)
    told = gateway.receive()
    assert [service["name"] for service in told["services"]] == ["ssh"]
    assert {rule["prefix"] for rule in told["rules"]} == {"0.0.0.0/0", "::/0", "192.0.2.7/32"}
    assert [control.do("GET", kind) for kind in ("hosts", "groups", "rules")] == access
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


def test_hosts_groups_and_rules(control, kkctl):
    kkctl.run("agent", "add", "home")
    run = functools.partial(kkctl.run, "--wait", 0)
    assert "no host" in run("host", "list") and "no group" in run("group", "list") and "no rule" in run("rule", "list")
    assert run("host", "add", "office", "--prefix", "203.0.113.0/24", "--prefix", "2001:db8::/48").startswith(
        "host office is added, ")
    run("host", "add", "ann", "--prefix", "192.0.2.7")
    assert run("group", "add", "staff", "--host", "office", "--host", "ann").startswith("group staff is added, ")
    assert "203.0.113.0/24, 2001:db8::/48" in run("host", "list")
    assert "ann, office" in run("group", "show", "staff")
    run("service", "add", "ssh", "--agent", "home", "--tcp", 2222, "--target", 22)
    assert "rule staff-ssh would mean nothing" in run("rule", "add", "staff-ssh", "--from", "staff", "--to", "ssh",
                                                      status=1)
    run("service", "set", "ssh", "--access", "rules")
    assert run("rule", "add", "staff-ssh", "--from", "staff", "--to", "ssh").startswith("rule staff-ssh is added, ")
    run("rule", "add", "db", "--from", "ann", "--to", "office", "--tcp", "5432-5433")
    shown = run("rule", "list").splitlines()
    assert shown[1].split()[:4] == ["staff-ssh", "staff", "ssh", "by"]
    assert shown[2].split()[:4] == ["db", "ann", "office:5432-5433/tcp", "not"]
    assert "whom rules let in" in run("service", "show", "ssh") and "rules" in run("service", "list")
    run("rule", "set", "staff-ssh", "--from", "ann")
    run("group", "set", "staff", "--host", "none")
    run("host", "set", "ann", "--prefix", "192.0.2.8/31")
    assert control.do("GET", "groups/staff")["hosts"] == []
    assert control.do("GET", "hosts/ann")["prefixes"] == ["192.0.2.8/31"]
    assert "host ann is in rule staff-ssh" in run("host", "rm", "ann", status=1)
    for noun, name in (("rule", "staff-ssh"), ("rule", "db"), ("group", "staff"), ("host", "ann"), ("host", "office")):
        assert run(noun, "rm", name).startswith(f"{noun} {name} is removed, ")


@pytest.mark.parametrize("words,part", [
    (["host", "add", "x"], "--prefix is missing"), (["host", "add", "x", "--prefix", "192.0.2.1/24"], "prefix"),
    (["host", "set", "x"], "--prefix is missing"), (["host", "add", "X", "--prefix", "192.0.2.1"], "name"),
    (["group", "add", "x"], "--host is missing"), (["group", "add", "x", "--host", "A"], "host"),
    (["rule", "add", "x", "--to", "y"], "--from is missing"), (["rule", "add", "x", "--from", "y"], "--to is missing"),
    (["rule", "add", "x", "--from", "y", "--to", "z", "--tcp", "0"], "tcp"),
    (["rule", "add", "x", "--from", "y", "--to", "z", "--tcp", "1", "--udp", "2"], "not both"),
    (["rule", "add", "x", "--from", "Y", "--to", "z"], "from"), (["rule", "set", "x"], "nothing to change"),
    (["service", "set", "x", "--access", "closed"], "closed"),
])
def test_wrong_command_lines_of_access(kkctl, words, part):
    assert part in kkctl.run(*words, status=2)


def test_apply_moves_gateways(control, kkctl, tmp_path):
    """Addresses of gateways change by apply as by gateway set, and services follow them in the same step."""
    file = tmp_path / "world.json"

    def apply(world, *options, **more):
        file.write_text(json.dumps(world), encoding="utf-8")
        return kkctl.run("apply", "-f", file, "--wait", 0, *options, **more)

    def addresses():
        return {g["name"]: g["addresses"] for g in control.do("GET", "gateways")["items"]}

    one, two = {"name": "gw1", "addresses": ["198.51.100.1", "198.51.100.11"]}, {"name": "gw2", "address": "198.51.100.2"}
    dns = {"name": "dns", "agent": "a", "protocol": "udp", "port": 53, "target": "127.0.0.1:53", "address": "198.51.100.11"}
    apply({"gateways": [one, two], "agents": [{"name": "a"}], "services": [dns]})
    before = control.everything()
    moved = {**one, "addresses": ["198.51.100.1", "198.51.100.12", "2001:db8::12"]}
    # A service would be left behind.
    assert "service dns is published on 198.51.100.11" in apply({"gateways": [moved]}, status=1)
    assert control.everything() == before
    world = {"gateways": [moved], "services": [{**dns, "address": "198.51.100.12"}]}
    shown = apply(world, "--dry-run")
    assert "~ gateway gw1" in shown and "2001:db8::12" in shown and "2 changes, none of them made" in shown
    assert control.everything() == before
    apply(world)
    assert addresses() == {"gw1": moved["addresses"], "gw2": ["198.51.100.2"]}
    assert control.do("GET", "services/dns")["address"] == "198.51.100.12"
    assert control.do("GET", "status")["generation"] == before["generation"] + 1
    assert apply(world).startswith("0 changes")
    # Two change places; what they are reached at otherwise stays.
    ids = {g["name"]: g["id"] for g in control.do("GET", "gateways")["items"]}
    swapped = {"gateways": [{**moved, "addresses": ["198.51.100.2", *moved["addresses"][1:]]},
                            {**two, "address": "198.51.100.1"}]}
    assert "2 changes" in apply(swapped)
    assert addresses() == {"gw1": ["198.51.100.2", "198.51.100.12", "2001:db8::12"], "gw2": ["198.51.100.1"]}
    assert {g["name"]: g["id"] for g in control.do("GET", "gateways")["items"]} == ids
    # What cannot be.
    for gateway, part in [({**two, "address": "10.1.0.7"}, "within the pool"),
                          ({**two, "address": "198.51.100.2"}, "that of gateway gw1"),
                          ({**two, "address": "198.51.100.1", "wg_port": 51821}, "gateway gw2 is there with 51820"),
                          ({"name": "gw2", "addresses": []}, "a list of at least one")]:
        before = control.everything()
        assert part in apply({"gateways": [gateway]}, status=1)
        assert control.everything() == before


def test_apply_has_peers(control, kkctl, tmp_path):
    """Plain peers with their services, and what becomes of them by apply."""
    file = tmp_path / "world.json"
    keys = [base64.b64encode(bytes([i]) * 32).decode() for i in (1, 2)]
    ssh = {"name": "ssh", "agent": "router", "protocol": "tcp", "port": 2222, "target": "127.0.0.1:22"}

    def apply(world, *options, **more):
        file.write_text(json.dumps(world), encoding="utf-8")
        return kkctl.run("apply", "-f", file, "--wait", 0, *options, **more)

    def world(key):
        return {"peers": [{"name": "router", "public_key": key}], "services": [ssh]}

    assert "+ peer router" in apply(world(keys[0]))
    peer = control.do("GET", "peers/router")
    assert peer["public_key"] == keys[0]
    assert apply(world(keys[0])).startswith("0 changes")
    assert "~ peer router" in apply(world(keys[1]))
    assert control.do("GET", "peers/router") == {**peer, "public_key": keys[1], "generation": peer["generation"] + 1}
    before = control.everything()
    for peers, part in [([{"name": "router", "public_key": "AAAA"}], "is not a WireGuard key"),
                        ([{"name": "router"}], "public_key"),
                        ([{"name": "other", "public_key": keys[1]}], "another node has this key"),
                        ([{"name": "router", "public_key": keys[0]}] * 2, "router is there twice")]:
        assert part in apply({"peers": peers}, status=1)
        assert control.everything() == before
    assert "router" in apply({"agents": [{"name": "router"}]}, status=1)
    assert "- peer router" in apply({"peers": [], "services": []}, "--prune")
    assert control.do("GET", "peers")["items"] == []


def test_export_is_what_apply_takes(control, kkctl, tmp_path):
    """Exported, all removed, applied: it is there again; and what is there is applied without a change."""
    control.add_gateway("gw1", "198.51.100.1")
    control.add_agent("home")
    run = functools.partial(kkctl.run, "--wait", 0)
    run("peer", "add", base64.b64encode(b"k" * 32).decode(), "--alias", "router", "--wg-ip", "10.7.3.100")
    run("service", "add", "wiki", "--agent", "router", "--tcp", 8080, "--target", 80)
    run("host", "add", "ann", "--prefix", "192.0.2.7")
    run("group", "add", "staff", "--host", "ann")
    run("service", "add", "ssh", "--agent", "home", "--tcp", "2222-2230", "--target", 22, "--access", "rules",
        "--deny", "192.0.2.0/28", "--limit-packets", "100/s", "--proxy-protocol")
    run("service", "add", "dns", "--agent", "home", "--udp", 53, "--target", 53, "--address", "198.51.100.1")
    run("service", "add", "gone", "--agent", "home", "--udp", 54, "--target", 53)
    run("rule", "add", "staff-ssh", "--from", "staff", "--to", "ssh")
    run("rule", "add", "db", "--from", "ann", "--to", "staff", "--udp", 53)
    run("service", "rm", "gone", "--drain", "60s")
    file = tmp_path / "world.json"
    file.write_text(run("export"), encoding="utf-8")
    assert run("apply", "-f", file).startswith("0 changes")
    empty = tmp_path / "empty.json"
    empty.write_text(json.dumps(dict.fromkeys(json.loads(file.read_text(encoding="utf-8")), [])), encoding="utf-8")
    run("apply", "-f", empty, "--prune")
    assert control.do("GET", "rules")["items"] == [] == control.do("GET", "gateways")["items"] == control.do("GET", "peers")["items"]
    assert "10 changes" in run("apply", "-f", file, "--prune")
    assert run("export") == file.read_text(encoding="utf-8")
