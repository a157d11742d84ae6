# SPDX-License-Identifier: MIT
"""Bad requests to Control: one sentence, the right field and status, and nothing changed."""

import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from control.calls import API, GATEWAY, SERVICE, check_error  # noqa: E402
from control.daemon import Control  # noqa: E402


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
