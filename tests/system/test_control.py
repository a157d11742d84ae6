# SPDX-License-Identifier: MIT
"""Control alone, as doc/protocol.md has it: kkcontrold on loopback, nodes played by the test."""

import json
import re
import pathlib
import socket
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from control.daemon import PROGRAM, Control, free_port, read_token  # noqa: E402
from control.node import BINARY, Closed, Node, WebSocket  # noqa: E402

SERVICE = {"name": "bad", "agent": "home", "protocol": "tcp", "port": 7777, "target": "127.0.0.1:7"}
GATEWAY = {"name": "bad", "address": "198.51.100.7"}
API = "/api/v1"


@pytest.fixture(name="control")
def make_control(tmp_path):
    control = Control(tmp_path / "control").start()
    yield control
    control.stop()


@pytest.fixture(scope="module", name="busy")
def make_busy(tmp_path_factory):
    """A Control that has some objects already; tests leave it as it is."""
    control = Control(tmp_path_factory.mktemp("busy") / "control").start()
    control.add_gateway("gw1", "198.51.100.1")
    control.add_agent("home")
    control.add_service("ssh", "home", 2222)
    control.add_service("web", "home", 8080)
    yield control
    control.stop()


@pytest.fixture(name="same")
def stays_the_same(busy):
    before = busy.everything()
    yield
    assert busy.everything() == before


def check_error(answer, status, code, field=None):
    assert answer[0] == status, answer
    error = answer[1]["error"]
    assert (error["code"], error.get("field")) == (code, field), error
    message = error["message"]
    assert message.endswith(".") and message.count("\n") == 0 and len(message) > 10 and message.isprintable()
    return message


def world(control, gateways=1, agents=1):
    """Joined and connected nodes that have acknowledged everything."""
    tokens = [control.add_gateway(f"gw{i}", f"198.51.100.{i}")["join_token"] for i in range(1, gateways + 1)]
    tokens += [control.add_agent(f"agent{i}")["join_token"] for i in range(1, agents + 1)]
    nodes = [Node(control, token) for token in tokens]
    for node in nodes:
        node.join_in()
    for node in nodes:
        node.quiet()
    return nodes


class Call(threading.Thread):
    """A call that is held."""
    def __init__(self, control, *call):
        super().__init__(daemon=True)
        self.control, self.arguments, self.answer = control, call, None
        self.start()

    def run(self):
        self.answer = self.control.call(*self.arguments)

    def result(self):
        self.join(70)
        return self.answer


# ---- first start, files, options ----

def test_first_start(control):
    admin = control.state / "admin.json"
    assert admin.stat().st_mode & 0o777 == 0o600
    assert (control.state / "tls.key").stat().st_mode & 0o777 == 0o600
    assert (control.state / "control.db").stat().st_mode & 0o777 == 0o600
    assert control.admin()["pin"] == control.pin()
    assert control.admin()["url"] == f"https://127.0.0.1:{control.port}"
    status = control.do("GET", "status")
    assert (status["gateways"], status["agents"], status["services"]) == ([], [], 0)
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


# ---- bad input: one sentence, the right field and status, nothing changed ----

