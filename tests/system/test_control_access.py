# SPDX-License-Identifier: MIT
"""Hosts, groups and access rules: what they make of themselves at the gateways, and what is refused."""

import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from control.daemon import Control  # noqa: E402
from control.node import Node  # noqa: E402

API = "/api/v1"
NOBODY = {("0.0.0.0/0", False), ("::/0", False)}


class Gateway(Node):
    """A gateway that keeps what it is told as doc/protocol.md has it."""

    def __init__(self, control, model=2):
        super().__init__(control, control.add_gateway("gw1", "198.51.100.1")["join_token"])
        self.rules, self.services = {}, {}
        self.hello(model=model)
        self.receive()

    def receive(self, ack=True, timeout=10):
        message = super().receive(ack, timeout)
        put = message if message["type"] == "snapshot" else message["put"]
        for name, held in (("rules", self.rules), ("services", self.services)):
            held.update((item["id"], item) for item in put.get(name, []))
            for gone in message.get("remove", {}).get(name, []):
                del held[gone]
        self.rules = {id: rule for id, rule in self.rules.items()
                      if "service" not in rule or rule["service"] in self.services}
        return message

    def lets_in(self, service):
        """Prefix and verdict of every rule of a service."""
        self.quiet()
        (found,) = [item["id"] for item in self.services.values() if item["name"] == service]
        return {(rule["prefix"], rule.get("allow", False)) for rule in self.rules.values()
                if rule.get("service") == found}


def add(control, kind, **fields):
    return control.do("POST", f"{kind}?wait=0", fields)


@pytest.fixture(name="office")
def make_office(control):
    control.add_agent("home")
    control.add_service("ssh", "home", 2222)
    control.add_service("web", "home", 8080)
    add(control, "hosts", name="office", prefixes=["203.0.113.0/24", "2001:db8:1::/48"])
    add(control, "hosts", name="ann", prefixes=["192.0.2.7"])
    add(control, "groups", name="staff", hosts=["office", "ann"])
    return control


def close(control, service="ssh", access="rules", **more):
    return control.do("PATCH", f"services/{service}?wait=0", {"access": access, **more})


def test_closed_service_lets_nobody_in(office):
    gateway = Gateway(office)
    assert gateway.lets_in("ssh") == set()
    close(office)
    assert gateway.lets_in("ssh") == NOBODY and gateway.lets_in("web") == set()
    close(office, access="open")
    assert gateway.lets_in("ssh") == set()
    # From its first moment on, in one message with the service.
    add(office, "services", name="db", agent="home", protocol="tcp", port=5432, target="a:1", access="rules")
    message = gateway.receive()
    assert [item["name"] for item in message["put"]["services"]] == ["db"]
    assert {rule["prefix"] for rule in message["put"]["rules"]} == {"0.0.0.0/0", "::/0"}


def test_rules_follow_hosts_groups_and_services(office):
    gateway = Gateway(office)
    close(office)
    rule = add(office, "rules", name="staff-ssh", source="staff", destination="ssh")
    assert rule["enforced"] is True
    own = {("203.0.113.0/24", True), ("2001:db8:1::/48", True)}
    assert gateway.lets_in("ssh") == NOBODY | own | {("192.0.2.7/32", True)}
    office.do("PATCH", "hosts/ann?wait=0", {"prefixes": ["192.0.2.8", "192.0.2.9"]})
    assert gateway.lets_in("ssh") == NOBODY | own | {("192.0.2.8/32", True), ("192.0.2.9/32", True)}
    office.do("PATCH", "groups/staff?wait=0", {"hosts": ["office"]})
    assert gateway.lets_in("ssh") == NOBODY | own
    office.do("PATCH", "groups/staff?wait=0", {"hosts": []})
    assert gateway.lets_in("ssh") == NOBODY
    office.do("PATCH", "rules/staff-ssh?wait=0", {"source": "ann"})
    assert gateway.lets_in("ssh") == NOBODY | {("192.0.2.8/32", True), ("192.0.2.9/32", True)}
    close(office, "web")
    office.do("PATCH", "rules/staff-ssh?wait=0", {"destination": "web"})
    assert gateway.lets_in("ssh") == NOBODY
    assert gateway.lets_in("web") == NOBODY | {("192.0.2.8/32", True), ("192.0.2.9/32", True)}
    office.do("DELETE", "rules/staff-ssh?wait=0")
    assert gateway.lets_in("web") == NOBODY


