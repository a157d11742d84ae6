# SPDX-License-Identifier: MIT
"""doc/openapi.json is what Control does: every operation is driven, and what goes out and comes in is compared with it."""

import base64
import json
import os
import pathlib
import re
import sys

import jsonschema
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from control.daemon import Control, read_token  # noqa: E402
from control.node import Node  # noqa: E402

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
CONTRACT = json.loads((TREE / "doc" / "openapi.json").read_text(encoding="utf-8"))
OPERATIONS = {operation["operationId"]: {**operation, "method": method.upper(), "path": path}
              for path, methods in CONTRACT["paths"].items() for method, operation in methods.items()}
PASSWORD = "a-password-for-tests"
KEY = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
ROLES = ("viewer", "operator", "admin", "owner")


def validate(value, schema, where):
    checker = jsonschema.Draft202012Validator({**schema, "components": CONTRACT["components"]})
    errors = [f"{where}: {'/'.join(map(str, error.absolute_path))}: {error.message}"
              for error in checker.iter_errors(value)]
    assert not errors, errors


class Checked:
    """Calls by operationId, each compared with the contract."""

    def __init__(self, control):
        self.control = control
        self.driven = set()

    def call(self, operation_id, body=None, name=None, query="", key=None, expect=None, headers=None):
        operation = OPERATIONS[operation_id]
        path = operation["path"].replace("{name}", str(name))
        if body is not None and expect is None:
            validate(body, operation["requestBody"]["content"]["application/json"]["schema"], operation_id)
        known = {parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "query"}
        assert set(re.findall(r"([a-z_]+)=", query)) <= known, (operation_id, query)
        status, answer, fields = self.control.request(operation["method"], path + query, body, key, headers)
        wanted = expect or next(int(code) for code in operation["responses"] if code != "default")
        assert status == wanted, (operation_id, status, answer)
        response = operation["responses"].get(str(status), operation["responses"]["default"])
        content = response["content"]["application/json"]
        validate(answer, content["schema"], f"{operation_id} {status}")
        assert fields["Content-Type"] == "application/json"
        self.driven.add(operation_id)
        return answer


@pytest.fixture(scope="module", name="control")
def make_control(tmp_path_factory):
    control = Control(tmp_path_factory.mktemp("contract") / "control").start()
    yield control
    control.stop()


def test_served_as_it_is_written(control):
    status, answer, _ = control.request("GET", "/api/v1/openapi.json", key="")
    assert status == 200 and answer == CONTRACT