BAD = [
    # method, path, body, status, code, field
    ("POST", "services", {**SERVICE, "port": 0}, 400, "invalid", "port"),
    ("POST", "services", {**SERVICE, "port": 65536}, 400, "invalid", "port"),
    ("POST", "services", {**SERVICE, "port": -1}, 400, "invalid", "port"),
    ("POST", "services", {**SERVICE, "port": "22"}, 400, "invalid", "port"),
    ("POST", "services", {**SERVICE, "port": 1.5}, 400, "invalid", "port"),
    ("POST", "services", {**SERVICE, "port": None}, 400, "invalid", "port"),
    ("POST", "services", {**SERVICE, "port": True}, 400, "invalid", "port"),
    ("POST", "services", {**SERVICE, "port": 10 ** 30}, 400, "invalid", None),
    ("POST", "services", {**SERVICE, "protocol": "sctp"}, 400, "invalid", "protocol"),
    ("POST", "services", {**SERVICE, "protocol": "TCP"}, 400, "invalid", "protocol"),
    ("POST", "services", {**SERVICE, "protocol": 6}, 400, "invalid", "protocol"),
    ("POST", "services", {**SERVICE, "agent": "nobody"}, 400, "invalid", "agent"),
    ("POST", "services", {**SERVICE, "agent": ""}, 400, "invalid", "agent"),
    ("POST", "services", {**SERVICE, "agent": ["home"]}, 400, "invalid", "agent"),
    ("POST", "services", {**SERVICE, "name": ""}, 400, "invalid", "name"),
    ("POST", "services", {**SERVICE, "name": "Bad"}, 400, "invalid", "name"),
    ("POST", "services", {**SERVICE, "name": "-x"}, 400, "invalid", "name"),
    ("POST", "services", {**SERVICE, "name": "x-"}, 400, "invalid", "name"),
    ("POST", "services", {**SERVICE, "name": "a_b"}, 400, "invalid", "name"),
    ("POST", "services", {**SERVICE, "name": "x" * 33}, 400, "invalid", "name"),
    ("POST", "services", {**SERVICE, "name": "\u00e9" * 60}, 400, "invalid", "name"),
    ("POST", "services", {**SERVICE, "name": "a\nb"}, 400, "invalid", "name"),
    ("POST", "services", {**SERVICE, "name": "a\x00b"}, 400, "invalid", None),
    ("POST", "services", {**SERVICE, "name": "'; DROP TABLE services; --"}, 400, "invalid", "name"),
    ("POST", "services", {**SERVICE, "target": "127.0.0.1"}, 400, "invalid", "target"),
    ("POST", "services", {**SERVICE, "target": ":22"}, 400, "invalid", "target"),
    ("POST", "services", {**SERVICE, "target": "a:0"}, 400, "invalid", "target"),
    ("POST", "services", {**SERVICE, "target": "a:65536"}, 400, "invalid", "target"),
    ("POST", "services", {**SERVICE, "target": "a b:22"}, 400, "invalid", "target"),
    ("POST", "services", {**SERVICE, "target": "http://a:22"}, 400, "invalid", "target"),
    ("POST", "services", {**SERVICE, "target": "::1:22"}, 400, "invalid", "target"),
    ("POST", "services", {**SERVICE, "target": "h" * 300 + ":1"}, 400, "invalid", "target"),
    ("POST", "services", {**SERVICE, "target": 22}, 400, "invalid", "target"),
    ("POST", "services", {**SERVICE, "proxy_protocol": "yes"}, 400, "invalid", "proxy_protocol"),
    ("POST", "services", {**SERVICE, "proxy_protocol": 1}, 400, "invalid", "proxy_protocol"),
    ("POST", "services", {**SERVICE, "agent_port": 1}, 400, "invalid", "agent_port"),
    ("POST", "services", {**SERVICE, "\u00e9" * 60: 1}, 400, "invalid", "?" * 47),
    ("POST", "services?wait=61", SERVICE, 400, "invalid", "wait"),
    ("POST", "services?wait=-1", SERVICE, 400, "invalid", "wait"),
    ("POST", "services?wait=soon", SERVICE, 400, "invalid", "wait"),
    ("POST", "services", {**SERVICE, "name": "ssh"}, 409, "conflict", "name"),
    ("POST", "services", {**SERVICE, "port": 2222}, 409, "conflict", "port"),
    ("POST", "services", {**SERVICE, "protocol": "udp", "port": 51820}, 409, "conflict", "port"),
    ("PATCH", "services/ssh", {"port": 8080}, 409, "conflict", "port"),
    ("PATCH", "services/ssh", {"port": 0}, 400, "invalid", "port"),
    ("PATCH", "services/ssh", {"target": "x"}, 400, "invalid", "target"),
    ("PATCH", "services/ssh", {"name": "other"}, 400, "invalid", "name"),
    ("PATCH", "services/ssh", {"agent": "nobody"}, 400, "invalid", "agent"),
    ("PATCH", "services/ssh", {"agents": []}, 400, "invalid", "agents"),
    ("PATCH", "services/ssh", {"agents": "home"}, 400, "invalid", "agents"),
    ("PATCH", "services/ssh", {"agents": ["home", "home"]}, 400, "invalid", "agent"),
    ("PATCH", "services/ssh", {"agent": "home", "agents": ["home"]}, 400, "invalid", "agents"),
    ("PATCH", "services/ssh", {"agents": [f"a{n}" for n in range(17)]}, 400, "invalid", "agents"),
    ("PATCH", "services/ssh", {"last_port": 2221}, 400, "invalid", "last_port"),
    ("PATCH", "services/ssh", {"last_port": 8080}, 400, "invalid", "last_port"),
    ("PATCH", "services/ssh", {"last_port": 2230, "target": "127.0.0.1:1-3"}, 400, "invalid", "target"),
    ("PATCH", "services/ssh", {"target": "127.0.0.1:3-1"}, 400, "invalid", "target"),
    ("PATCH", "services/ssh", {"address": "192.0.2.77"}, 400, "invalid", "address"),
    ("PATCH", "services/ssh", {"address": "x"}, 400, "invalid", "address"),
    ("PATCH", "services/ssh", {"allow": "10.0.0.0/8"}, 400, "invalid", "allow"),
    ("PATCH", "services/ssh", {"allow": ["10.0.0.1/8"]}, 400, "invalid", "allow"),
    ("PATCH", "services/ssh", {"deny": ["10.0.0.0/33"]}, 400, "invalid", "deny"),
    ("PATCH", "services/ssh", {"deny": ["10.0.0.0/8", "10.0.0.0/8"]}, 400, "invalid", "deny"),
    ("PATCH", "services/ssh", {"deny": [f"10.0.{n}.0/24" for n in range(65)]}, 400, "invalid", "deny"),
    ("PATCH", "services/ssh", {"limit_packets": -1}, 400, "invalid", "limit_packets"),
    ("PATCH", "services/ssh", {"limit_connections": "5/s"}, 400, "invalid", "limit_connections"),
    ("DELETE", "services/ssh?drain=x", None, 400, "invalid", "drain"),
    ("DELETE", "services/ssh?drain=86401", None, 400, "invalid", "drain"),
    ("PATCH", "gateways/gw1", {}, 400, "invalid", "addresses"),
    ("PATCH", "gateways/gw1", {"addresses": []}, 400, "invalid", "addresses"),
    ("PATCH", "gateways/gw1", {"addresses": ["198.51.100.1", "198.51.100.1"]}, 400, "invalid", "address"),
    ("PATCH", "gateways/gw1", {"addresses": [f"198.51.100.{n}" for n in range(1, 10)]}, 400, "invalid", "address"),
    ("PATCH", "gateways/gw1", {"addresses": ["fe80::1"]}, 400, "invalid", "address"),
    ("POST", "denials", {"prefix": "x"}, 400, "invalid", "prefix"),
    ("POST", "denials", {"prefix": "2001:db8::1/32"}, 400, "invalid", "prefix"),
    ("DELETE", "denials/7", None, 404, "not_found", None),
    ("DELETE", "denials/x", None, 404, "not_found", None),
    ("POST", "bans", {"address": "192.0.2.0/24"}, 400, "invalid", "address"),
    ("POST", "bans", {"address": "192.0.2.1", "seconds": 0}, 400, "invalid", "seconds"),
    ("POST", "bans", {"address": "192.0.2.1", "service": "nobody"}, 400, "invalid", "service"),
    ("DELETE", "bans/7", None, 404, "not_found", None),
    ("PATCH", "services/ssh", {"port": 4444, "target": "x"}, 400, "invalid", "target"),
    ("PATCH", "services/ssh", {}, 400, "invalid", None),
    ("PATCH", "services/nobody", {"port": 1}, 404, "not_found", None),
    ("GET", "services/nobody", None, 404, "not_found", None),
    ("GET", "services/%ff%0a", None, 404, "not_found", None),
    ("DELETE", "services/ssh%00x", None, 404, "not_found", None),
    ("GET", "services/ssh/x", None, 404, "not_found", None),
    ("GET", "services/", None, 404, "not_found", None),
    ("DELETE", "services/nobody", None, 404, "not_found", None),
    ("DELETE", "services/ssh?wait=x", None, 400, "invalid", "wait"),
    ("POST", "gateways", {"name": "gw9"}, 400, "invalid", "address"),
    ("POST", "gateways", {"address": "198.51.100.9"}, 400, "invalid", "name"),
    ("POST", "gateways", {**GATEWAY, "address": "198.51.100"}, 400, "invalid", "address"),
    ("POST", "gateways", {**GATEWAY, "address": "gw.example"}, 400, "invalid", "address"),
    ("POST", "gateways", {**GATEWAY, "address": "2001:db8::g"}, 400, "invalid", "address"),
    ("POST", "gateways", {**GATEWAY, "address": "ff02::1"}, 400, "invalid", "address"),
    ("POST", "gateways", {**GATEWAY, "address": "0.0.0.0"}, 400, "invalid", "address"),
    ("POST", "gateways", {**GATEWAY, "address": "255.255.255.255"}, 400, "invalid", "address"),
    ("POST", "gateways", {**GATEWAY, "address": "224.0.0.1"}, 400, "invalid", "address"),
    ("POST", "gateways", {**GATEWAY, "address": "10.1.2.3"}, 400, "invalid", "address"),
    ("POST", "gateways", {**GATEWAY, "wg_port": 0}, 400, "invalid", "wg_port"),
    ("POST", "gateways", {**GATEWAY, "wg_port": 70000}, 400, "invalid", "wg_port"),
    ("POST", "gateways", {**GATEWAY, "index": 3}, 400, "invalid", "index"),
    ("POST", "gateways", {**GATEWAY, "name": "gw1"}, 409, "conflict", "name"),
    ("POST", "gateways", {**GATEWAY, "address": "198.51.100.1"}, 409, "conflict", "address"),
    ("DELETE", "gateways/nobody", None, 404, "not_found", None),
    ("POST", "gateways/nobody/revoke", None, 404, "not_found", None),
    ("POST", "gateways/gw1/promote", None, 404, "not_found", None),
    ("POST", "agents", {}, 400, "invalid", "name"),
    ("POST", "agents", {"name": "home"}, 409, "conflict", "name"),
    ("POST", "agents", {"name": "x", "subnet": "10.9.0.0/24"}, 400, "invalid", "subnet"),
    ("DELETE", "agents/home", None, 409, "in_use", None),
    ("DELETE", "agents/nobody", None, 404, "not_found", None),
    ("POST", "agents/nobody/revoke", None, 404, "not_found", None),
    ("POST", "join-tokens", {"role": "admin", "node": "home"}, 400, "invalid", "role"),
    ("POST", "join-tokens", {"role": "agent", "node": "nobody"}, 400, "invalid", "node"),
    ("POST", "join-tokens", {"role": "gateway", "node": "home"}, 400, "invalid", "node"),
    ("POST", "join-tokens", {"role": "agent"}, 400, "invalid", "node"),
    ("POST", "join-tokens", {"role": "agent", "node": "home", "expires_in": 59}, 400, "invalid", "expires_in"),
    ("POST", "join-tokens", {"role": "agent", "node": "home", "expires_in": 2592001}, 400, "invalid", "expires_in"),
    ("DELETE", "join-tokens/999", None, 404, "not_found", None),
    ("DELETE", "join-tokens/x", None, 404, "not_found", None),
    ("POST", "api-keys", {"name": "admin"}, 409, "conflict", "name"),
    ("POST", "api-keys", {"name": "A"}, 400, "invalid", "name"),
    ("DELETE", "api-keys/admin", None, 409, "in_use", None),
    ("DELETE", "api-keys/nobody", None, 404, "not_found", None),
    ("POST", "join", {"secret": "nonsense", "version": "0"}, 401, "unauthorized", "token"),
    ("POST", "join", {"secret": "", "version": "0"}, 400, "invalid", "secret"),
    ("POST", "join", {"secret": "x" * 500, "version": "0"}, 400, "invalid", "secret"),
    ("POST", "join", {"version": "0"}, 400, "invalid", "secret"),
    ("POST", "join", {"secret": "x"}, 400, "invalid", "version"),
    ("POST", "services", b"", 400, "invalid", None),
    ("POST", "services", b"{", 400, "invalid", None),
    ("POST", "services", b"[]", 400, "invalid", None),
    ("POST", "services", b"null", 400, "invalid", None),
    ("POST", "services", b'"x"', 400, "invalid", None),
    ("POST", "services", b"{}{}", 400, "invalid", None),
    ("POST", "services", b'{"name":"a","name":"b"}', 400, "invalid", None),
    ("POST", "services", b"\xff\xfe", 400, "invalid", None),
    ("POST", "services", b"\x00", 400, "invalid", None),
    ("POST", "services", b"[" * 60000, 400, "invalid", None),
    ("POST", "services", b'{"a":' * 10000, 400, "invalid", None),
    ("GET", "nothing", None, 404, "not_found", None),
    ("GET", "", None, 404, "not_found", None),
    ("GET", "../v1", None, 404, "not_found", None),
    ("GET", "%ff", None, 404, "not_found", None),
    ("PUT", "services", SERVICE, 405, "method_not_allowed", None),
    ("DELETE", "services", None, 405, "method_not_allowed", None),
    ("PATCH", "agents/home", {"name": "x"}, 405, "method_not_allowed", None),
    ("GET", "join", None, 405, "method_not_allowed", None),
    ("POST", "status", {}, 405, "method_not_allowed", None),
    ("PROPFIND", "services", None, 405, "method_not_allowed", None),
]