def test_a_change_costs_what_changed(office):
    """Whoever is in two rules is told once, and one host more is one rule more."""
    gateway = Gateway(office)
    close(office)
    add(office, "rules", name="staff-ssh", source="staff", destination="ssh")
    gateway.quiet()
    add(office, "rules", name="ann-ssh", source="ann", destination="ssh")
    add(office, "hosts", name="bob", prefixes=["192.0.2.66"])
    gateway.quiet()
    before = dict(gateway.rules)
    office.do("PATCH", "groups/staff?wait=0", {"hosts": ["office", "ann", "bob"]})
    message = gateway.receive()
    assert list(message["put"]) == ["rules"] and len(message["put"]["rules"]) == 1 and message["remove"] == {}
    assert {rule["prefix"] for id, rule in gateway.rules.items() if id not in before} == {"192.0.2.66/32"}
    office.do("DELETE", "rules/staff-ssh?wait=0")
    assert gateway.lets_in("ssh") == NOBODY | {("192.0.2.7/32", True)}


def test_lists_of_the_service_go_before(office):
    gateway = Gateway(office)
    close(office, deny=["192.0.2.7", "203.0.113.128/25"], allow=["198.51.100.77"])
    add(office, "rules", name="staff-ssh", source="staff", destination="ssh")
    wanted = NOBODY | {("203.0.113.0/24", True), ("2001:db8:1::/48", True), ("192.0.2.7/32", False),
                       ("203.0.113.128/25", False), ("198.51.100.77/32", True)}
    assert gateway.lets_in("ssh") == wanted
    shown = office.do("GET", "services/ssh")
    assert (shown["access"], shown["allow"], shown["deny"]) == \
        ("rules", ["198.51.100.77/32"], ["192.0.2.7/32", "203.0.113.128/25"])
    # What the list says no more, the rule says again; and the other way round.
    close(office, deny=[], allow=["::/0"])
    assert gateway.lets_in("ssh") == wanted - {("192.0.2.7/32", False), ("203.0.113.128/25", False), ("::/0", False),
                                               ("198.51.100.77/32", True)} | {("::/0", True), ("192.0.2.7/32", True)}
    close(office, deny=["192.0.2.7"], allow=[])
    assert gateway.lets_in("ssh") == NOBODY | {("203.0.113.0/24", True), ("2001:db8:1::/48", True),
                                               ("192.0.2.7/32", False)}


def test_a_source_may_be_all(office):
    gateway = Gateway(office)
    close(office)
    add(office, "hosts", name="all-ipv4", prefixes=["0.0.0.0/0"])
    add(office, "rules", name="ipv4", source="all-ipv4", destination="ssh")
    assert gateway.lets_in("ssh") == {("0.0.0.0/0", True), ("::/0", False)}
    office.do("DELETE", "rules/ipv4?wait=0")
    assert gateway.lets_in("ssh") == NOBODY


def test_what_a_node_does_not_know_it_is_not_told(office):
    """A gateway that knows no lists would let everybody in."""
    old = Gateway(office, model=1)
    close(office)
    old.quiet()
    assert [item["name"] for item in old.services.values()] == ["web"] and old.rules == {}


