# SPDX-License-Identifier: MIT
"""Whom a change of Control's waits for, and what becomes of one that a node rejects."""

import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from control.calls import API, Call, SERVICE, check_error, world  # noqa: E402
from control.node import WebSocket  # noqa: E402


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
    while not (refused := control.do("GET", "status/gateways")["items"][0].get("refused")):
        time.sleep(0.05)
    assert refused == {"generation": told["generation"], "field": "", "message": "no memory"}
    # It is sent again after a while, and then all is well.
    assert gateway.receive(timeout=20)["type"] == "snapshot"
    while control.do("GET", "status/gateways")["items"][0].get("refused"):
        time.sleep(0.05)