@pytest.mark.parametrize("method,path,body,status,code,field", BAD, ids=range(len(BAD)))
@pytest.mark.usefixtures("same")
def test_bad_input(busy, method, path, body, status, code, field):
    check_error(busy.call(method, f"{API}/{path}", body), status, code, field)


@pytest.mark.parametrize("path", ["/api/v2/services", "/api/v0", "/api/v11/x", "/api/v99999999999999999999/x"])
@pytest.mark.usefixtures("same")
def test_unknown_version(busy, path):
    check_error(busy.call("GET", path), 404, "unknown_version")


@pytest.mark.parametrize("path", ["/", "/api", "/api/v1x/services", "/healthz/", "/admin", "//api/v1/services"])
def test_unknown_path(busy, path):
    check_error(busy.call("GET", path), 404, "not_found")


def test_allow_header(busy):
    for path, allow in (("services", "GET, POST"), ("services/ssh", "GET, PATCH, DELETE"), ("join", "POST")):
        status, _, headers = busy.request("PUT", f"{API}/{path}", {})
        assert status == 405 and headers["Allow"] == allow


@pytest.mark.usefixtures("same")
def test_sentences_name_the_other(busy):
    assert "service ssh" in check_error(busy.call("POST", f"{API}/services", {**SERVICE, "port": 2222}),
                                        409, "conflict", "port")
    body = {**SERVICE, "protocol": "udp", "port": 51820}
    assert "gateway gw1" in check_error(busy.call("POST", f"{API}/services", body), 409, "conflict", "port")