def test_between_hosts_nothing_is_told(office):
    gateway = Gateway(office)
    rule = add(office, "rules", name="db", source="ann", destination="office", protocol="tcp", port=5432)
    assert (rule["enforced"], rule["last_port"]) == (False, 5432)
    assert gateway.quiet() is None and gateway.rules == {}
    changed = office.do("PATCH", "rules/db?wait=0", {"protocol": "udp", "port": 1000, "last_port": 2000})
    assert (changed["protocol"], changed["port"], changed["last_port"]) == ("udp", 1000, 2000)
    # Named without ports, the destination is a service.
    close(office)
    changed = office.do("PATCH", "rules/db?wait=0", {"destination": "ssh"})
    assert (changed["protocol"], changed["enforced"]) == (None, True)
    assert ("192.0.2.7/32", True) in gateway.lets_in("ssh")


def so_far(control):
    """What every change moves."""
    return control.do("GET", "status")["generation"], control.do("GET", "audit?limit=1")["items"]


def refused(control, method, path, body, status, code, field=None):
    before = so_far(control)
    got, answer = control.call(method, f"{API}/{path}", body)
    assert got == status, answer
    error = answer["error"]
    assert (error["code"], error.get("field")) == (code, field), error
    assert so_far(control) == before
    return error["message"]


HOST = {"name": "h", "prefixes": ["192.0.2.1"]}
RULE = {"name": "r", "source": "ann", "destination": "ssh"}
PORT = {**RULE, "destination": "office", "protocol": "tcp", "port": 22}


@pytest.fixture(scope="module", name="busy")
def make_busy(tmp_path_factory):
    control = Control(tmp_path_factory.mktemp("access") / "control").start()
    control.add_agent("home")
    control.add_service("open", "home", 80)
    add(control, "services", name="ssh", agent="home", protocol="tcp", port=22, target="a:1", access="rules")
    add(control, "hosts", name="office", prefixes=["203.0.113.0/24"])
    add(control, "hosts", name="ann", prefixes=["192.0.2.7"])
    add(control, "groups", name="staff", hosts=["ann"])
    add(control, "rules", name="staff-ssh", source="staff", destination="ssh")
    add(control, "rules", name="db", source="ann", destination="office", protocol="tcp", port=5432)
    yield control
    control.stop()


