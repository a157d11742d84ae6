# SPDX-License-Identifier: MIT
"""Bad input gets one clear sentence that names the field, and changes nothing."""

import base64
import json
import subprocess

import pytest

from world import netns, topology
from world.processes import wait_until
from world.rest import Rest
from world.traffic import Echo

SERVICE = {"name": "bad", "agent": "agent", "protocol": "tcp", "port": 7777, "target": "127.0.0.1:7"}


@pytest.fixture(name="rest")
def make_rest(product):
    """Control, which has to be in the same state when the test is done."""
    rest = Rest(product)
    before = rest.state()
    yield rest
    assert rest.state() == before


def check_error(answer, status, code, field=None):
    """The error is as doc/protocol.md has it; returns its sentence."""
    assert answer[0] == status, answer
    error = answer[1]["error"]
    assert (error["code"], error.get("field")) == (code, field), error
    check_sentence(error["message"], field)
    return error["message"]


def check_sentence(text, field=None):
    assert text.count(" ") >= 2 and "\n" not in text and len(text) < 200, text
    assert not field or field in text


@pytest.mark.parametrize("field,value", [
    ("port", 0), ("port", 65536), ("port", -1), ("port", "22"), ("port", 22.5), ("port", None),
    ("protocol", "sctp"), ("protocol", 6), ("agent", "nobody"), ("agent", 1),
    ("name", ""), ("name", "Bad Name"), ("name", "-bad"), ("name", "x" * 33),
    ("target", "127.0.0.1"), ("target", ":22"), ("target", "127.0.0.1:0"), ("target", "127.0.0.1:99999"),
    ("target", "h" * 300 + ":1"), ("proxy_protocol", "yes"),
])
def test_bad_value(rest, field, value):
    check_error(rest.call("POST", "/api/v1/services", {**SERVICE, field: value}), 400, "invalid", field)


@pytest.mark.parametrize("field,value", [("port", 65536), ("port", -1), ("agent", "nobody"), ("protocol", "sctp"),
                                         ("name", "Bad Name"), ("target", "127.0.0.1")])
def test_sentence_names_the_value(rest, field, value):
    answer = rest.call("POST", "/api/v1/services", {**SERVICE, field: value})
    assert str(value) in check_error(answer, 400, "invalid", field)


@pytest.mark.parametrize("field", SERVICE)
def test_missing_field(rest, field):
    body = {key: value for key, value in SERVICE.items() if key != field}
    check_error(rest.call("POST", "/api/v1/services", body), 400, "invalid", field)


def test_unknown_field(rest):
    check_error(rest.call("POST", "/api/v1/services", {**SERVICE, "colour": 1}), 400, "invalid", "colour")


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"null", b'"text"', b'{"name":"bad"', b'{"name":"a","name":"b"}', b"\xff\xfe{}", b"{}{}",
    b"[" * 5000,
])
def test_malformed_json(rest, body):
    answer = rest.call("POST", "/api/v1/services", body)
    assert answer[0] == 400 and answer[1]["error"]["code"] == "invalid", answer
    check_sentence(answer[1]["error"]["message"])


def test_oversized_body(rest):
    for length in (64 * 1024 + 1, 4 << 20):
        body = json.dumps(SERVICE).encode().ljust(length)
        check_error(rest.call("POST", "/api/v1/services", body), 413, "too_large")


def test_unknown_version_path_and_method(rest):
    message = check_error(rest.call("GET", "/api/v2/services"), 404, "unknown_version")
    assert "2" in message
    check_error(rest.call("POST", "/api/v99/services", SERVICE), 404, "unknown_version")
    check_error(rest.call("GET", "/api/v1/nothing"), 404, "not_found")
    check_error(rest.call("GET", "/api/v1/services/nobody"), 404, "not_found")
    check_error(rest.call("PUT", "/api/v1/services", SERVICE), 405, "method_not_allowed")