@pytest.mark.usefixtures("same")
def test_oversized_body(busy):
    for length in (64 * 1024 + 1, 1 << 20, 20 << 20):
        body = json.dumps(SERVICE).encode().ljust(length)
        check_error(busy.call("POST", f"{API}/services", body), 413, "too_large")
    # In chunks, so that nothing says in advance how long it will be.
    chunks = iter([b" " * 1000] * 66)
    check_error(busy.call("POST", f"{API}/services", chunks), 413, "too_large")
    assert busy.call("POST", f"{API}/services", json.dumps({**SERVICE, "port": 0}).encode().ljust(64 * 1024))[0] == 400


# ---- keys ----

@pytest.mark.usefixtures("same")
def test_bad_keys(busy):
    for key in ("", "x", "kka_", "kka_" + "A" * 43, "kkn_" + "A" * 43, busy.key + "x", busy.key[:-1], busy.key.upper()):
        status, answer, headers = busy.request("POST", f"{API}/services", SERVICE, key=key)
        check_error((status, answer), 401, "unauthorized")
        assert headers["WWW-Authenticate"] == "Bearer"
    for value in (busy.key, f"Basic {busy.key}", "Bearer", "Bearer "):
        assert busy.request("GET", f"{API}/status", key="", headers={"Authorization": value})[0] == 401
    # RFC 7235: the scheme in any case
    assert busy.request("GET", f"{API}/status", key="", headers={"Authorization": f"bearer {busy.key}"})[0] == 200


def test_keys_of_the_wrong_kind(control):
    node = Node(control, control.add_agent("home")["join_token"])
    check_error(control.call("GET", f"{API}/status", key=node.key), 401, "unauthorized")
    assert WebSocket(control, control.key).status == 401
    assert WebSocket(control, "kkn_" + "A" * 43).status == 401


def test_api_key_removed(control):
    key = control.do("POST", "api-keys", {"name": "guest"})["key"]
    assert control.call("GET", f"{API}/status", key=key)[0] == 200
    assert [item["name"] for item in control.do("GET", "api-keys")["items"]] == ["admin", "guest"]
    assert "key" not in control.do("GET", "api-keys")["items"][0]
    control.do("DELETE", "api-keys/guest")
    check_error(control.call("GET", f"{API}/status", key=key), 401, "unauthorized")


def test_node_path_without_a_handshake(control):
    node = Node(control, control.add_agent("home")["join_token"])
    check_error(control.call("GET", f"{API}/node", key=node.key), 400, "invalid")


# ---- joining ----

def test_join(control):
    agent = control.add_agent("home")
    token = read_token(agent["join_token"])
    assert (token["role"], token["node"], token["url"]) == ("agent", "home", f"https://127.0.0.1:{control.port}")
    assert token["pin"] == control.pin()
    assert not agent["joined"] and [item["node"] for item in control.do("GET", "join-tokens")["items"]] == ["home"]
    node = Node(control, agent["join_token"])
    assert (node.role, node.name) == ("agent", "home")
    assert control.do("GET", "agents/home")["joined"] and control.do("GET", "join-tokens")["items"] == []
    again = control.call("POST", f"{API}/join", {"secret": token["secret"], "version": "0"}, key="")
    assert "used" in check_error(again, 401, "unauthorized", "token")