def test_every_operation(control):
    """The course of a world from its making to its end."""
    api = Checked(control)
    call = api.call
    call("getHealth", key="")
    call("getContract", key="")
    assert call("getCaller")["kind"] == "key"
    gateway = call("addGateway", {"name": "gw1", "address": "198.51.100.1", "wg_port": 51821})
    agent = call("addAgent", {"name": "home"})
    call("listGateways", query="?limit=10&after=0&name=gw1")
    call("listAgents")
    call("getGateway", name="gw1")
    call("getAgent", name="home")
    call("join", {"secret": read_token(agent["join_token"])["secret"], "version": "0"}, key="")
    node = Node(control, gateway["join_token"])
    node.join_in()
    node.report(dataplane={"kind": "tc"})
    call("addService", {"name": "ssh", "agent": "home", "protocol": "tcp", "port": 2222, "target": "127.0.0.1:22"},
         query="?wait=0")
    node.quiet()
    call("listServices", query="?protocol=tcp&agent=home&port=2222")
    service = call("getService", name="ssh")
    etag = f'"{service["id"]}-{service["generation"]}"'
    call("setService", {"target": "nas.lan:22"}, name="ssh", query="?wait=0", headers={"If-Match": etag})
    node.quiet()
    call("setService", {"target": "nas.lan:23"}, name="ssh", headers={"If-Match": etag}, expect=412)
    call("setService", {"last_port": 2230, "deny": ["192.0.2.0/24"], "limit_packets": 100}, name="ssh",
         query="?wait=0")
    call("setGateway", {"addresses": ["198.51.100.1", "2001:db8::1"]}, name="gw1", query="?wait=0")
    denial = call("addDenial", {"prefix": "203.0.113.0/24"}, query="?wait=0")
    call("listDenials", query="?prefix=203.0.113.0/24")
    call("removeDenial", name=denial["id"], query="?wait=0")
    ban = call("addBan", {"address": "2001:db8::7", "service": "ssh", "seconds": 60}, query="?wait=0")
    call("listBans", query="?address=2001:db8::7&service=ssh")
    call("removeBan", name=ban["id"], query="?wait=0")
    call("addHost", {"name": "office", "prefixes": ["203.0.113.0/24", "2001:db8:1::/48"]}, query="?wait=0")
    host = call("addHost", {"name": "ann", "prefixes": ["192.0.2.7"]}, query="?wait=0")
    call("setHost", {"prefixes": ["192.0.2.8"]}, name="ann", query="?wait=0",
         headers={"If-Match": f'"{host["id"]}-{host["generation"]}"'})
    call("setHost", {"prefixes": ["192.0.2.9"]}, name="ann", headers={"If-Match": '"1-1"'}, expect=412)
    call("listHosts", query="?name=ann&prefixes=192.0.2.8/32")
    call("getHost", name="ann")
    call("addGroup", {"name": "staff", "hosts": ["office"]}, query="?wait=0")
    call("setGroup", {"hosts": ["office", "ann"]}, name="staff", query="?wait=0")
    call("listGroups", query="?hosts=ann&name=staff")
    call("getGroup", name="staff")
    call("setService", {"access": "rules"}, name="ssh", query="?wait=0")
    call("addRule", {"name": "staff-ssh", "source": "staff", "destination": "ssh"}, query="?wait=0")
    call("addRule", {"name": "db", "source": "ann", "destination": "office", "protocol": "tcp", "port": 5432,
                     "last_port": None}, query="?wait=0")
    call("setRule", {"source": "ann"}, name="staff-ssh", query="?wait=0")
    call("listRules", query="?source=ann&destination=ssh&name=staff-ssh")
    assert call("getRule", name="staff-ssh")["enforced"] and not call("getRule", name="db")["enforced"]
    call("removeRule", name="staff-ssh", query="?wait=0")
    call("removeRule", name="db", query="?wait=0")
    call("removeGroup", name="staff", query="?wait=0")
    call("removeHost", name="ann", query="?wait=0")
    node.quiet()
    call("addService", {"name": "gone", "agents": ["home"], "protocol": "udp", "port": 9, "target": "a:9"},
         query="?wait=0")
    assert call("removeService", name="gone", query="?wait=0&drain=60")["draining_until"]
    node.quiet()
    call("getStatus")
    call("listGatewayStatus")
    call("listAgentStatus", query="?name=home")
    call("addPeer", {"name": "phone", "public_key": KEY}, query="?wait=0")
    call("listPeers", query="?name=phone")
    call("addService", {"name": "plain", "agent": "phone", "protocol": "tcp", "port": 8000, "target": "127.0.0.1:80"},
         query="?wait=0")
    assert call("getService", name="plain")["snat"]
    call("getStatus")
    call("removeService", name="plain", query="?wait=0")
    peer = call("getPeer", name="phone")
    assert [gateway["name"] for gateway in peer["gateways"]] == ["gw1"]
    call("removePeer", name="phone", query="?wait=0", headers={"If-Match": f'"{peer["id"]}-1"'}, expect=412)
    call("removePeer", name="phone", query="?wait=0")
    node.quiet()
    token = call("addJoinToken", {"role": "agent", "prefix": "edge", "uses": 5, "expires_in": 600})
    call("addJoinToken", {"role": "agent", "node": "home"})
    call("listJoinTokens")
    call("removeJoinToken", name=token["id"])
    call("addApiKey", {"name": "guest", "role": "viewer", "expires_in": 3600})
    call("listApiKeys")
    call("removeApiKey", name="guest")
    call("addUser", {"name": "ann", "role": "admin", "password": PASSWORD})
    call("listUsers", query="?role=admin")
    call("getUser", name="ann")
    session = call("login", {"name": "ann", "password": PASSWORD, "cookie": False}, key="")["key"]
    assert call("getCaller", key=session)["kind"] == "user"
    other = call("login", {"organisation": "default", "name": "ann", "password": PASSWORD}, key="")
    assert "key" not in other and other["csrf_token"]
    sessions = call("listSessions")["items"]
    call("removeSession", name=sessions[1]["id"])
    call("logout", key=session)
    call("setUser", {"role": "viewer"}, name="ann")
    call("removeUser", name="ann")
    call("addOrganisation", {"name": "other"})
    call("listOrganisations")
    call("removeOrganisation", name="other")
    call("listAudit", query="?kind=service&limit=3")
    world = {"agents": [{"name": "home"}, {"name": "second"}], "hosts": [{"name": "ann", "prefixes": ["192.0.2.7/32"]}],
             "groups": [{"name": "staff", "hosts": ["ann"]}],
             "rules": [{"name": "staff-db", "source": "staff", "destination": "ann", "protocol": "udp", "port": 53}],
             "services": [{"name": "web", "agent": "second", "protocol": "tcp", "port": 80, "target": "127.0.0.1:80"}]}
    assert call("apply", world, query="?dry_run=true&prune=true")["dry_run"]
    call("apply", world, query="?prune=true&wait=0")
    node.quiet()
    node.disconnect()
    call("removeService", name="web", query="?wait=applied")
    call("revokeAgent", name="home")
    call("removeAgent", name="home", query="?wait=0")
    call("revokeGateway", name="gw1")
    call("removeGateway", name="gw1", query="?wait=0")
    # What does not answer with JSON.
    for operation_id, content_type in (("getMetrics", "text/plain"), ("getBackup", "application/vnd.sqlite3")):
        connection = control.connect()
        connection.sendall((f"GET {OPERATIONS[operation_id]['path']} HTTP/1.0\r\nHost: x\r\n"
                            f"Authorization: Bearer {control.key}\r\n\r\n").encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
        head = answer.partition(b"\r\n\r\n")[0].decode()
        assert " 200 " in head.splitlines()[0] and f"Content-Type: {content_type}" in head
        assert content_type in OPERATIONS[operation_id]["responses"]["200"]["content"]
        api.driven.add(operation_id)
    api.driven.add("openNode")  # by Node, above
    assert api.driven == set(OPERATIONS)


@pytest.mark.parametrize("operation_id,body,status", [
    ("addService", {"name": "x"}, 400), ("addGateway", {"name": "gw9", "address": "x"}, 400),
    ("addPeer", {"name": "x", "public_key": "short"}, 400), ("addPeer", {"name": "x"}, 400),
    ("addUser", {"name": "x", "role": "king", "password": PASSWORD}, 400),
    ("addUser", {"name": "x", "role": "viewer", "password": "short"}, 400),
    ("addApiKey", {"name": "admin"}, 409), ("addOrganisation", {"name": "default"}, 409),
    ("addJoinToken", {"role": "gateway", "prefix": "x"}, 400), ("apply", {"services": 3}, 400),
    ("login", {"name": "nobody", "password": "nothing at all"}, 401),
])
def test_errors(control, operation_id, body, status):
    Checked(control).call(operation_id, body, expect=status)


def test_operations_and_contract_agree():
    """The router's table, as it is written, and the contract."""
    source = (TREE / "controld/rest/operations.c").read_text(encoding="utf-8")
    table = source[source.index("kk_operations[] = {"):]
    rows = re.findall(r'OP\(\s*"(\w+)",\s*"([A-Z]+)",\s*(API )?"([^"]+)",\s*KK_(\w+),\s*([\w |]+),', table)
    assert len(rows) == len(OPERATIONS) == table.count("OP(")
    for operation_id, method, api, path, role, flags in rows:
        operation = OPERATIONS[operation_id]
        assert operation["method"] == method
        assert operation["path"] == ("/api/v1" if api else "") + path.replace("NAME", "{name}")
        assert operation.get("x-role", "nobody") == role.lower()
        assert operation.get("x-system", False) == ("SYSTEM" in flags)


# ---- who may do what ----

NO_BODY = object()


def public_key():
    """Any 32 bytes are one."""
    return base64.b64encode(os.urandom(32)).decode()


@pytest.fixture(scope="module", name="matrix")
def make_matrix(tmp_path_factory):
    """Two organisations with the same kinds of things, and callers of every role, worn out ones included."""
    control = Control(tmp_path_factory.mktemp("matrix") / "control").start()
    root = control.key
    other = control.do("POST", "organisations", {"name": "rivals"})["key"]
    keys = {}
    for org, owner in (("own", root), ("other", other)):
        control.key = owner
        secret = "ours" if org == "own" else "zzsecret"
        control.do("POST", "gateways", {"name": f"{secret}-gw", "address": f"198.51.100.{1 if org == 'own' else 2}"})
        control.do("POST", "agents", {"name": f"{secret}-agent"})
        control.do("POST", "peers?wait=0", {"name": f"{secret}-peer", "public_key": public_key()})
        control.do("POST", "services?wait=0", {"name": f"{secret}-svc", "agent": f"{secret}-agent", "protocol": "tcp",
                                               "port": 2222, "target": f"{secret}.lan:22"})
        control.do("POST", "hosts?wait=0", {"name": f"{secret}-host", "prefixes": ["203.0.113.7"]})
        control.do("POST", "groups?wait=0", {"name": f"{secret}-group", "hosts": [f"{secret}-host"]})
        control.do("POST", "rules?wait=0", {"name": f"{secret}-rule", "source": f"{secret}-group", "protocol": "tcp",
                                            "destination": f"{secret}-host", "port": 22})
        control.do("POST", "users", {"name": f"{secret}-user", "role": "viewer", "password": PASSWORD})
        for role in ROLES:
            keys[org, role] = control.do("POST", "api-keys", {"name": f"{secret}-{role}", "role": role})["key"]
    control.key = root
    revoked = control.do("POST", "api-keys", {"name": "revoked", "role": "owner"})["key"]
    control.do("DELETE", "api-keys/revoked")
    expired = control.do("POST", "api-keys", {"name": "expired", "role": "owner", "expires_in": 60})["key"]
    control.expire_key("expired")
    keys["own", "revoked"], keys["own", "expired"], keys["own", "none"] = revoked, expired, ""
    yield control, keys
    control.stop()


def call_of(operation, names):
    """A call that is right in form; where it could change something, its object is nobody's."""
    path = operation["path"].replace("{name}", names.get(operation["operationId"], "nobody"))
    body = {} if "requestBody" in operation else None
    return operation["method"], path, body


@pytest.mark.parametrize("operation_id", sorted(set(OPERATIONS) - {"getBackup", "getMetrics", "openNode"}))
def test_every_operation_by_every_role(matrix, operation_id):
    control, keys = matrix
    operation = OPERATIONS[operation_id]
    method, path, body = call_of(operation, {})
    for (org, role), key in keys.items():
        status, answer = control.call(method, path, body, key=key)
        code = answer.get("error", {}).get("code")
        if "x-role" not in operation:
            assert status in (200, 400), (role, answer)
        elif role not in ROLES:
            assert (status, code) == (401, "unauthorized"), (role, answer)
        elif ROLES.index(role) < ROLES.index(operation["x-role"]) or (operation.get("x-system") and org == "other"):
            assert (status, code) == (403, "forbidden"), (org, role, answer)
        else:
            # Got as far as its object or its body.
            assert status in (200, 400, 404), (org, role, answer)
        if org == "other":
            assert "ours" not in json.dumps(answer), answer
        elif role != "owner" or operation_id not in ("listOrganisations", "listAudit"):
            assert "zzsecret" not in json.dumps(answer), answer


@pytest.mark.parametrize("operation_id", ["getMetrics", "getBackup", "openNode"])
def test_what_is_no_json_by_every_role(matrix, operation_id):
    control, keys = matrix
    operation = OPERATIONS[operation_id]
    for (org, role), key in keys.items():
        if operation_id != "openNode" and role in ROLES and org == "own" and \
                ROLES.index(role) >= ROLES.index(operation["x-role"]):
            continue
        status, answer = control.call(operation["method"], operation["path"], key=key)
        assert status == (403 if role in ROLES and operation_id != "openNode" else 401), (org, role, answer)


@pytest.mark.parametrize("operation_id", sorted(
    id for id, operation in OPERATIONS.items()
    # Organisations are known to the first one, which is who may remove them.
    if "{name}" in operation["path"] and id != "removeOrganisation"))
def test_other_organisations_objects_are_not_there(matrix, operation_id):
    """The answer about a stranger's object is, word for word, that about one that nobody has."""
    control, keys = matrix
    operation = OPERATIONS[operation_id]
    kind = next((part for part in ("gateway", "agent", "peer", "service", "user", "host", "group", "rule") if part in operation_id.lower()), None)
    name = {"gateway": "zzsecret-gw", "agent": "zzsecret-agent", "service": "zzsecret-svc", "user": "zzsecret-user",
            "peer": "zzsecret-peer", "host": "zzsecret-host", "group": "zzsecret-group", "rule": "zzsecret-rule", None: "zzsecret-viewer"}[kind]
    number = "1" if "Session" in operation_id or "Token" in operation_id else None
    if number:
        name = str(max(item["id"] for item in control.request(
            "GET", operation["path"].replace("/{name}", ""), key=keys["other", "owner"])[1]["items"] or [{"id": 9999}]))
    body = {"port": 9} if operation_id == "setService" else \
        {"addresses": ["198.51.100.9"]} if operation_id == "setGateway" else \
        {"role": "viewer"} if operation_id == "setUser" else \
        {"prefixes": ["192.0.2.1"]} if operation_id == "setHost" else \
        {"hosts": []} if operation_id == "setGroup" else \
        {"source": "zzsecret-host"} if operation_id == "setRule" else None
    answers = []
    for which in (name, "7777777" if number else "nobody"):
        status, answer = control.call(operation["method"], operation["path"].replace("{name}", which), body,
                                      key=keys["own", "owner"])
        answers.append((status, json.dumps(answer).replace(which, "NAME")))
    assert answers[0] == answers[1] and answers[0][0] == 404


def test_strangers_port_and_name_are_free(matrix):
    control, keys = matrix
    key = keys["own", "operator"]
    body = {"name": "zzsecret-svc", "agent": "zzsecret-agent", "protocol": "tcp", "port": 4444, "target": "a:1"}
    status, answer = control.call("POST", "/api/v1/services?wait=0", body, key=key)
    assert (status, answer["error"]["field"]) == (400, "agent")
    assert control.call("POST", "/api/v1/services?wait=0", {**body, "agent": "ours-agent"}, key=key)[0] == 201
    assert control.call("DELETE", "/api/v1/services/zzsecret-svc?wait=0", key=key)[0] == 200


def test_nobody_gives_what_he_has_not(matrix):
    control, keys = matrix
    admin = keys["own", "admin"]
    for call in (("POST", "/api/v1/api-keys", {"name": "x", "role": "owner"}),
                 ("POST", "/api/v1/users", {"name": "x", "role": "owner", "password": PASSWORD}),
                 ("PATCH", "/api/v1/users/ours-user", {"role": "owner"}),
                 ("DELETE", "/api/v1/api-keys/ours-owner", None)):
        status, answer = control.call(*call, key=admin)
        assert (status, answer["error"]["code"]) == (403, "forbidden"), answer