def test_port_taken_names_the_service(rest):
    message = check_error(rest.call("POST", "/api/v1/services", {**SERVICE, "port": 2222}), 409, "conflict", "port")
    assert "ssh" in message and "2222" in message
    message = check_error(rest.call("PATCH", "/api/v1/services/ssh", {"port": 8080}), 409, "conflict", "port")
    assert "web" in message and "8080" in message


def test_name_taken(rest):
    check_error(rest.call("POST", "/api/v1/services", {**SERVICE, "name": "ssh"}), 409, "conflict", "name")
    check_error(rest.call("POST", "/api/v1/agents", {"name": "agent"}), 409, "conflict", "name")
    body = {"name": "gw1", "address": "198.51.100.99"}
    check_error(rest.call("POST", "/api/v1/gateways", body), 409, "conflict", "name")


def test_bad_gateway(rest):
    for address in ("198.51.100", "gw.example", "198.51.100.256", ""):
        answer = rest.call("POST", "/api/v1/gateways", {"name": "gw9", "address": address})
        check_error(answer, 400, "invalid", "address")
    answer = rest.call("POST", "/api/v1/gateways", {"name": "gw9", "address": "198.51.100.9", "wg_port": 0})
    check_error(answer, 400, "invalid", "wg_port")


def test_agent_in_use_stays(rest):
    message = check_error(rest.call("DELETE", "/api/v1/agents/agent"), 409, "in_use")
    assert "agent" in message


def test_port_of_wireguard(rest):
    """51820/udp carries the tunnels of every gateway."""
    body = {**SERVICE, "protocol": "udp", "port": 51820}
    message = check_error(rest.call("POST", "/api/v1/services", body), 409, "conflict", "port")
    assert "51820" in message and "gw" in message


def test_port_that_the_gateway_serves_itself(world, product, rest):
    """What listens on the gateway's own public address is not taken away from it."""
    own = Echo(world.network["gw1"], topology.GATEWAYS["gw1"], 7788, "gateway")
    try:
        def known():
            gateway = next(g for g in product.kkctl("status")["gateways"] if g["name"] == "gw1")
            return {"protocol": "tcp", "port": 7788} in gateway["report"]["ports_in_use"]
        wait_until("gw1 reports the port", known, timeout_s=20)
        message = check_error(rest.call("POST", "/api/v1/services", {**SERVICE, "port": 7788}), 409, "conflict", "port")
        assert "gw1" in message and "7788" in message
    finally:
        own.close()


def test_bad_keys(product, rest):
    for key in ("", "nonsense", "kka_" + "A" * 43, "kkn_" + "A" * 43):
        check_error(Rest(product, key).call("GET", "/api/v1/services"), 401, "unauthorized")
    check_error(Rest(product, "").call("POST", "/api/v1/services", SERVICE), 401, "unauthorized")


def test_revoked_api_key(product, rest):
    key = product.kkctl("key", "add", "guest")["key"]
    guest = Rest(product, key)
    assert guest.call("GET", "/api/v1/services")[0] == 200
    product.kkctl("key", "rm", "guest")
    check_error(guest.call("POST", "/api/v1/services", SERVICE), 401, "unauthorized")


def test_last_api_key_stays(product, rest):
    (name,) = [key["name"] for key in rest.state()["api-keys"]]
    check_error(rest.call("DELETE", f"/api/v1/api-keys/{name}"), 409, "in_use")


def secret_of(token):
    assert token.startswith("kkj1.")
    text = token.removeprefix("kkj1.")
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))["secret"]