def test_join_anew(control):
    _, agent = world(control)
    token = control.do("POST", "join-tokens", {"role": "agent", "node": "agent1", "expires_in": 60})["join_token"]
    anew = Node(control, token)
    assert anew.key != agent.key and anew.id == agent.id
    agent.closed()
    assert WebSocket(control, agent.key).status == 401
    anew.join_in()


def test_removed_token(control):
    control.add_agent("home")
    token = control.do("POST", "join-tokens", {"role": "agent", "node": "home"})
    control.do("DELETE", f"join-tokens/{token['id']}")
    answer = control.call("POST", f"{API}/join", {"secret": read_token(token["join_token"])["secret"], "version": "0"},
                          key="")
    check_error(answer, 401, "unauthorized", "token")


# ---- snapshots and deltas ----

def test_snapshot_by_role(control):
    gateway, agent, other = world(control, agents=2)
    control.add_service("ssh", "agent1", 2222, target="127.0.0.1:22")
    control.add_service("game", "agent2", 27015, "udp", target="nas.lan:27015")
    for node in (gateway, agent, other):
        node.disconnect()
        node.epoch, node.generation = None, 0
    told = gateway.join_in()
    assert told["type"] == "snapshot" and "gateways" not in told
    assert told["self"].pop("addresses") == ["198.51.100.1"]
    assert re.fullmatch("[0-9a-f]{32}", told["self"].pop("flow_key"))
    assert re.fullmatch("fd[0-9a-f:]*::/96", pool6 := told["self"].pop("pool6"))
    assert told["self"] == {"id": gateway.id, "name": "gw1", "index": 1, "address": "198.51.100.1", "wg_port": 51820,
                            "pool": "10.0.0.0/8"}
    assert told["agents"] == [
        {"id": agent.id, "name": "agent1", "subnet": "10.1.0.0/24", "public_key": agent.public_key},
        {"id": other.id, "name": "agent2", "subnet": "10.2.0.0/24", "public_key": other.public_key}]
    assert [(s["name"], s["protocol"], s["port"], s["agent"], s["agent_port"]) for s in told["services"]] == [
        ("ssh", "tcp", 2222, agent.id, 2222), ("game", "udp", 27015, other.id, 27015)]
    assert all("target" not in service for service in told["services"])
    told = agent.join_in()
    assert "agents" not in told and told["self"] == {"id": agent.id, "name": "agent1", "subnet": "10.1.0.0/24",
                                                         "pool6": pool6}
    assert told["gateways"] == [{"id": gateway.id, "name": "gw1", "index": 1, "endpoint": "198.51.100.1:51820",
                                 "public_key": gateway.public_key}]
    assert [(s["name"], s["target"], s["proxy_protocol"]) for s in told["services"]] == [
        ("ssh", "127.0.0.1:22", False)]


def test_delta_to_those_concerned(control):
    gateway, agent, other = world(control, agents=2)
    generation = control.add_service("ssh", "agent1", 2222)["generation"]
    told = gateway.receive()
    assert told["type"] == "delta" and told["generation"] == generation and told["remove"] == {}
    assert list(told["put"]) == ["services"] and told["put"]["services"][0]["name"] == "ssh"
    assert agent.receive()["put"]["services"][0]["target"] == "127.0.0.1:22"
    assert other.quiet() is None
    service = told["put"]["services"][0]["id"]
    control.do("PATCH", "services/ssh?wait=0", {"port": 2223})
    assert gateway.receive()["put"]["services"][0]["port"] == 2223
    assert agent.receive()["put"]["services"][0]["agent_port"] == 2223
    control.do("DELETE", "services/ssh?wait=0")
    for node in (gateway, agent):
        told = node.receive()
        assert told["put"] == {} and told["remove"] == {"services": [service]}
    # An Agent that nothing was said to carries the newest generation all the same.
    assert agent.quiet() is None
    status = control.do("GET", "status")
    assert [a["acked_generation"] for a in status["agents"]] == [status["generation"]] * 2


def test_new_key_and_new_nodes_are_told(control):
    gateway, agent = world(control)
    agent.disconnect()
    agent.public_key = "A" * 42 + "E="
    agent.hello()
    told = gateway.receive()
    assert told["put"]["agents"][0]["public_key"] == agent.public_key
    agent.quiet()
    control.add_gateway("gw2", "198.51.100.2", wg_port=51821)
    told = agent.receive()
    assert told["put"]["gateways"][0]["endpoint"] == "198.51.100.2:51821"
    assert told["put"]["gateways"][0]["public_key"] is None
    assert gateway.quiet() is None
    control.do("DELETE", "gateways/gw2")
    assert agent.receive()["remove"]["gateways"]


def test_missed_changes_come_in_one_delta(control):
    gateway, _ = world(control)
    gateway.disconnect()
    for port in range(3000, 3050):
        control.add_service(f"s{port}", "agent1", port)
    control.do("DELETE", "services/s3000?wait=0")
    gateway.hello()
    told = gateway.receive()
    assert told["type"] == "delta"
    # One came and went in between: the gateway never knew it.
    assert sorted(s["port"] for s in told["put"]["services"]) == list(range(3001, 3050)) and told["remove"] == {}
    assert gateway.quiet() is None


def test_changes_while_a_node_is_busy_come_in_one_delta(control):
    gateway, _ = world(control)
    control.add_service("first", "agent1", 3000)
    first = gateway.receive(ack=False)
    for port in range(3001, 3020):
        control.add_service(f"s{port}", "agent1", port)
    gateway.generation = first["generation"]
    gateway.line.send({"type": "ack", "generation": first["generation"]})
    assert len(gateway.receive()["put"]["services"]) == 19


