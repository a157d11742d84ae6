# SPDX-License-Identifier: MIT
"""How nodes join Control, and the keys of nodes and administrators."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from control.calls import API, check_error, world  # noqa: E402
from control.daemon import read_token  # noqa: E402
from control.node import Node, WebSocket  # noqa: E402


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
