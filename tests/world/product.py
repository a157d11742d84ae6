# SPDX-License-Identifier: MIT
"""The product in the demo world: kkcontrold, two kkgatewayd, kkagentd, all of them driven by kkctl."""

import json
import os
import pathlib
import subprocess

from . import netns, topology
from .processes import PATIENCE, Process, wait_until

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
CONTROL_PORT = 8443


def default_build():
    return pathlib.Path(os.environ.get("KK_BUILD", TREE / "build")).resolve()


class Failed(RuntimeError):
    """kkctl said no: .status and .message."""

    def __init__(self, argv, status, message):
        super().__init__(f"kkctl {' '.join(argv)}: exit status {status}: {message}")
        self.status, self.message = status, message


class Product:
    def __init__(self, record, network, build):
        self.record, self.network, self.build = record, network, build
        self.daemons = {}
        self.tunnels = {}
        # Of those built with sanitizers.
        self.environment = {"ASAN_OPTIONS": "detect_leaks=1:exitcode=99",
                            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99"}
        if build.name == "san":
            # Lets the tunnel's engine, too, write where the daemon's log is; otherwise it has nowhere to complain.
            self.environment["JOURNAL_STREAM"] = "1:1"

    def program(self, name):
        return str(self.build / name)

    def state(self, name):
        return self.record.directory / name

    def run_program(self, where, program, *argv):
        """A program that does something and ends, in one of the namespaces."""
        return netns.sh(*netns.within(self.network[where], self.program(program), *argv),
                        env={**os.environ, **self.environment})

    # Control and kkctl

    def start_control(self):
        self._start("control", "kkcontrold", "--state", str(self.state("control")),
                    "--listen", f"{topology.CONTROL}:{CONTROL_PORT}")

    @property
    def url(self):
        return f"https://{topology.CONTROL}:{CONTROL_PORT}"

    @property
    def admin(self):
        """What Control wrote for kkctl: url, pin and key."""
        return json.loads((self.state("control") / "admin.json").read_text(encoding="utf-8"))

    def run_kkctl(self, *argv, namespace="control", config=None):
        """The finished process: exit status, text of both outputs."""
        config = config or self.state("control") / "admin.json"
        return subprocess.run(
            netns.within(self.network[namespace], self.program("kkctl"), "--config", str(config), *argv),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
            timeout=90 * PATIENCE, env={**os.environ, **self.environment})

    def kkctl(self, *argv, namespace="control"):
        """What `kkctl --json` answers; Failed for any exit status but 0."""
        done = self.run_kkctl("--json", *argv, namespace=namespace)
        if done.returncode != 0:
            raise Failed(argv, done.returncode, done.stderr.strip() or done.stdout.strip())
        return json.loads(done.stdout)

    def items(self, noun):
        answer = self.kkctl(noun, "list")
        return answer["items"] if isinstance(answer, dict) else answer

    def publish(self, name, *argv, agent="agent"):
        """`kkctl service add`, which answers when gateways and Agent serve it."""
        agents = [agent] if isinstance(agent, str) else agent
        return self.kkctl("service", "add", name, *(word for one in agents for word in ("--agent", one)), *argv)

    def sessions(self, agent="agent"):
        """Who is or was connected, as the Agent's relay knows it, newest first."""
        answer = self.kkctl("sessions", "--socket", str(self.relay_socket(agent)), namespace=agent)
        return answer["sessions"] if isinstance(answer, dict) else answer

    # Nodes

    def join_gateway(self, name):
        token = self.kkctl("gateway", "add", name, "--address", topology.GATEWAYS[name],
                           "--address", topology.GATEWAYS6[name])["join_token"]
        self.tunnels[name] = self.record.interface(name)
        self._join(name, "kkgatewayd", token)

    def join_agent(self, name):
        token = self.kkctl("agent", "add", name)["join_token"]
        self.tunnels[name] = self.record.interface(name.replace("agent", "a"))
        self._join(name, "kkagentd", token)

    def _join(self, name, program, token):
        self.run_program(name, program, "join", token, "--state", str(self.state(name)))

    def gateway_options(self, name):
        return ["--state", str(self.state(name)), "--tunnel-interface", self.tunnels[name],
                "--pin-dir", str(self.record.pin_dir(name))]

    def agent_options(self, name):
        return ["--state", str(self.state(name)), "--run-dir", str(self.record.directory / f"{name}-run"),
                "--netns", self.network[f"{name}-tun"], "--tunnel-interface", self.tunnels[name]]

    def relay_socket(self, name):
        return self.record.directory / f"{name}-run" / "relay.sock"

    def start_node(self, name, *more):
        """With more options where they are given."""
        if name in topology.GATEWAYS:
            self._start(name, "kkgatewayd", "run", *self.gateway_options(name), *more)
        else:
            self._start(name, "kkagentd", "run", *self.agent_options(name), *more)

    def _start(self, name, program, *argv):
        self.daemons[name] = Process(self.record, name, self.network[name], [self.program(program), *argv],
                                     env=self.environment, notify=True)
        self.daemons[name].ready()

    def wait_connected(self, *names):
        """Until Control says that these nodes are connected and have what is configured."""
        def connected():
            for name in names:
                self.daemons[name].check()
            status = self.kkctl("status")
            nodes = {node["name"]: node for node in status["gateways"] + status["agents"]}
            return all(nodes[name]["connected"] and nodes[name]["acked_generation"] is not None for name in names)
        # A node whose Control was away for long waits up to 15 s between two tries.
        wait_until(f"{', '.join(names)} connected to Control", connected, timeout_s=30)

    def wait_tunnels(self, agents):
        """Until every tunnel has shaken hands. Control is told of it some seconds later."""
        def handshakes(agent):
            lines = netns.sh("wg", "show", self.tunnels[agent], "latest-handshakes").splitlines()
            return sum(1 for line in lines if line.split()[1] != "0")
        wait_until("tunnels up", lambda: all(handshakes(agent) == len(topology.GATEWAYS) for agent in agents),
                   timeout_s=20)