@pytest.mark.parametrize("epoch,generation", [("another", 3), ("same", 10 ** 6), ("none", 0)])
def test_unknown_state_gets_a_snapshot(control, epoch, generation):
    gateway, _ = world(control)
    gateway.disconnect()
    gateway.hello(epoch={"another": "0" * 32, "same": gateway.epoch, "none": None}[epoch], generation=generation)
    assert gateway.receive()["type"] == "snapshot"


def test_nothing_new_is_not_repeated(control):
    gateway, _ = world(control)
    gateway.disconnect()
    gateway.hello()
    assert gateway.quiet() is None
    assert control.do("GET", "gateways/gw1")["connected"]


# ---- waiting for the gateways ----

def test_wait_for_acknowledgement(control):
    first, second, agent = world(control, gateways=2)
    call = Call(control, "POST", f"{API}/services?wait=20", {**SERVICE, "name": "ssh", "agent": "agent1"})
    first.receive()
    assert call.answer is None
    second.receive(ack=False)
    agent.receive(ack=False)
    time.sleep(0.3)
    assert call.answer is None
    second.line.send({"type": "ack", "generation": first.generation})
    time.sleep(0.3)
    assert call.answer is None
    agent.line.send({"type": "ack", "generation": first.generation})
    status, answer = call.result()
    assert status == 201
    assert answer["applied"] == {"gateways": 2, "acknowledged": 2, "agents": 1, "agents_acknowledged": 1,
                                 "waiting": [], "disconnected": []}


def test_agent_that_refuses_is_named_and_not_waited_for(control):
    gateway, agent = world(control)
    call = Call(control, "POST", f"{API}/services?wait=20", {**SERVICE, "name": "ssh", "agent": "agent1"})
    agent.nack(agent.receive(ack=False))
    gateway.receive()
    status, answer = call.result()
    assert status == 201
    assert answer["applied"]["refused"] == ["agent1"]
    assert answer["applied"]["agents_acknowledged"] == 0


def test_old_nodes_are_kept_from_what_they_do_not_know(control):
    """Our nodes here say nothing of a model, so they are of the first."""
    gateway, agent = world(control)
    call = Call(control, "POST", f"{API}/services?wait=20",
                {**SERVICE, "name": "game", "agent": "agent1", "last_port": 7800})
    answer = call.result()[1]
    assert sorted(answer["applied"]["too_old"]) == ["agent1", "gw1"]
    assert gateway.quiet() is None and agent.quiet() is None
    control.do("PATCH", "services/game?wait=0", {"port": 7777})
    assert gateway.receive()["put"]["services"][0]["name"] == "game"
    assert agent.receive()["put"]["services"][0]["name"] == "game"
    control.do("PATCH", "services/game?wait=0", {"deny": ["192.0.2.0/24"]})
    assert gateway.receive()["remove"]["services"]


def test_wait_ends_in_time(control):
    first, second, agent = world(control, gateways=2)
    start = time.monotonic()
    # Long enough for two nodes to have acknowledged, on any machine; and not the 10 s of who says nothing.
    call = Call(control, "POST", f"{API}/services?wait=4", {**SERVICE, "name": "ssh", "agent": "agent1"})
    first.receive()
    agent.receive()
    second.receive(ack=False)
    status, answer = call.result()
    assert status == 201 and 3.9 < time.monotonic() - start < 9.5
    assert answer["applied"] == {"gateways": 2, "acknowledged": 1, "agents": 1, "agents_acknowledged": 1,
                                 "waiting": ["gw2"], "disconnected": []}
    answer = control.add_service("other", "agent1", 4000)
    assert answer["applied"]["waiting"] == ["gw1", "gw2", "agent1"]


def test_disconnected_gateways_are_named_and_not_waited_for(control):
    first, second, agent = world(control, gateways=2)
    control.add_gateway("never-joined", "198.51.100.3")
    agent.quiet()
    second.disconnect()
    while control.do("GET", "gateways/gw2")["connected"]:
        time.sleep(0.05)
    call = Call(control, "POST", f"{API}/services?wait=20", {**SERVICE, "name": "ssh", "agent": "agent1"})
    first.receive()
    agent.receive()
    assert call.result()[1]["applied"] == {"gateways": 2, "acknowledged": 1, "agents": 1, "agents_acknowledged": 1,
                                           "waiting": [], "disconnected": ["gw2"]}


def test_gateway_that_goes_while_waited_for(control):
    gateway, agent = world(control)
    call = Call(control, "POST", f"{API}/services?wait=30", {**SERVICE, "name": "ssh", "agent": "agent1"})
    agent.receive()
    gateway.receive(ack=False)
    gateway.disconnect()
    assert call.result()[1]["applied"]["disconnected"] == ["gw1"]


def test_caller_that_does_not_wait(control):
    gateway, _ = world(control)
    line = control.connect()
    body = json.dumps({**SERVICE, "name": "ssh", "agent": "agent1"})
    line.sendall((f"POST {API}/services?wait=60 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {control.key}\r\n"
                  f"Content-Length: {len(body)}\r\n\r\n{body}").encode())
    gateway.receive(ack=False)
    line.close()
    time.sleep(0.2)
    gateway.line.send({"type": "ack", "generation": control.do("GET", "status")["generation"]})
    assert control.do("GET", "services/ssh")["port"] == 7777


