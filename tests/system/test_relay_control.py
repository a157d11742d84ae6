# SPDX-License-Identifier: MIT
"""kkrelay's control socket, and what it outlives."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from relay_world import RELAY, Relay, echo, make_relay, read_all, tcp_target, udp_client, wait_for  # noqa: F401


def test_out_of_files_is_survived(tmp_path):
    """With few descriptors new clients wait in the kernel's queue until others have gone."""
    relay = Relay(tmp_path, files=256)
    with tcp_target(echo) as target:
        _, address = relay.listen(target)
        clients = [socket.create_connection(address, 10) for _ in range(60)]
        open_now = wait_for(lambda: relay.ask(op="sessions")["open"])
        time.sleep(0.5)
        cpu = relay.cpu_seconds()
        time.sleep(0.5)
        assert relay.cpu_seconds() - cpu < 0.1, "the relay spins on its full table"
        open_now = relay.ask(op="sessions")["open"]
        assert 0 < open_now < 60
        for client in clients:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
            client.close()
    assert "no new TCP connections for now" in relay.log_text()
    relay.close()


def test_unlisten(relay):
    with tcp_target(echo) as target:
        service, address = relay.listen(target)
        other, other_address = relay.listen(target)
        with socket.create_connection(address, 5) as client:
            client.sendall(b"a")
            assert client.recv(1) == b"a"
            assert relay.ask(op="unlisten", service=service) == {"ok": True}
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address, 5)
            client.sendall(b"b")
            assert client.recv(1) == b"b"
        with socket.create_connection(other_address, 5) as client:
            client.sendall(b"c")
            assert client.recv(1) == b"c"
    assert [row["service"] for row in relay.ask(op="list")["listeners"]] == [other]
    udp, address = relay.listen("127.0.0.1:9", "udp")
    with udp_client(address) as client:
        client.send(b"x")
        wait_for(lambda: [s for s in relay.sessions() if s["protocol"] == "udp"])
    # The relay may still have the ends of the two clients before it to look at.
    wait_for(lambda: relay.ask(op="sessions")["open"] == 1)
    assert relay.ask(op="unlisten", service=udp)["ok"]
    assert relay.ask(op="sessions")["open"] == 0


def test_set_is_for_new_connections(relay):
    with tcp_target(lambda c: c.sendall(c.recv(1) + b"1")) as first, \
         tcp_target(lambda c: c.sendall(c.recv(1) + b"2")) as second:
        service, address = relay.listen(first)
        with socket.create_connection(address, 5) as old:
            wait_for(lambda: relay.ask(op="sessions")["open"] == 1)
            assert relay.ask(op="set", service=service, target=second)["ok"]
            with socket.create_connection(address, 5) as new:
                new.sendall(b"n")
                assert read_all(new) == b"n2"
            old.sendall(b"o")
            assert read_all(old) == b"o1"


def test_outlives_its_controller(relay):
    """A controller that is killed leaves connections and listeners as they are."""
    script = """
import json, socket, struct, sys, time
c = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
c.connect(sys.argv[1])
s = socket.create_server(("127.0.0.1", 0))
message = dict(op="listen", service=77, name="held",
               protocol="tcp", port=s.getsockname()[1], target=sys.argv[2])
c.sendmsg([json.dumps(message).encode()],
          [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", s.fileno()))])
assert json.loads(c.recv(65536))["ok"]
print(s.getsockname()[1], flush=True)
s.close()
time.sleep(60)
"""
    with tcp_target(echo) as target:
        controller = subprocess.Popen([sys.executable, "-c", script, relay.path, target],
                                      stdout=subprocess.PIPE, text=True)
        address = ("127.0.0.1", int(controller.stdout.readline()))
        with socket.create_connection(address, 5) as client:
            client.sendall(b"before")
            assert client.recv(10) == b"before"
            controller.send_signal(signal.SIGKILL)
            controller.wait()
            controller.stdout.close()
            client.sendall(b"after")
            assert client.recv(10) == b"after"
        with socket.create_connection(address, 5) as client:
            client.sendall(b"new")
            assert client.recv(10) == b"new"
    assert relay.ask(op="list")["listeners"][0]["name"] == "held"


def test_second_relay_refuses(relay):
    second = subprocess.run([RELAY, "--socket", relay.path], stderr=subprocess.PIPE, text=True,
                            timeout=10)
    assert second.returncode == 1
    assert "another relay serves this socket" in second.stderr
    assert relay.ask(op="list")["ok"]


def test_socket_of_a_dead_relay_is_replaced(tmp_path):
    first = Relay(tmp_path)
    first.control.close()
    first.process.kill()
    first.process.wait()
    first.log.close()
    second = Relay(tmp_path)
    assert second.ask(op="list") == {"ok": True, "listeners": []}
    second.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to drop")
