# SPDX-License-Identifier: MIT
"""kkctl against a real kkcontrold on loopback, with nodes that answer as told.

    kkctl --HTTPS--> kkcontrold (127.0.0.1) <--WebSocket-- ScriptedNode, in this process
"""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from scripted_node import ScriptedNode, decode_token

BUILD = pathlib.Path(os.environ.get("KK_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build")).resolve()
KEY = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Control:
    def __init__(self, directory):
        self.state = directory / "state"
        self.admin = self.state / "admin.json"
        self.port = free_port()
        self.log = open(directory / "control.log", "wb")
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [BUILD / "kkcontrold", "--state", self.state, "--listen", f"127.0.0.1:{self.port}"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

        def up():
            assert self.process.poll() is None, "kkcontrold ended"
            with socket.socket() as s:
                return self.admin.exists() and s.connect_ex(("127.0.0.1", self.port)) == 0
        wait_until(up)

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(10)

    def run(self, *argv, config=None):
        return subprocess.run([BUILD / "kkctl", *argv], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              check=False, timeout=90,
                              env={**os.environ, "KKCTL_CONFIG": str(config or self.admin), "TZ": "UTC"})

    def human(self, *argv, status=0):
        """What a person reads."""
        done = self.run(*argv)
        assert (done.returncode, done.stderr) == (status, ""), done
        return done.stdout

    def json(self, *argv, status=0):
        done = self.run("--json", *argv)
        assert (done.returncode, done.stderr) == (status, ""), done
        return json.loads(done.stdout)

    def refused(self, *argv, status=1):
        """The sentence without its "kkctl: "."""
        done = self.run(*argv)
        assert done.returncode == status and done.stdout == "", done
        lines = done.stderr.splitlines()
        assert len(lines) == 1 and lines[0].startswith("kkctl: "), done
        return lines[0].removeprefix("kkctl: ")

    def names(self, noun):
        return [item["name"] for item in self.json(noun, "list")["items"]]


@pytest.fixture(name="control")
def make_control(tmp_path):
    control = Control(tmp_path)
    control.start()
    yield control
    assert control.process.poll() is None, "kkcontrold ended"
    assert control.stop() == 0


@pytest.fixture(name="nodes")
def make_nodes():
    nodes = []
    yield nodes
    for node in nodes:
        node.close()


def add_gateway(control, nodes, name, address, report=None):
    node = ScriptedNode(control.json("gateway", "add", name, "--address", address)["join_token"], report)
    nodes.append(node)
    return node


def columns(text):
    """A table as a list of lists; columns are two blanks apart."""
    return [re.split(r" {2,}", line) for line in text.splitlines()]


# Gateways and Agents

def test_gateway(control):
    assert control.human("gateway", "list") == "There is no gateway yet.\n"
    first, second = control.human("gateway", "add", "gw1", "--address", "198.51.100.1").splitlines()
    assert first == "gateway gw1 is added. On its machine, as root:"
    match = re.fullmatch(r"  kkgatewayd join (kkj1\.[A-Za-z0-9_-]+)", second)
    token = decode_token(match[1])
    assert (token["role"], token["node"]) == ("gateway", "gw1")
    assert token["url"] == f"https://127.0.0.1:{control.port}"

    added = control.json("gateway", "add", "gw2", "--address", "198.51.100.2", "--wg-port", "4000")
    assert (added["name"], added["wg_port"], added["index"]) == ("gw2", 4000, 2)
    assert columns(control.human("gateway", "list")) == [
        ["NAME", "ADDRESSES", "WG PORT", "INDEX", "CONNECTED", "GENERATION", "PUBLIC KEY"],
        ["gw1", "198.51.100.1", "51820", "1", "not joined", "-", "-"],
        ["gw2", "198.51.100.2", "4000", "2", "not joined", "-", "-"],
    ]
    assert ["NAME", "gw2"] in columns(control.human("gateway", "show", "gw2"))
    assert control.json("gateway", "show", "gw2")["id"] == added["id"]
    assert control.human("gateway", "rm", "gw2").startswith("gateway gw2 is removed, applied on ")
    assert control.names("gateway") == ["gw1"]


def test_agent(control):
    assert control.human("agent", "list") == "There is no agent yet.\n"
    assert re.search(r"\n  kkagentd join kkj1\.\S+\n$", control.human("agent", "add", "home"))
    added = control.json("agent", "add", "lab")
    assert added["subnet"] == "10.2.0.0/24"
    assert columns(control.human("agent", "list"))[1:] == [["home", "10.1.0.0/24", "not joined", "-", "-"],
                                                           ["lab", "10.2.0.0/24", "not joined", "-", "-"]]
    assert ["SUBNET", "10.2.0.0/24"] in columns(control.human("agent", "show", "lab"))
    control.human("agent", "rm", "home")
    assert control.names("agent") == ["lab"]


def test_revoke(control, nodes):
    node = add_gateway(control, nodes, "gw1", "198.51.100.1")
    assert control.json("gateway", "show", "gw1")["connected"]
    text = control.human("gateway", "revoke", "gw1")
    assert text.endswith("kkctl token add --gateway gw1\n")
    assert node.closed.wait(5)
    wait_until(lambda: not control.json("gateway", "show", "gw1")["connected"])
    again = ScriptedNode(control.json("token", "add", "--gateway", "gw1")["join_token"])
    nodes.append(again)
    assert control.json("gateway", "show", "gw1")["connected"]


# Services

def test_service(control, nodes):
    add_gateway(control, nodes, "gw1", "198.51.100.1")
    add_gateway(control, nodes, "gw2", "198.51.100.2")
    control.json("agent", "add", "home")
    assert control.human("service", "list") == "There is no service yet.\n"
    assert control.human("service", "add", "ssh", "--agent", "home", "--tcp", "2222", "--target", "127.0.0.1:22") == \
        "ssh: 198.51.100.1:2222, 198.51.100.2:2222 -> home 127.0.0.1:22, applied on 2/2 gateways\n"
    assert control.human("service", "add", "game", "--agent", "home", "--udp", "27015", "--target", "27015") == \
        "game: 198.51.100.1:27015/udp, 198.51.100.2:27015/udp -> home 127.0.0.1:27015, applied on 2/2 gateways\n"
    assert control.human("service", "set", "ssh", "--port", "2200", "--target", "nas.lan:22",
                         "--proxy-protocol", "on") == \
        "ssh: 198.51.100.1:2200, 198.51.100.2:2200 -> home nas.lan:22 (PROXY protocol), applied on 2/2 gateways\n"
    rows = columns(control.human("service", "list"))
    assert rows[0] == ["NAME", "PORT", "AGENT", "TARGET", "POLICY", "GENERATION"]
    assert [row[:5] for row in rows[1:]] == [["ssh", "2200/tcp", "home", "nas.lan:22", "PROXY protocol"],
                                             ["game", "27015/udp", "home", "127.0.0.1:27015", "-"]]
    assert ["PORT", "2200/tcp"] in columns(control.human("service", "show", "ssh"))
    changed = control.json("service", "set", "ssh", "--proxy-protocol", "off")
    assert changed["proxy_protocol"] is False and changed["port"] == 2200
    assert changed["applied"]["acknowledged"] == 2
    assert control.human("service", "rm", "ssh") == "ssh is removed, applied on 2/2 gateways\n"
    assert control.names("service") == ["game"]


def test_service_with_brackets(control):
    control.json("agent", "add", "home")
    added = control.json("--wait", "0", "service", "add", "web", "--agent", "home", "--tcp", "80", "--target", "[::1]:80")
    assert added["target"] == "[::1]:80"


def test_no_gateway_yet(control):
    control.json("agent", "add", "home")
    control.json("gateway", "add", "gw1", "--address", "198.51.100.1")
    assert control.human("service", "add", "ssh", "--agent", "home", "--tcp", "22", "--target", "22") == \
        "ssh: no gateway has joined yet -> home 127.0.0.1:22, applied on 0/0 gateways\n"


def test_many_gateways(control, nodes):
    for number in range(1, 7):
        add_gateway(control, nodes, f"gw{number}", f"198.51.100.{number}")
    control.json("agent", "add", "home")
    text = control.human("service", "add", "ssh", "--agent", "home", "--tcp", "22", "--target", "22")
    assert text == ("ssh: 198.51.100.1:22, 198.51.100.2:22, 198.51.100.3:22, 198.51.100.4:22 and 2 more"
                    " -> home 127.0.0.1:22, applied on 6/6 gateways\n")


def test_gateway_that_does_not_acknowledge(control, nodes):
    add_gateway(control, nodes, "gw1", "198.51.100.1")
    slow = add_gateway(control, nodes, "gw2", "198.51.100.2")
    control.json("agent", "add", "home")
    slow.answer = "silent"
    begin = time.monotonic()
    text = control.human("--wait", "3", "service", "add", "ssh", "--agent", "home", "--tcp", "22", "--target", "22",
                         status=4)
    assert 2.9 < time.monotonic() - begin < 9.5
    assert text.endswith("applied on 1/2 gateways (still waiting for: gw2)\n")
    # It was done all the same, and who does not wait is not told off.
    assert control.names("service") == ["ssh"]
    begin = time.monotonic()
    control.json("service", "set", "ssh", "--port", "23", "--wait", "0")
    assert time.monotonic() - begin < 9.5  # who says nothing waits for 10 s


def test_gateway_that_rejects(control, nodes):
    node = add_gateway(control, nodes, "gw1", "198.51.100.1")
    control.json("agent", "add", "home")
    before = control.json("service", "list")
    node.answer = "port 22 is in use on this machine"
    sentence = control.refused("service", "add", "ssh", "--agent", "home", "--tcp", "22", "--target", "22")
    assert "gw1" in sentence and "port 22 is in use on this machine" in sentence
    assert control.json("service", "list") == before


# Tokens and keys

def test_token(control):
    control.json("gateway", "add", "gw1", "--address", "198.51.100.1")
    control.json("agent", "add", "home")
    for outstanding in control.json("token", "list")["items"]:
        control.json("token", "rm", str(outstanding["id"]))
    assert control.human("token", "list") == "No join token is outstanding.\n"
    assert re.fullmatch(r"On the machine of agent home, as root:\n  kkagentd join kkj1\.\S+\n",
                        control.human("token", "add", "--agent", "home", "--expires", "60"))
    assert "kkgatewayd join" in control.human("token", "add", "--gateway", "gw1")
    listed = control.json("token", "list")["items"]
    assert [(token["role"], token["node"]) for token in listed] == [("agent", "home"), ("gateway", "gw1")]
    assert "kkj1" not in json.dumps(listed) and "secret" not in json.dumps(listed)
    rows = columns(control.human("token", "list"))
    assert rows[0][:2] == ["ID", "ROLE"] and rows[0][-1] == "EXPIRES"
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d", rows[1][-1])
    number = str(listed[0]["id"])
    assert control.human("token", "rm", number) == f"join token {number} is removed\n"
    assert len(control.json("token", "list")["items"]) == 1


def test_key(control, tmp_path):
    first, second = control.human("key", "add", "laptop").splitlines()
    assert first == "API key laptop, shown this once:"
    key = second.strip()
    assert key.startswith("kka_")
    other = tmp_path / "laptop.json"
    other.write_text(json.dumps({**json.loads(control.admin.read_text()), "key": key}))
    assert control.run("status", config=other).returncode == 0
    rows = columns(control.human("key", "list"))
    assert rows[0][0] == "NAME" and "CREATED" in rows[0] and "laptop" in [row[0] for row in rows[1:]]
    assert key not in json.dumps(control.json("key", "list"))
    assert control.human("key", "rm", "laptop") == "API key laptop is removed\n"
    done = control.run("status", config=other)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    # The last one stays, or nobody could come in any more.
    last = control.names("key")
    assert len(last) == 1
    control.refused("key", "rm", last[0])
    assert control.names("key") == last


# Status

def test_status(control, nodes):
    now = int(time.time())
    agent_id = control.json("agent", "add", "home")["id"]
    add_gateway(control, nodes, "gw1", "198.51.100.1", {
        "dataplane": {"kind": "tc", "reason": "there is no kernel module"},
        "tunnel": {"kind": "userspace", "interface": "kk0", "reason": "the kernel has no WireGuard"},
        "peers": [{"agent": agent_id, "last_handshake": now - 600, "rx_bytes": 1536, "tx_bytes": 10,
                   "endpoint": "203.0.113.9:41000"},
                  {"agent": 4711, "last_handshake": 0, "rx_bytes": 0, "tx_bytes": 0}],
    })
    control.json("gateway", "add", "gw2", "--address", "198.51.100.2")
    service = control.json("--wait", "0", "service", "add", "ssh", "--agent", "home", "--tcp", "22", "--target", "22")
    agent = ScriptedNode(control.json("token", "add", "--agent", "home")["join_token"], {
        "tunnel": {"kind": "userspace", "interface": "kka0"},
        "services": [{"id": service["id"], "state": "failed", "message": "bad\x1b[31m name"}],
    })
    nodes.append(agent)

    def reported():
        text = control.human("status")
        return text if "failed" in text and "tc" in text else None
    text = wait_until(reported)
    lines = text.splitlines()
    generation = control.json("status")["generation"]
    assert re.fullmatch(rf"Control \S+ at https://127\.0\.0\.1:{control.port}, generation {generation}, 1 service",
                        lines[0])
    assert lines[1] == "gateways 1/2 connected, agents 1/1 connected"
    rows = columns(text)
    gateway = next(row for row in rows if row[0] == "gw1")
    assert gateway[1:3] + gateway[4:] == ["198.51.100.1", "yes", "tc", "userspace kk0"]
    assert ["gw1", "home", "10 min", "1.5 KiB", "10 B", "203.0.113.9:41000"] in rows
    assert ["gw1", "#4711", "never", "0 B", "0 B", "-"] in rows
    assert "gw1: data plane tc: there is no kernel module" in lines
    assert "gw1: tunnel userspace: the kernel has no WireGuard" in lines
    assert "home: failed service ssh: bad?[31m name" in lines
    status = control.json("status")
    assert status["services"] == 1 and status["gateways"][0]["report"]["dataplane"]["kind"] == "tc"


def test_status_of_nothing(control):
    text = control.human("status")
    assert "gateways 0/0 connected, agents 0/0 connected" in text
    assert not text.endswith("\n\n")
    assert "kkctl gateway add" in text and "kkctl agent add" in text


# What is refused

@pytest.mark.parametrize("argv,part", [
    (["gateway", "add", "gw1", "--address", "198.51.100.77"], "gw1"),
    (["gateway", "show", "nobody"], "nobody"),
    (["gateway", "rm", "nobody"], "nobody"),
    (["gateway", "revoke", "nobody"], "nobody"),
    (["agent", "add", "home"], "home"),
    (["agent", "show", "nobody"], "nobody"),
    (["agent", "rm", "home"], "2 services"),
    (["agent", "revoke", "nobody"], "nobody"),
    (["service", "add", "x", "--agent", "nobody", "--tcp", "1", "--target", "1"], "nobody"),
    (["service", "add", "ssh", "--agent", "home", "--tcp", "1", "--target", "1"], "ssh"),
    (["service", "add", "x", "--agent", "home", "--tcp", "22", "--target", "1"], "ssh"),
    (["service", "add", "x", "--agent", "home", "--udp", "51820", "--target", "1"], "51820"),
    (["service", "set", "nobody", "--port", "1"], "nobody"),
    (["service", "set", "web", "--port", "22"], "ssh"),
    (["service", "show", "nobody"], "nobody"),
    (["service", "rm", "nobody"], "nobody"),
    (["token", "add", "--gateway", "nobody"], "nobody"),
    (["token", "add", "--agent", "gw1"], "gw1"),
    (["token", "rm", "4711"], "4711"),
    (["key", "rm", "nobody"], "nobody"),
])
def test_refused(prepared, argv, part):
    before = prepared.json("status"), prepared.json("service", "list")
    assert part in prepared.refused(*argv)
    assert (prepared.json("status"), prepared.json("service", "list")) == before


@pytest.fixture(name="prepared", scope="module")
def make_prepared(tmp_path_factory):
    control = Control(tmp_path_factory.mktemp("prepared"))
    control.start()
    control.json("gateway", "add", "gw1", "--address", "198.51.100.1")
    control.json("agent", "add", "home")
    for name, port in (("ssh", "22"), ("web", "80")):
        control.json("--wait", "0", "service", "add", name, "--agent", "home", "--tcp", port, "--target", port)
    yield control
    assert control.stop() == 0


@pytest.mark.parametrize("argv,sentence", [
    ([], "a command is missing; see kkctl --help"),
    (["gatway", "list"], "gatway: there is no such command; see kkctl --help"),
    (["gateway", "lst"], "lst: gateway has no such verb; see kkctl gateway --help"),
    (["gateway", "add", "gw9"], "--address is missing; see kkctl gateway add --help"),
    (["gateway", "add", "gw9", "--colour", "1"], "--colour: there is no such option; see kkctl gateway add --help"),
    (["service", "add", "x", "--agent", "home", "--tcp", "70000", "--target", "1"],
     "port: 70000 is out of range (1 to 65535)"),
    (["service", "add", "x", "--agent", "home", "--tcp", "1", "--target", "nas"],
     'target: "nas" is not HOST:PORT or PORT'),
    (["--wait", "61", "status"], "wait: 61 is out of range (0 to 60)"),
])
def test_wrong_command_line(prepared, argv, sentence):
    assert prepared.refused(*argv, status=2) == sentence


def test_help(prepared):
    assert "service add NAME" in prepared.human("--help")
    assert "--proxy-protocol" in prepared.human("service", "add", "--help")
    assert re.fullmatch(r"kkctl \d+\.\d+\.\d+\n", prepared.human("--version"))


# A Control that is not there, or is another one

def test_control_down(control):
    assert control.stop() == 0
    sentence = control.refused("status", status=3)
    assert sentence == f"Control at https://127.0.0.1:{control.port} cannot be reached: nothing answers there"
    assert control.refused("service", "add", "x", "--agent", "a", "--tcp", "1", "--target", "1", status=3)
    control.start()
    control.human("status")


def test_wrong_pin(control, tmp_path):
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**json.loads(control.admin.read_text()), "pin": KEY}))
    done = control.run("status", config=other)
    assert done.returncode == 3 and "another key than the pinned one" in done.stderr, done