def test_removed_agent_is_waited_for(control):
    gateway, agent = world(control)
    call = Call(control, "DELETE", f"{API}/agents/agent1?wait=20")
    assert gateway.receive()["remove"] == {"agents": [agent.id]}
    assert call.result()[1]["applied"]["acknowledged"] == 1
    agent.closed()
    assert WebSocket(control, agent.key).status == 401
    # Its subnet is the next one's.
    assert control.add_agent("next")["subnet"] == "10.1.0.0/24"


# ---- rejected changes ----

def test_rejected_addition_is_undone(control):
    gateway, agent = world(control)
    call = Call(control, "POST", f"{API}/services?wait=20", {**SERVICE, "name": "ssh", "agent": "agent1"})
    told = gateway.receive(ack=False)
    agent.receive()
    gateway.nack(told)
    message = check_error(call.result(), 409, "conflict", "port")
    assert "gw1" in message and "no good here" in message
    check_error(control.call("GET", f"{API}/services/ssh"), 404, "not_found")
    assert agent.receive()["remove"]["services"]
    # The gateway stays where it was, and nothing of it is left to be told.
    assert gateway.quiet() is None
    assert control.do("GET", "status")["generation"] > told["generation"]
    call = Call(control, "POST", f"{API}/services?wait=20", {**SERVICE, "name": "ssh", "agent": "agent1"})
    gateway.receive()
    agent.receive()
    assert call.result()[1]["applied"]["acknowledged"] == 1


def test_rejected_change_is_undone_everywhere(control):
    first, second, agent = world(control, gateways=2)
    control.add_service("ssh", "agent1", 2222)
    for node in (first, second, agent):
        node.receive()
    call = Call(control, "PATCH", f"{API}/services/ssh?wait=20", {"port": 2223, "target": "nas.lan:22"})
    first.receive()
    agent.receive()
    second.nack(second.receive(ack=False))
    assert "gw2" in check_error(call.result(), 409, "conflict", "port")
    service = control.do("GET", "services/ssh")
    assert (service["port"], service["agent_port"], service["target"]) == (2222, 2222, "127.0.0.1:22")
    assert first.receive()["put"]["services"][0]["port"] == 2222
    assert agent.receive()["put"]["services"][0]["target"] == "127.0.0.1:22"
    assert second.receive()["put"]["services"][0]["port"] == 2222


def test_rejected_change_of_places_is_undone(control):
    gateway, _ = world(control)
    control.add_service("a", "agent1", 2001)
    control.add_service("b", "agent1", 2002)
    gateway.quiet()

    def service(name, port):
        return {"name": name, "agent": "agent1", "protocol": "tcp", "port": port, "target": "127.0.0.1:22"}

    call = Call(control, "POST", f"{API}/apply?wait=20", {"services": [service("a", 2002), service("b", 2001)]})
    told = gateway.receive(ack=False)
    assert {s["name"]: s["port"] for s in told["put"]["services"]} == {"a": 2002, "b": 2001}
    gateway.nack(told)
    check_error(call.result(), 409, "conflict", "port")
    assert {name: control.do("GET", f"services/{name}")["port"] for name in "ab"} == {"a": 2001, "b": 2002}
    gateway.quiet()


def test_rejected_removal_is_undone(control):
    gateway, agent = world(control)
    control.add_service("ssh", "agent1", 2222)
    service = gateway.receive()["put"]["services"][0]
    agent.receive()
    call = Call(control, "DELETE", f"{API}/services/ssh?wait=20")
    gateway.nack(gateway.receive(ack=False))
    check_error(call.result(), 409, "conflict", "port")
    assert control.do("GET", "services/ssh")["port"] == 2222
    assert gateway.receive()["put"]["services"] == [service]


def test_what_cannot_be_undone_is_shown(control):
    gateway, _ = world(control)
    gateway.disconnect()
    gateway.epoch, gateway.generation = None, 0
    gateway.hello()
    told = gateway.receive(ack=False)
    gateway.nack(told, field="", why="no memory")
    gateway.report()
    while not (refused := control.do("GET", "status")["gateways"][0].get("refused")):
        time.sleep(0.05)
    assert refused == {"generation": told["generation"], "field": "", "message": "no memory"}
    # It is sent again after a while, and then all is well.
    assert gateway.receive(timeout=20)["type"] == "snapshot"
    while control.do("GET", "status")["gateways"][0].get("refused"):
        time.sleep(0.05)


# ---- reports ----

def test_reports_are_shown(control):
    gateway, agent = world(control)
    gateway.report(dataplane={"kind": "tc"}, ports_in_use=[])
    agent.report(services=[{"id": 1, "state": "ready"}])
    while not control.do("GET", "status")["agents"][0]["report"]:
        time.sleep(0.05)
    status = control.do("GET", "status")
    assert status["gateways"][0]["report"]["dataplane"] == {"kind": "tc"}
    assert status["agents"][0]["report"] == {"services": [{"id": 1, "state": "ready"}]}


def test_ports_that_a_gateway_uses_itself(control):
    first, second, _ = world(control, gateways=2)
    second.report(ports_in_use=[{"protocol": "tcp", "port": 22}, {"protocol": "udp", "port": 53}, "x", {"port": "y"}])
    while not control.do("GET", "status")["gateways"][1]["report"]:
        time.sleep(0.05)
    before = control.everything()
    for protocol, port in (("tcp", 22), ("udp", 53)):
        answer = control.call("POST", f"{API}/services", {**SERVICE, "agent": "agent1", "protocol": protocol,
                                                          "port": port})
        assert "gateway gw2" in check_error(answer, 409, "conflict", "port")
    assert control.everything() == before
    control.add_service("ok", "agent1", 22, "udp")
    answer = control.call("PATCH", f"{API}/services/ok", {"port": 53})
    check_error(answer, 409, "conflict", "port")
    # Also while the gateway is away, or Control has only just started.
    second.disconnect()
    control.stop()
    control.start()
    answer = control.call("PATCH", f"{API}/services/ok", {"port": 53})
    assert "gateway gw2" in check_error(answer, 409, "conflict", "port")


