# SPDX-License-Identifier: MIT
"""Control's REST as a program would speak it that is not kkctl, right or wrong."""

import http.client
import json
import ssl

from . import netns, topology
from .product import CONTROL_PORT


class Rest:
    def __init__(self, product, key=None):
        self.namespace = product.network["control"]
        self.key = product.admin["key"] if key is None else key

    def call(self, method, path, body=None, headers=None):
        """Status and JSON of the answer. A body that is bytes is sent as it is, any other as JSON."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        with netns.entered(self.namespace):
            connection = http.client.HTTPSConnection(topology.CONTROL, CONTROL_PORT, timeout=20,
                                                     context=ssl._create_unverified_context())
            connection.connect()
        try:
            connection.request(method, path, body, {**self._authorization(), **(headers or {})})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def _authorization(self):
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def state(self):
        """All that can be changed."""
        lists = ("gateways", "agents", "services", "hosts", "groups", "rules", "join-tokens", "api-keys")
        state = {name: self.call("GET", f"/api/v1/{name}")[1]["items"] for name in lists}
        for node in state["gateways"] + state["agents"]:
            # How far a node is on its way is not what is configured.
            del node["acked_generation"], node["connected"]
        state["generation"] = self.call("GET", "/api/v1/status")[1]["generation"]
        return state
