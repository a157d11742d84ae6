# SPDX-License-Identifier: MIT
"""The nodes' lines to Control, and what nodes report on them."""

import pathlib
import socket
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from control.calls import API, SERVICE, check_error, world  # noqa: E402
from control.node import BINARY, Closed, Node, WebSocket  # noqa: E402


def test_reports_are_shown(control):
    gateway, agent = world(control)
    gateway.report(dataplane={"kind": "tc"}, ports_in_use=[])
    agent.report(services=[{"id": 1, "state": "ready"}])
    while not control.do("GET", "status/agents")["items"][0]["report"]:
        time.sleep(0.05)
    assert control.do("GET", "status/gateways")["items"][0]["report"]["dataplane"] == {"kind": "tc"}
    assert control.do("GET", "status/agents")["items"][0]["report"] == {"services": [{"id": 1, "state": "ready"}]}
    assert control.do("GET", "status/agents?name=other")["items"] == []
    status = control.do("GET", "status")
    assert status["gateways"] == status["agents"] == {"total": 1, "connected": 1} and status["peers"] == 0


def test_long_reports_come_in_pages(control):
    """However much nodes have to tell, one answer holds some 256 KiB of it."""
    gateways = world(control, gateways=5)[:5]
    for gateway in gateways[:4]:
        gateway.report(text="x" * 150000)
    while not all(node["report"] for node in [control.do("GET", f"status/gateways?name=gw{i}")["items"][0] for i in range(1, 5)]):
        time.sleep(0.05)
    pages, after = [], 0
    while after is not None:
        page = control.do("GET", f"status/gateways?after={after}")
        pages.append([node["name"] for node in page["items"]])
        after = page["next"]
    assert pages == [["gw1", "gw2"], ["gw3", "gw4"], ["gw5"]]


def test_ports_that_a_gateway_uses_itself(control):
    first, second, _ = world(control, gateways=2)
    second.report(ports_in_use=[{"protocol": "tcp", "port": 22}, {"protocol": "udp", "port": 53}, "x", {"port": "y"}])
    while not control.do("GET", "status/gateways")["items"][1]["report"]:
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
    assert status["gateways"] == status["agents"] == {"total": 1, "connected": 1}
    assert agent.quiet() is None


def test_long_messages(control):
    """A gateway with all the Agents there can be has more to report than an Agent may."""
    gateway, agent = world(control)
    report = b'{"type":"report","x":"' + b"x" * (1 << 20) + b'"}'
    gateway.line.send(report)
    agent.line.send(report)
    assert agent.closed() == 1009
    while not control.do("GET", "status/gateways")["items"][0]["report"]:
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