def test_not_control(control, tmp_path):
    """Something that speaks no TLS at all."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer():
        peer, _ = listener.accept()
        peer.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        peer.close()
    threading.Thread(target=answer, daemon=True).start()
    other = tmp_path / "other.json"
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    other.write_text(json.dumps({**json.loads(control.admin.read_text()), "url": url}))
    done = control.run("status", config=other)
    listener.close()
    assert done.returncode == 3 and url in done.stderr and len(done.stderr.splitlines()) == 1, done


@pytest.mark.parametrize("text,part", [
    (None, "No such file"), ("", "not JSON"), ("[]", "object"), ("{}", "url: is missing"),
    ('{"url":"https://127.0.0.1:1","pin":"x"}', "key: is missing"),
    ('{"url":"https://127.0.0.1:1","pin":"x","key":"k"}', "pin"),
    (f'{{"url":"http://127.0.0.1:1","pin":"{KEY}","key":"k"}}', "does not begin with https://"),
])
def test_bad_config(prepared, tmp_path, text, part):
    path = tmp_path / "admin.json"
    if text is not None:
        path.write_text(text)
    for argv, config in ((["status"], path), (["--config", str(path), "status"], None)):
        done = prepared.run(*argv, config=config)
        assert done.returncode == 1 and done.stdout == "" and part in done.stderr, done
        assert len(done.stderr.splitlines()) == 1, done


# The machine that kkctl stands on

def relay(directory, answer):
    """A relay that answers one request, and that request."""
    path = directory / "relay.sock"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))
    listener.listen()
    requests = []

    def serve():
        peer, _ = listener.accept()
        requests.append(json.loads(peer.recv(65536)))
        if answer is not None:
            peer.sendall(answer)
        peer.close()
        listener.close()
    threading.Thread(target=serve, daemon=True).start()
    return str(path), requests


def test_sessions(prepared, tmp_path):
    session = {"service": "ssh", "gateway": "gw1", "protocol": "tcp", "client": "203.0.113.9:40000",
               "target": "127.0.0.1:22", "state": "failed", "error": "nobody listens",
               "started": int(time.time()) - 600, "rx_bytes": 2048, "tx_bytes": 5}
    path, requests = relay(tmp_path, json.dumps({"ok": True, "sessions": [session]}).encode())
    assert columns(prepared.human("sessions", "--socket", path)) == [
        ["SERVICE", "GATEWAY", "CLIENT", "TARGET", "SINCE", "IN", "OUT", "STATE"],
        ["ssh", "gw1", "203.0.113.9:40000", "127.0.0.1:22", "10 min", "2.0 KiB", "5 B", "failed: nobody listens"]]
    assert requests == [{"op": "sessions"}]


def test_sessions_json(prepared, tmp_path):
    path, _ = relay(tmp_path, b'{"ok":true,"sessions":[]}')
    assert prepared.json("sessions", "--socket", path) == {"ok": True, "sessions": []}


@pytest.mark.parametrize("answer,part", [
    (b'{"ok":true,"sessions":[]}', None), (b'{"ok":false,"error":"not now"}', "not now"),
    (b"{", "not JSON"), (b"[]", "refuses"), (None, "does not answer"),
])
def test_sessions_answers(prepared, tmp_path, answer, part):
    path, _ = relay(tmp_path, answer)
    if part is None:
        assert prepared.human("sessions", "--socket", path) == "Nobody is connected.\n"
    else:
        assert part in prepared.refused("sessions", "--socket", path)


def test_sessions_without_relay(prepared, tmp_path):
    assert "no Agent's relay runs on this machine" in prepared.refused("sessions", "--socket", str(tmp_path / "none"))


def test_datapath_without_gateway(prepared):
    for verb in ("show", "stats"):
        assert "there are no tables" in prepared.refused("datapath", verb, "--pin-dir", "/sys/fs/bpf/kk-test-none")


# Completion

@pytest.mark.parametrize("line,wanted", [
    ("kkctl s", ["service", "sessions", "status"]),
    ("kkctl service ", ["add", "list", "rm", "set", "show"]),
    ("kkctl service sh", ["show"]),
    ("kkctl service show ", ["ssh", "web"]),
    ("kkctl --json service rm s", ["ssh"]),
    ("kkctl service add new --agent ", ["home"]),
    ("kkctl service add new --pr", ["--proxy-protocol"]),
    ("kkctl service add new --limit", ["--limit-connections", "--limit-packets"]),
    ("kkctl service set ssh --access ", ["open", "rules"]),
    ("kkctl rule add x --to w", ["web"]),
    ("kkctl service add ", []),
    ("kkctl status ", []),
    ("kkctl nothing ", []),
])
def test_completion(prepared, line, wanted):
    script = pathlib.Path(__file__).resolve().parents[2] / "packaging/bash-completion/kkctl"
    words = line.split(" ")
    done = subprocess.run(
        ["bash", "-c", '. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _kkctl; printf "%s\\n" "${COMPREPLY[@]}"',
         script, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=30,
        env={**os.environ, "PATH": f"{BUILD}:{os.environ['PATH']}", "KKCTL_CONFIG": str(prepared.admin)})
    assert (sorted(done.stdout.split()), done.stderr) == (wanted, "")