# ---- lines ----

def test_revoked_node_is_cut_off_at_once(control):
    gateway, agent = world(control)
    start = time.monotonic()
    control.do("POST", "agents/agent1/revoke")
    assert agent.closed() == 1008 and time.monotonic() - start < 30  # a line that is silent ends after 40 s
    assert WebSocket(control, agent.key).status == 401
    assert gateway.receive()["put"]["agents"][0]["public_key"] is None
    shown = control.do("GET", "agents/agent1")
    assert (shown["joined"], shown["connected"], shown["public_key"]) == (False, False, None)


def test_second_connection_replaces_the_first(control):
    gateway, _ = world(control)
    first = gateway.line
    gateway.hello()
    with pytest.raises(Closed) as end:
        first.receive()
    assert end.value.status == 1008
    assert control.do("GET", "gateways/gw1")["connected"]
    control.add_service("ssh", "agent1", 2222)
    assert gateway.receive()["put"]["services"]


def test_node_that_ends_is_noticed(control):
    gateway, agent = world(control)
    # Half closed, closed, and reset.
    gateway.line.socket.unwrap().shutdown(socket.SHUT_WR)
    agent.line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    agent.disconnect()
    deadline = time.monotonic() + 30  # a line that is silent ends after 40 s
    while control.do("GET", "gateways/gw1")["connected"] or control.do("GET", "agents/agent1")["connected"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("message", [
    b"nonsense", b"[]", b"{}", b'{"type":1}', b'{"type":"ack","generation":99}',
    b'{"type":"nack","generation":99}', b'{"type":"nack"}', b'{"type":"hello"}',
    b'{"type":"hello","protocol":2,"generation":0,"public_key":"x"}',
    b'{"type":"hello","protocol":1,"generation":0,"public_key":"x"}',
    b'{"type":"hello","protocol":1,"generation":0,"public_key":"' + b"A" * 43 + b'="}',
    b'{"type":"hello","protocol":1,"generation":-1,"public_key":"' + b"A" * 43 + b'="}', b"\xff",
], ids=range(13))
def test_bad_message_ends_the_line_only(control, message):
    gateway, agent = world(control)
    gateway.line.send(message)
    assert gateway.closed() in (1002, 1007, 1008, 1009)
    gateway.hello()
    gateway.quiet()
    status = control.do("GET", "status")
    assert [node["connected"] for node in status["gateways"] + status["agents"]] == [True, True]
    assert agent.quiet() is None


def test_long_messages(control):
    """A gateway with all the Agents there can be has more to report than an Agent may."""
    gateway, agent = world(control)
    report = b'{"type":"report","x":"' + b"x" * (1 << 20) + b'"}'
    gateway.line.send(report)
    agent.line.send(report)
    assert agent.closed() == 1009
    while not control.do("GET", "status")["gateways"][0]["report"]:
        time.sleep(0.05)
    assert gateway.quiet() is None


def test_hello_comes_first(control):
    node = Node(control, control.add_agent("home")["join_token"])
    for message in ({"type": "report"}, {"type": "ack", "generation": 1}):
        node.connect().line.send(message)
        assert node.closed() == 1002
    node.connect().line.send_frame(BINARY, b"x")
    assert node.closed() == 1003


def test_one_key_for_two_nodes(control):
    gateway, agent = world(control)
    agent.disconnect()
    agent.hello(public_key=gateway.public_key)
    assert agent.closed() == 1008


def test_unknown_messages_and_fields_are_passed_over(control):
    gateway, _ = world(control)
    gateway.line.send({"type": "future", "x": 1})
    gateway.report(future={"a": [1, 2]})
    gateway.disconnect()
    gateway.hello(future=True)
    gateway.quiet()
    assert control.do("GET", "gateways/gw1")["connected"]


# ---- under pressure ----

def test_idle_connections_hinder_nobody(control):
    waiting = [socket.create_connection(("127.0.0.1", control.port)) for _ in range(100)]
    waiting += [control.connect() for _ in range(50)]
    for line in waiting[100:]:
        line.sendall(b"GET /api")
    start = time.monotonic()
    assert control.call("GET", f"{API}/status")[0] == 200
    assert time.monotonic() - start < 9.5  # the first of them ends after 10 s
    for line in waiting:
        line.close()


def test_large_snapshot(control):
    """Straight into the database: the gateway gets it all in one message."""
    gateway, agent = world(control)
    gateway.disconnect()
    control.stop()
    database = sqlite3.connect(control.state / "control.db")
    ports = range(1, 30001)
    database.executemany("INSERT INTO services (id, org, name, protocol, address, port, last_port, agent_port, target, "
                         "proxy_protocol, limit_packets, limit_connections, drain_until, generation) "
                         "VALUES (?1, 1, 's' || ?1, 6, '', ?1, ?1, ?1, '127.0.0.1:1', 0, 0, 0, 0, 1)",
                         [(port,) for port in ports])
    database.executemany("INSERT INTO members VALUES (?1, ?2, 1, 6, ?1, ?1, 0)", [(port, agent.id) for port in ports])
    database.commit()
    database.close()
    control.start()
    gateway.epoch, gateway.generation = None, 0
    told = gateway.join_in()
    assert len(told["services"]) == 30000 and told["services"][-1]["port"] == 30000


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