@pytest.mark.parametrize("method,path,body,status,code,field", [
    ("POST", "hosts", {"name": "h"}, 400, "invalid", "prefixes"),
    ("POST", "hosts", {**HOST, "prefixes": []}, 400, "invalid", "prefixes"),
    ("POST", "hosts", {**HOST, "prefixes": "192.0.2.1"}, 400, "invalid", "prefixes"),
    ("POST", "hosts", {**HOST, "prefixes": [7]}, 400, "invalid", "prefixes"),
    ("POST", "hosts", {**HOST, "prefixes": ["192.0.2.1/24"]}, 400, "invalid", "prefixes"),
    ("POST", "hosts", {**HOST, "prefixes": ["192.0.2.300"]}, 400, "invalid", "prefixes"),
    ("POST", "hosts", {**HOST, "prefixes": ["192.0.2.1", "192.0.2.1/32"]}, 400, "invalid", "prefixes"),
    ("POST", "hosts", {**HOST, "prefixes": [f"192.0.2.{i}" for i in range(65)]}, 400, "invalid", "prefixes"),
    ("POST", "hosts", {**HOST, "name": "Ann"}, 400, "invalid", "name"),
    ("POST", "hosts", {**HOST, "name": "ann"}, 409, "conflict", "name"),
    ("POST", "hosts", {**HOST, "name": "staff"}, 409, "conflict", "name"),
    ("POST", "hosts", {**HOST, "colour": "red"}, 400, "invalid", "colour"),
    ("PATCH", "hosts/ann", {}, 400, "invalid", "prefixes"),
    ("PATCH", "hosts/ann", {"name": "bob", "prefixes": ["192.0.2.1"]}, 400, "invalid", "name"),
    ("PATCH", "hosts/nobody", {"prefixes": ["192.0.2.1"]}, 404, "not_found", None),
    ("DELETE", "hosts/ann", None, 409, "in_use", None),
    ("DELETE", "hosts/office", None, 409, "in_use", None),
    ("POST", "groups", {"name": "g", "hosts": ["nobody"]}, 400, "invalid", "hosts"),
    ("POST", "groups", {"name": "g", "hosts": ["staff"]}, 400, "invalid", "hosts"),
    ("POST", "groups", {"name": "g", "hosts": ["ann", "ann"]}, 400, "invalid", "hosts"),
    ("POST", "groups", {"name": "g", "hosts": "ann"}, 400, "invalid", "hosts"),
    ("POST", "groups", {"name": "g", "hosts": [None]}, 400, "invalid", "hosts"),
    ("POST", "groups", {"name": "g", "hosts": [f"h{i}" for i in range(257)]}, 400, "invalid", "hosts"),
    ("POST", "groups", {"name": "ann"}, 409, "conflict", "name"),
    ("POST", "groups", {"name": "staff"}, 409, "conflict", "name"),
    ("PATCH", "groups/staff", {}, 400, "invalid", "hosts"),
    ("DELETE", "groups/staff", None, 409, "in_use", None),
    ("DELETE", "groups/nobody", None, 404, "not_found", None),
    ("POST", "rules", {**RULE, "source": "nobody"}, 400, "invalid", "source"),
    ("POST", "rules", {**RULE, "source": "ssh"}, 400, "invalid", "source"),
    ("POST", "rules", {**RULE, "source": ""}, 400, "invalid", "source"),
    ("POST", "rules", {**RULE, "destination": "nobody"}, 400, "invalid", "destination"),
    ("POST", "rules", {**RULE, "destination": "office"}, 400, "invalid", "destination"),
    ("POST", "rules", {**RULE, "destination": "open"}, 409, "conflict", "access"),
    ("POST", "rules", {**RULE, "name": "db"}, 409, "conflict", "name"),
    ("POST", "rules", {**RULE, "port": 22}, 400, "invalid", "protocol"),
    ("POST", "rules", {**RULE, "protocol": "tcp"}, 400, "invalid", "port"),
    ("POST", "rules", {**PORT, "destination": "ssh"}, 400, "invalid", "destination"),
    ("POST", "rules", {**PORT, "protocol": "sctp"}, 400, "invalid", "protocol"),
    ("POST", "rules", {**PORT, "port": 0}, 400, "invalid", "port"),
    ("POST", "rules", {**PORT, "last_port": 21}, 400, "invalid", "last_port"),
    ("POST", "rules", {**PORT, "last_port": 65536}, 400, "invalid", "last_port"),
    ("PATCH", "rules/db", {}, 400, "invalid", None),
    ("PATCH", "rules/db", {"destination": "office"}, 400, "invalid", "destination"),
    ("PATCH", "rules/staff-ssh", {"destination": "open"}, 409, "conflict", "access"),
    ("PATCH", "rules/nobody", {"source": "ann"}, 404, "not_found", None),
    ("PATCH", "services/ssh", {"access": "open"}, 409, "conflict", "access"),
    ("PATCH", "services/ssh", {"access": "closed"}, 400, "invalid", "access"),
    ("PATCH", "services/ssh", {"access": True}, 400, "invalid", "access"),
    ("DELETE", "services/ssh", None, 409, "in_use", None),
    ("DELETE", "services/ssh?drain=60", None, 409, "in_use", None),
    ("POST", "apply", {"rules": [{**RULE, "destination": "open"}]}, 409, "conflict", "access"),
    ("POST", "apply?dry_run=true", {"rules": [{**RULE, "destination": "open"}]}, 409, "conflict", "access"),
    ("POST", "apply", {"hosts": [HOST], "groups": [{"name": "h"}]}, 409, "conflict", "name"),
    ("POST", "apply?prune=true", {"hosts": []}, 409, "in_use", None),
])
def test_bad_input(busy, method, path, body, status, code, field):
    refused(busy, method, path, body, status, code, field)