def test_join_tokens(world, product, tmp_path):
    """A token is good for one join, of one node, until it is removed; a revoked node's key stops working."""
    rest = Rest(product)
    before = rest.state()
    token = product.kkctl("agent", "add", "guest")["join_token"]
    state = rest.state()
    nobody = Rest(product, "")
    for secret in ("", "nonsense", "A" * 43):
        answer = nobody.call("POST", "/api/v1/join", {"secret": secret, "version": "0"})
        assert answer[0] in (400, 401) and "message" in answer[1]["error"]
    assert rest.state() == state
    joined = nobody.call("POST", "/api/v1/join", {"secret": secret_of(token), "version": "0"})
    assert joined[0] == 200 and joined[1]["name"] == "guest"
    check_error(nobody.call("POST", "/api/v1/join", {"secret": secret_of(token), "version": "0"}),
                401, "unauthorized", "token")
    node = Rest(product, joined[1]["key"])
    check_error(node.call("GET", "/api/v1/services"), 401, "unauthorized")
    product.kkctl("agent", "revoke", "guest")
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode()}
    check_error(node.call("GET", "/api/v1/node", headers=upgrade), 401, "unauthorized")
    product.kkctl("agent", "rm", "guest")
    after = rest.state()
    assert {**after, "generation": 0} == {**before, "generation": 0}


@pytest.mark.parametrize("program", ["kkgatewayd", "kkagentd"])
def test_bad_join(world, product, tmp_path, program):
    """A token that is none, is cut short, or is for the other kind of node: one sentence, no state written."""
    good = product.kkctl("token", "add", "--agent" if program == "kkgatewayd" else "--gateway",
                         "agent" if program == "kkgatewayd" else "gw1")
    state = tmp_path / "state"
    try:
        for token in ("", "nonsense", "kkj1.", "kkj1.AAAA", good["join_token"][:-8], good["join_token"]):
            done = subprocess.run(netns.within(world.network["gw1"], product.program(program), "join", token,
                                               "--state", str(state)),
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True, check=False, timeout=30)
            assert done.returncode != 0 and done.stdout == ""
            assert len(done.stderr.splitlines()) == 1 and "token" in done.stderr, done.stderr
            assert not (state / "node.json").exists()
    finally:
        product.kkctl("token", "rm", str(good["id"]))


@pytest.mark.parametrize("status,argv", [
    (2, []), (2, ["nothing"]), (2, ["service"]), (2, ["service", "fly"]), (2, ["service", "add"]),
    (2, ["service", "add", "bad", "--agent", "agent", "--tcp", "x", "--target", "127.0.0.1:1"]),
    (2, ["service", "add", "bad", "--agent", "agent", "--target", "127.0.0.1:1"]),
    (2, ["service", "list", "--colour"]), (2, ["--wait", "x", "status"]),
    (1, ["service", "add", "bad", "--agent", "nobody", "--tcp", "7777", "--target", "127.0.0.1:1"]),
    (1, ["service", "add", "bad", "--agent", "agent", "--tcp", "2222", "--target", "127.0.0.1:1"]),
    (1, ["service", "rm", "nobody"]), (1, ["service", "show", "nobody"]), (1, ["gateway", "show", "nobody"]),
])
def test_kkctl_refuses(product, rest, status, argv):
    done = product.run_kkctl(*argv)
    assert done.returncode == status, done
    assert done.stdout == "" and done.stderr
    if status == 1:
        assert len(done.stderr.splitlines()) == 1


def test_kkctl_without_control(product, tmp_path):
    """A configuration that is not there, is nonsense, or names a Control that nobody answers for."""
    nowhere = {**product.admin, "url": f"https://{topology.CONTROL}:1"}
    other_pin = {**product.admin, "pin": base64.b64encode(bytes(32)).decode()}
    for name, text, status in (("none", None, None), ("nonsense", "{", None), ("nowhere", json.dumps(nowhere), 3),
                               ("other-pin", json.dumps(other_pin), 3)):
        if text is not None:
            (tmp_path / name).write_text(text, encoding="utf-8")
        done = product.run_kkctl("status", config=tmp_path / name)
        assert done.returncode == status if status else done.returncode != 0, (name, done)
        assert done.stdout == "" and len(done.stderr.splitlines()) == 1, (name, done)
