# SPDX-License-Identifier: MIT
"""What Control tells its nodes: snapshots and deltas."""

import pathlib
import re
import sqlite3
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from control.calls import world  # noqa: E402


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
    agents = control.do("GET", "status/agents")["items"]
    assert [a["acked_generation"] for a in agents] == [control.do("GET", "status")["generation"]] * 2


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