def test_sentences_say_what_to_do(busy):
    message = refused(busy, "POST", "rules", {**RULE, "destination": "open"}, 409, "conflict", "access")
    assert "open is open to all" in message and "rule r " in message
    message = refused(busy, "DELETE", "hosts/ann", None, 409, "in_use")
    assert message == "host ann is in group staff."
    message = refused(busy, "DELETE", "services/ssh", None, 409, "in_use")
    assert message == "service ssh is in rule staff-ssh."


def test_draining_service_takes_no_rule(control):
    control.add_agent("home")
    add(control, "services", name="ssh", agent="home", protocol="tcp", port=22, target="a:1", access="rules")
    add(control, "hosts", **HOST)
    control.do("DELETE", "services/ssh?drain=60&wait=0")
    refused(control, "POST", "rules", {**RULE, "source": "h"}, 400, "invalid", "destination")


WORLD = {
    "agents": [{"name": "home"}],
    "hosts": [{"name": "ann", "prefixes": ["192.0.2.7/32"]}, {"name": "bob", "prefixes": ["192.0.2.8/32"]}],
    "groups": [{"name": "staff", "hosts": ["ann", "bob"]}],
    "services": [{"name": "ssh", "agent": "home", "protocol": "tcp", "port": 22, "target": "a:22", "access": "rules"}],
    "rules": [{"name": "staff-ssh", "source": "staff", "destination": "ssh"}],
}


def actions(answer):
    return [(change["action"], change["kind"], change["name"]) for change in answer["changes"]]


def test_apply(control):
    gateway = Gateway(control)
    wanted = [("add", "agent", "home"), ("add", "host", "ann"), ("add", "host", "bob"), ("add", "group", "staff"),
              ("add", "service", "ssh"), ("add", "rule", "staff-ssh")]
    assert actions(control.do("POST", "apply?dry_run=true", WORLD)) == wanted
    assert control.do("GET", "hosts")["items"] == []
    assert actions(control.do("POST", "apply?wait=0", WORLD)) == wanted
    assert gateway.lets_in("ssh") == NOBODY | {("192.0.2.7/32", True), ("192.0.2.8/32", True)}
    assert actions(control.do("POST", "apply?wait=0&prune=true", WORLD)) == []
    # What is listed is what can be applied, in the same words.
    listed = {kind: control.do("GET", kind)["items"] for kind in ("hosts", "groups", "rules")}
    for item in [item for items in listed.values() for item in items]:
        for name in ("id", "generation", "enforced"):
            item.pop(name, None)
    assert actions(control.do("POST", "apply?wait=0&prune=true", listed)) == []
    changed = json.loads(json.dumps(WORLD))
    changed["hosts"] = [{"name": "ann", "prefixes": ["192.0.2.77/32"]}]
    changed["groups"] = [{"name": "staff", "hosts": ["ann"]}]
    assert actions(control.do("POST", "apply?wait=0&prune=true", changed)) == \
        [("set", "host", "ann"), ("set", "group", "staff"), ("remove", "host", "bob")]
    assert gateway.lets_in("ssh") == NOBODY | {("192.0.2.77/32", True)}
    # A service is opened, and its rule with it gone, in one step.
    del changed["services"][0]["access"]
    changed["rules"] = []
    assert actions(control.do("POST", "apply?wait=0&prune=true", changed)) == \
        [("remove", "rule", "staff-ssh"), ("set", "service", "ssh")]
    assert gateway.lets_in("ssh") == set()
    assert actions(control.do("POST", "apply?wait=0&prune=true", dict.fromkeys(WORLD, []))) == \
        [("remove", "service", "ssh"), ("remove", "group", "staff"), ("remove", "host", "ann"),
         ("remove", "agent", "home")]


def test_refused_service_is_undone_with_its_rule(control):
    """What a gateway rejects goes, and its rule cannot stay without it; nothing is open in between."""
    gateway = Gateway(control)
    control.do("POST", "apply?wait=0", WORLD)
    gateway.nack(gateway.receive(ack=False))
    gateway.quiet()
    assert control.do("GET", "services")["items"] == [] and control.do("GET", "rules")["items"] == []
    assert [item["name"] for item in control.do("GET", "hosts")["items"]] == ["ann", "bob"]