def test_runs_without_privileges(relay):
    with open("/proc/%d/status" % relay.process.pid) as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    assert "0" not in status["Uid"].split()
    assert "0" not in status["Gid"].split() and status["Groups"].strip() == ""
    assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == 0
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert os.stat(relay.path).st_mode & 0o777 == 0o660
    assert os.stat(relay.path).st_uid == 0


def test_hostile_messages(relay):
    good = dict(op="listen", service=1, name="x", protocol="tcp",
                port=1, target="127.0.0.1:1")
    bad = [b"{", b"[]", b"\0", b"\xff" * 10, b"{}", b'{"op":7}', b'{"op":"none"}',
           b'{"op":"list","op":"quit"}', b'{"op":"quit","extra":1}', b"[" * 60000,
           b" " * 65536 + b"{}", b"x" * 100000]
    changes = [dict(protocol="sctp"), dict(port=0), dict(port=65536), dict(service=-1),
               dict(target="nowhere"), dict(target="x" * 400 + ":1"), dict(name="../x"),
               dict(name=7), dict(target=None), dict(gateway=1), {}]
    for data in bad + [json.dumps(dict(good, **change)).encode() for change in changes]:
        answer = relay.raw(data)
        assert answer["ok"] is False and answer["error"], data[:80]
    before = relay.fds()
    with socket.create_server(("127.0.0.1", 0)) as stream, socket.socket() as idle, \
         socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram, \
         socket.socket(socket.AF_INET6) as six, open("/dev/null") as null:
        datagram.bind(("127.0.0.1", 0))
        message = json.dumps(good).encode()
        wrong = [[idle], [datagram], [six], [null], [stream, stream], [stream] * 20]
        for fds in wrong:
            answer = relay.raw(message, [s.fileno() for s in fds])
            assert answer["ok"] is False and answer["error"], fds
        assert relay.raw(b'{"op":"list"}', [stream.fileno()])["ok"]
        assert relay.raw(message, [stream.fileno()]) == {"ok": True}
        answer = relay.raw(message, [stream.fileno()])
        assert answer["ok"] is False and "already" in answer["error"]
        assert relay.ask(op="unlisten", service=1)["ok"]
    assert relay.fds() == before, "descriptors of refused messages stay open"
    for op in (dict(op="unlisten", service=1), dict(op="set", service=9, target="a:1")):
        assert relay.ask(**op)["ok"] is False
    assert relay.ask(op="list") == {"ok": True, "listeners": []}


def test_control_connections_without_end(relay):
    """More connections than there is room for, and one that asks and never listens: others go on."""
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(wait_for(relay.connect)) for _ in range(40)]
        assert relay.ask(op="list")["ok"]
        crowd[0].setblocking(False)
        with contextlib.suppress(BlockingIOError, ConnectionError):
            for _ in range(100000):
                crowd[0].send(b'{"op":"sessions"}')
        assert relay.ask(op="list")["ok"]
    with wait_for(relay.connect) as late:
        late.send(b'{"op":"list"}')
        assert json.loads(late.recv(65536))["ok"]


def test_list_in_parts(relay):
    target = "h" * 200 + ".invalid:80"
    with socket.create_server(("127.0.0.1", 0)) as s:
        for service in range(400):
            assert relay.ask(fd=s.fileno(), op="listen", service=service, name="s",
                             protocol="tcp", port=1, target=target)["ok"]
    seen, after = [], {}
    while True:
        answer = relay.ask(op="list", **after)
        seen += [row["service"] for row in answer["listeners"]]
        if not answer.get("more"):
            break
        after = dict(after_service=seen[-1])
    assert seen == list(range(400))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_strangers_may_look_and_not_touch(relay):
    os.chmod(relay.path, 0o666)
    directory = os.path.dirname(relay.path)
    while directory != "/":
        os.chmod(directory, os.stat(directory).st_mode | 0o111)
        directory = os.path.dirname(directory)
        if directory == "/tmp":
            break
    script = """
import os, socket, sys
os.setgid(65534); os.setuid(12345)
c = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
c.connect(sys.argv[1])
for op in (b'{"op":"list"}', b'{"op":"sessions"}', b'{"op":"quit"}'):
    c.send(op)
    print(c.recv(65536).decode())
"""
    out = subprocess.run([sys.executable, "-c", script, relay.path], stdout=subprocess.PIPE,
                         text=True, check=True, timeout=10).stdout.splitlines()
    answers = [json.loads(line) for line in out]
    assert [a["ok"] for a in answers] == [True, True, False]
    assert relay.ask(op="list")["ok"]


def test_quit(tmp_path):
    relay = Relay(tmp_path)
    with tcp_target(echo) as target:
        _, address = relay.listen(target)
        with socket.create_connection(address, 5) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
            assert relay.ask(op="quit") == {"ok": True}
            assert relay.process.wait(5) == 0
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""
    relay.close()
