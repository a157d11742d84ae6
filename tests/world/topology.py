# SPDX-License-Identifier: MIT
"""The network of the demo world.

   user 203.0.113.9                              control 198.51.100.5   kkcontrold
     |                                              |
     | 203.0.113.0/24     198.51.100.0/24           |
   inet, a router ---------- a switch --------------+---- gw1 198.51.100.11   kkgatewayd
     .1           .254                              |
                                                    +---- gw2 198.51.100.12   kkgatewayd
                                                    |
                                                   nat 198.51.100.30, masquerades; nothing gets in
                                                    |  192.168.77.1
                       192.168.77.0/24              |
               +-----------------+------------------+---------+
               |                 |                            |
             agent .10         lan .20                     agent2 .11 (whole-system tests only)
             kkagentd          PostgreSQL, nginx, UDP      kkagentd
             OpenSSH           service
               :
             agent-tun: the Agent's end of the tunnel, made by kkagentd

The public networks speak IPv6 too: 2001:db8:203::/64 is the user's, 2001:db8:198::/64 the switch's, with the last
numbers of their IPv4 addresses. Behind the NAT there is IPv4 alone.

Every box is a network namespace kk-ID-NAME, so that runs beside each other do not meet.
"""

from . import netns

USER = "203.0.113.9"
USER6 = "2001:db8:203::9"
CONTROL = "198.51.100.5"
GATEWAYS = {"gw1": "198.51.100.11", "gw2": "198.51.100.12"}
GATEWAYS6 = {"gw1": "2001:db8:198::11", "gw2": "2001:db8:198::12"}
AGENTS = {"agent": "192.168.77.10", "agent2": "192.168.77.11"}
LAN = "192.168.77.20"

NAT_RULES = """
table ip nat {
	chain postrouting {
		type nat hook postrouting priority srcnat
		oifname "eth0" masquerade
	}
	chain forward {
		type filter hook forward priority filter; policy drop
		ct state established,related accept
		iifname "lan0" accept
	}
	chain input {
		type filter hook input priority filter; policy drop
		ct state established,related accept
		iifname { "lo", "lan0" } accept
	}
}
"""


class Network:
    """Namespaces by their short names: network["gw1"] is kk-ID-gw1."""

    def __init__(self, record, agents=("agent",)):
        self.record = record
        self.names = {}
        with netns.batch():
            for name in ("inet", "user", "control", *GATEWAYS, "nat", "lan", *agents):
                self.names[name] = record.namespace(name)
                netns.add(self.names[name])
        for name in agents:
            self.names[f"{name}-tun"] = record.namespace(f"{name}-tun")
        for router in ("inet", "nat"):
            netns.set_forwarding(self[router])
        # Cables are laid from the routers, which come first.
        with netns.batch():
            self._connect_public()
            self._connect_lan(agents)
        netns.sh(*netns.within(self["nat"], "nft", "-f", "-"), input=NAT_RULES)

    def __getitem__(self, name):
        return self.names[name]

    def _connect_public(self):
        inet = self["inet"]
        netns.add_cable(inet, "user", self["user"], "eth0", peer_address=f"{USER}/24")
        netns.add_address(inet, "user", "203.0.113.1/24")
        netns.add_default_route(self["user"], "203.0.113.1")
        netns.add_address6(inet, "user", "2001:db8:203::1/64")
        netns.add_address6(self["user"], "eth0", f"{USER6}/64")
        netns.add_default_route(self["user"], "2001:db8:203::1")
        netns.add_bridge(inet, "switch", "198.51.100.254/24")
        for name, address in {"control": CONTROL, **GATEWAYS, "nat": "198.51.100.30"}.items():
            netns.add_cable(inet, name, self[name], "eth0", bridge="switch", peer_address=f"{address}/24")
            netns.add_default_route(self[name], "198.51.100.254")
        netns.add_address6(inet, "switch", "2001:db8:198::254/64")
        for name, address in GATEWAYS6.items():
            netns.add_address6(self[name], "eth0", f"{address}/64")
            netns.add_default_route(self[name], "2001:db8:198::254")

    def _connect_lan(self, agents):
        nat = self["nat"]
        netns.add_bridge(nat, "lan0", "192.168.77.1/24")
        for name, address in {"lan": LAN, **{agent: AGENTS[agent] for agent in agents}}.items():
            netns.add_cable(nat, name, self[name], "eth0", bridge="lan0", peer_address=f"{address}/24")
            netns.add_default_route(self[name], "192.168.77.1")