def test_many_sources(control):
    """A closed service takes 4096 prefixes; one more is refused, and says where."""
    control.add_agent("home")
    add(control, "services", name="ssh", agent="home", protocol="tcp", port=22, target="a:1", access="rules")
    hosts = [{"name": f"h{i}", "prefixes": [f"10.{i}.{j}.0/24" for j in range(64)]} for i in range(64)]
    groups = [{"name": "all", "hosts": [host["name"] for host in hosts]}]
    control.do("POST", "apply?wait=0", {"hosts": hosts, "groups": groups,
                                        "rules": [{"name": "all-ssh", "source": "all", "destination": "ssh"}]})
    gateway = Gateway(control)
    assert len(gateway.lets_in("ssh")) == 4096 + 2
    add(control, "hosts", name="more", prefixes=["192.0.2.1"])
    message = refused(control, "POST", "rules", {"name": "more", "source": "more", "destination": "ssh"}, 409, "conflict")
    assert "4096" in message and "ssh" in message
    control.do("PATCH", "hosts/h0?wait=0", {"prefixes": ["10.0.0.0/24"]})
    assert len(gateway.lets_in("ssh")) == 4096 + 2 - 63


def test_audit_tells_of_what_was_said_and_not_of_what_follows(office):
    close(office)
    add(office, "rules", name="staff-ssh", source="staff", destination="ssh")
    entries = office.do("GET", "audit")["items"]
    told = [(entry["action"], entry["kind"], entry["object"]) for entry in entries[:2]]
    assert told == [("add", "access-rule", "staff-ssh"), ("set", "service", "ssh")]
    after = entries[0]["after"]
    assert (after["source_group"], after["service"]) == ("staff", "ssh")
    kinds = {(entry["action"], entry["kind"]) for entry in entries}
    assert {("add", "host"), ("add", "host-prefix"), ("add", "group"), ("add", "group-host")} <= kinds
    assert ("add", "rule") not in kinds


def test_idempotency_and_lost_updates(control):
    body = {"name": "ann", "prefixes": ["192.0.2.7"]}
    first = control.request("POST", f"{API}/hosts?wait=0", body, headers={"Idempotency-Key": "k1"})
    again = control.request("POST", f"{API}/hosts?wait=0", body, headers={"Idempotency-Key": "k1"})
    assert first[0] == again[0] == 201 and first[1]["id"] == again[1]["id"]
    assert again[2]["Idempotent-Replayed"] == "true"
    etag = first[2]["ETag"]
    control.do("PATCH", "hosts/ann?wait=0", {"prefixes": ["192.0.2.8"]})
    for method, data in (("PATCH", {"prefixes": ["192.0.2.9"]}), ("DELETE", None)):
        status, answer, _ = control.request(method, f"{API}/hosts/ann", data, headers={"If-Match": etag})
        assert (status, answer["error"]["code"]) == (412, "precondition_failed")
    status, _, fields = control.request("GET", f"{API}/hosts/ann")
    assert status == 200 and fields["ETag"] != etag


def test_wait_is_for_the_gateways(office):
    """An answer that waited says that what follows from a rule is in the gateway's tables."""
    gateway = Gateway(office)
    close(office)
    gateway.quiet()
    status, answer = office.call("POST", f"{API}/rules?wait=1", {**RULE})
    assert status == 201 and answer["applied"]["waiting"] == ["gw1"]
    assert ("192.0.2.7/32", True) in gateway.lets_in("ssh")
    status, answer = office.call("PATCH", f"{API}/groups/staff?wait=5", {"hosts": []})
    assert answer["applied"]["gateways"] == answer["applied"]["acknowledged"] == 1


def test_it_survives_a_restart(office):
    close(office)
    add(office, "rules", name="staff-ssh", source="staff", destination="ssh")
    office.kill()
    office.start()
    assert len(Gateway(office).lets_in("ssh")) == 5
