# SPDX-License-Identifier: MIT
"""What tests of Control ask of it again and again."""

import threading

from control.node import Node

API = "/api/v1"
SERVICE = {"name": "bad", "agent": "home", "protocol": "tcp", "port": 7777, "target": "127.0.0.1:7"}
GATEWAY = {"name": "bad", "address": "198.51.100.7"}


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
