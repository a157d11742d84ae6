# SPDX-License-Identifier: MIT
"""The whole of it: network, services, product, what is published; up, tried, down."""

import time

from . import topology
from .processes import PATIENCE
from .product import Product, default_build
from .published import DEMO
from .record import Record
from .services import Postgres, Ssh, Udp, Web


class World:
    """With fewer services (names of DEMO's) it is up sooner."""

    def __init__(self, build=None, agents=("agent",), progress=lambda text: None,
                 services=tuple(service.name for service in DEMO)):
        self.build, self.agents, self.progress = build or default_build(), agents, progress
        self.wanted = services
        self.record = Record.new()
        self.network = self.product = None
        self.services = {}

    @property
    def id(self):
        return self.record.id

    def up(self):
        """Everything but what is published."""
        self.progress(f"network namespaces kk-{self.id}-*: user, gw1, gw2, control, nat, lan, {', '.join(self.agents)}")
        self.network = network = topology.Network(self.record, self.agents)
        self.progress("OpenSSH, PostgreSQL, nginx and a UDP service behind the NAT")
        makers = {
            "ssh": lambda: Ssh(self.record, network["agent"]),
            "postgres": lambda: Postgres(self.record, network["lan"], topology.LAN),
            "web": lambda: Web(self.record, network["lan"], topology.LAN),
            "udp": lambda: Udp(self.record, network["lan"], topology.LAN),
        }
        self.services = {name: make() for name, make in makers.items() if name in self.wanted}
        if "ssh" in self.services:
            self.services["ssh"].known_hosts([f"{address}:2222" for address in topology.GATEWAYS.values()])
        self.product = Product(self.record, self.network, self.build)
        self._start_product()
        for service in self.services.values():
            service.wait()

    def _start_product(self):
        self.progress("kkcontrold")
        self.product.start_control()
        for name in topology.GATEWAYS:
            self.progress(f"kkgatewayd on {name} ({topology.GATEWAYS[name]})")
            self.product.join_gateway(name)
            self.product.start_node(name)
        for name in self.agents:
            self.progress(f"kkagentd on {name} (behind the NAT)")
            self.product.join_agent(name)
            self.product.start_node(name)
        self.product.wait_connected(*topology.GATEWAYS, *self.agents)
        self.product.wait_tunnels(self.agents)

    def publish(self, services=DEMO):
        for service in services:
            if service.name not in self.wanted:
                continue
            self.progress(f"kkctl service add {service.name} --agent agent {' '.join(service.options())}")
            self.product.publish(service.name, *service.options())

    def attempt(self, service, gateway):
        """Tries a service through a gateway; the client's address as the Agent saw it."""
        before = self._clients(service, gateway)
        seen_by_service = service.probe(self, topology.GATEWAYS[gateway])
        # By which gateway it came the Agent learns a moment later.
        end = time.monotonic() + 5 * PATIENCE
        while not (new := self._clients(service, gateway) - before) and time.monotonic() < end:
            time.sleep(0.02 * PATIENCE)
        clients = {client.rpartition(":")[0] for client in new}
        if clients != {topology.USER}:
            raise AssertionError(f"the Agent saw {sorted(clients) or 'nobody'}, not {topology.USER}")
        if seen_by_service not in (None, topology.USER):
            raise AssertionError(f"the service saw {seen_by_service}, not {topology.USER}")
        return topology.USER

    def _clients(self, service, gateway):
        return {session["client"] for session in self.product.sessions()
                if (session["service"], session.get("gateway")) == (service.name, gateway)}

    def logs(self):
        """The ends of all logs, for a report of a failure."""
        directory = self.record.directory / "log"
        if not directory.exists():
            return ""
        ends = []
        for log in sorted(directory.iterdir()):
            lines = log.read_text(errors="replace").splitlines()[-15:]
            ends += [f"--- {log.name}", *lines] if lines else []
        return "\n".join(ends)

    def down(self):
        self.record.take_down()
