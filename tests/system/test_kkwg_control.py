# SPDX-License-Identifier: MIT
"""The control socket of kkwg, and its life as a process."""
import os
import re
import signal
import socket
import subprocess
import tempfile
import time

import pytest

from kkwg_world import KKWG, End, World, run, wait_for

KEY = "aa" * 32
OTHER = "bb" * 32


def request(end, text):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        s.connect(end.socket)
        s.sendall(text.encode())
        answer = b""
        while not answer.endswith(b"\n\n"):
            got = s.recv(65536)
            if not got:
                break
            answer += got
        return answer.decode()


def get(end):
    return request(end, "get=1\n\n")


@pytest.fixture
def end():
    with World() as w:
        e = End(w, "a", KKWG)
        e.start()
        yield e


BAD = [
    ("nonsense\n", -71), ("=x\n", -71), ("what=1\n", -22), ("private_key=zz\n", -22),
    ("private_key=" + KEY[2:] + "\n", -22), ("listen_port=65536\n", -22), ("listen_port=\n", -22),
    ("listen_port=-1\n", -22), ("fwmark=x\n", -22), ("replace_peers=false\n", -22),
    ("reply_to_ingress=yes\n", -22), ("public_key=12\n", -22), ("endpoint=1.2.3.4:1\n", -22),
    (f"public_key={KEY}\nendpoint=1.2.3.4\n", -22), (f"public_key={KEY}\nendpoint=1.2.3:4\n", -22),
    (f"public_key={KEY}\nendpoint=[::1:5\n", -22), (f"public_key={KEY}\nendpoint=host:5\n", -22),
    (f"public_key={KEY}\nallowed_ip=10.0.0.0/33\n", -22),
    (f"public_key={KEY}\nallowed_ip=::/129\n", -22), (f"public_key={KEY}\nallowed_ip=x\n", -22),
    (f"public_key={KEY}\npersistent_keepalive_interval=65536\n", -22),
    (f"public_key={KEY}\nprotocol_version=2\n", -22), (f"public_key={KEY}\nremove=false\n", -22),
    (f"public_key={KEY}\nlisten_port=1\n", -22), ("x" * 10000 + "=1\n", -71),
]


@pytest.mark.parametrize("text,errno", BAD)
def test_bad_input_changes_nothing(end, text, errno):
    good = f"private_key={'11' * 32}\nfwmark=7\n"
    assert request(end, f"set=1\n{good}public_key={OTHER}\nallowed_ip=10.0.0.0/8\n\n") == "errno=0\n\n"
    before = get(end)
    device = f"private_key={'22' * 32}\nlisten_port=0\nfwmark=9\nreplace_peers=true\n"
    assert request(end, f"set=1\n{device}{text}\n") == f"errno={errno}\n\n"
    assert get(end) == before
    if text.startswith("endpoint"):
        return
    assert request(end, f"set=1\npublic_key={OTHER}\nremove=true\n{text}\n") == f"errno={errno}\n\n"
    assert get(end) == before


def test_port_in_use(end):
    end.exec("true")
    holder = subprocess.Popen(
        ["ip", "netns", "exec", end.ns, "/usr/bin/python3", "-c",
         "import socket,time; s=socket.socket(type=socket.SOCK_DGRAM); s.bind(('0.0.0.0',5555));"
         "print('ok',flush=True); time.sleep(60)"], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "ok\n"
        before = get(end)
        assert request(end, f"set=1\nprivate_key={KEY}\nfwmark=3\nlisten_port=5555\n\n") == "errno=-98\n\n"
        assert get(end) == before
    finally:
        holder.kill()
        holder.wait()


def test_every_key(end):
    text = (f"private_key={'40' * 32}\nlisten_port=4711\nfwmark=42\n"
            f"public_key={OTHER}\npreshared_key={KEY}\nprotocol_version=1\n"
            "endpoint=[2001:db8::5]:1\npersistent_keepalive_interval=25\nreplace_allowed_ips=true\n"
            "allowed_ip=10.1.0.0/16\nallowed_ip=fd00::/8\n"
            f"public_key={KEY}\nendpoint=[::ffff:192.0.2.9]:7\nallowed_ip=0.0.0.0/0\n\n")
    assert request(end, "set=1\n" + text) == "errno=0\n\n"
    lines = get(end).splitlines()
    for line in text.splitlines():
        if line and line not in ("replace_allowed_ips=true", "endpoint=[::ffff:192.0.2.9]:7"):
            assert line in lines
    assert "endpoint=192.0.2.9:7" in lines and lines[-2] == "errno=0"
    # One allowed IP has one owner.
    assert request(end, f"set=1\npublic_key={KEY}\nallowed_ip=10.1.0.0/16\n\n") == "errno=0\n\n"
    assert get(end).splitlines().count("allowed_ip=10.1.0.0/16") == 1
    assert request(end, f"set=1\npublic_key={KEY}\nallowed_ip=-10.1.0.0/16\n\n") == "errno=0\n\n"
    assert "allowed_ip=10.1.0.0/16" not in get(end)
    assert request(end, f"set=1\npublic_key={'cc' * 32}\nupdate_only=true\nallowed_ip=1.0.0.0/8\n\n") \
        == "errno=0\n\n"
    assert "cc" * 32 not in get(end)
    assert request(end, "set=1\nreplace_peers=true\n\n") == "errno=0\n\n"
    assert "public_key" not in get(end)


def test_several_requests_on_one_connection_in_pieces(end):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        s.connect(end.socket)
        for c in "set=1\nfwmark=5\n\nget=1\n\n":
            s.sendall(c.encode())
        got = b""
        while got.count(b"errno=0\n\n") < 2:
            got += s.recv(4096)
        assert b"fwmark=5" in got


def test_super_packets_of_others_stay_whole(end):
    """A bound on them would have the kernel cut what is forwarded into single packets."""
    def segments():
        return int(end.ip("-d", "link", "show", end.iface).split("gso_max_segs ")[1].split()[0])
    assert segments() <= 64
    assert request(end, "set=1\nforwarding=true\n\n") == "errno=0\n\n"
    assert segments() == 65535 and "forwarding=true" in get(end)
    end.ip("link", "set", end.iface, "mtu", "1300", "up")
    time.sleep(0.2)
    assert segments() == 65535
    assert request(end, "set=1\nforwarding=false\n\n") == "errno=0\n\n"
    assert segments() <= 64 and "forwarding" not in get(end)
    assert request(end, "set=1\nforwarding=yes\n\n") == "errno=-22\n\n"


def test_on_a_router_super_packets_stay_whole():
    with World() as w:
        e = End(w, "a", KKWG)
        e.exec("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        e.start()
        assert "gso_max_segs 65535" in e.ip("-d", "link", "show", e.iface)


BAD_FLOWS = [
    ("tcp\n", -71), ("tcp=1.2.3.4:1\n", -22), ("sctp=1.2.3.4:1 1.2.3.5:2\n", -22), ("tcp=1.2.3.4:1 [::1]:2\n", -22),
    ("tcp=1.2.3.4 1.2.3.5:2\n", -22), ("get=1\n", -22), ("tcp=1.2.3.4:1 1.2.3.5:2\n" * 257, -7),
]


@pytest.mark.parametrize("text,errno", BAD_FLOWS)
def test_bad_flow_questions(end, text, errno):
    assert request(end, f"flow=1\n{text}\n").endswith(f"errno={errno}\n\n")
    assert request(end, "flow=1\n\n") == "errno=0\n\n"


def test_a_connection_that_asked_for_flows_can_ask_nothing_else(end):
    """So that it can be handed to somebody without privileges."""
    for other in ("get=1\n\n", "set=1\nfwmark=7\n\n"):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            s.connect(end.socket)
            s.sendall(b"flow=1\ntcp=203.0.113.9:4 10.1.0.100:22\n\n")
            assert s.recv(4096) == b"public_key=\nerrno=0\n\n"
            s.sendall(other.encode())
            assert s.recv(4096) == b""
    assert "fwmark" not in get(end)


def test_wg_tools(end):
    other = run("wg", "pubkey", stdin=run("wg", "genkey")).strip()
    conf = f"[Interface]\nPrivateKey={end.private}\nListenPort=4000\nFwMark=0x10\n"
    peer = f"[Peer]\nPublicKey={other}\nAllowedIPs=10.0.0.0/8\nPersistentKeepalive=5\n"
    end.wg("setconf", end.iface, "/dev/stdin", stdin=conf + peer)
    shown = end.wg("showconf", end.iface)
    assert other in shown and "ListenPort = 4000" in shown and "FwMark = 0x10" in shown
    end.wg("syncconf", end.iface, "/dev/stdin", stdin=conf)
    assert other not in end.wg("showconf", end.iface)
    # A key that plain wg does not know is no trouble to it.
    assert request(end, "set=1\nreply_to_ingress=true\n\n") == "errno=0\n\n"
    assert "reply_to_ingress=true" in get(end)
    assert "4000" in end.wg("show", end.iface)


def test_removed_interface_ends_the_process(end):
    end.ip("link", "del", end.iface)
    end.process.wait(5)
    assert not os.path.exists(end.socket)


def test_removed_socket_ends_the_process(end):
    os.unlink(end.socket)
    end.process.wait(5)
    assert end.iface not in end.ip("link")


def test_privileges_are_dropped(end):
    with open(f"/proc/{end.process.pid}/status") as f:
        status = dict(line.split(":", 1) for line in f)
    keep = 1 << 12 | 1 << 10
    for field in ("CapPrm", "CapEff", "CapBnd"):
        assert int(status[field].strip(), 16) & ~keep == 0, field
    assert status["NoNewPrivs"].strip() == "1"


def test_daemon():
    """Without -f it returns once the socket is there."""
    with World() as w:
        e = End(w, "a", KKWG)
        e.exec(KKWG, e.iface)
        assert os.path.exists(e.socket)
        e.wg("show", e.iface)
        e.ip("link", "del", e.iface)
        wait_for(lambda: not os.path.exists(e.socket), "the socket to go")


# In a /dev of its own with somebody who listens at /dev/log: prints what arrives there until the engine has ended.
SYSLOG = """
import os, socket, subprocess, sys
engine, iface, how = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "none", "/dev"], check=True)
os.mkdir("/dev/net")
for name, major, minor in ("null", 1, 3), ("urandom", 1, 9), ("net/tun", 10, 200):
    os.mknod("/dev/" + name, 0o20666, os.makedev(major, minor))
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
log.bind("/dev/log")
log.settimeout(10)
if how == "background":
    subprocess.run([engine, iface], check=True)
else:
    subprocess.Popen([engine, "-f", iface], stderr=subprocess.DEVNULL)
    while not os.path.exists(f"/var/run/wireguard/{iface}.sock"): pass
subprocess.run(["ip", "link", "del", iface], check=True)
print(log.recv(1000).decode())
"""


@pytest.mark.parametrize("how", ["background", "nobody listens"])
def test_log_without_a_terminal(how):
    with World() as w:
        e = End(w, "a", KKWG)
        env = {k: v for k, v in os.environ.items() if k not in ("LOG_LEVEL", "JOURNAL_STREAM")}
        out = e.exec("unshare", "-m", "/usr/bin/python3", "-c", SYSLOG, KKWG, e.iface, how, env=env)
        # <priority>: facility daemon (3), informational (6)
        assert re.match(r"<30>.* kkwg\[\d+\]: " + f"{e.iface} was removed", out), out


def test_log_where_it_is_asked_for():
    """In the background too, where LOG_LEVEL is set, as wireguard-go does."""
    with World() as w:
        e = End(w, "a", KKWG)
        with tempfile.TemporaryFile("w+") as log:
            subprocess.run(["ip", "netns", "exec", e.ns, KKWG, e.iface], stderr=log, check=True,
                           env=dict(os.environ, LOG_LEVEL="verbose"))
            e.ip("link", "del", e.iface)
            wait_for(lambda: not os.path.exists(e.socket), "the socket to go")
            log.seek(0)
            assert f"kkwg: {e.iface} was removed" in log.read()


def test_errors_reach_the_caller():
    assert subprocess.run([KKWG], capture_output=True).returncode == 2
    p = subprocess.run([KKWG, "a-name-that-is-too-long"], capture_output=True, text=True)
    assert p.returncode == 1 and "a-name-that-is-too-long" in p.stderr


@pytest.mark.parametrize("allowed", ["10.98.0.2/32, fd98::2/128", "0.0.0.0/0, ::/0"])
def test_wg_quick(allowed):
    """Also as the default route: then the mark keeps the tunnel's own datagrams out of the tunnel."""
    with World() as w:
        a, b = End(w, "a", KKWG), End(w, "b", KKWG)
        w.link(a, b)
        b.start()
        b.configure([(a, None, "")])
        b.up()
        path = f"/tmp/{a.iface}.conf"
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
            f.write(f"[Interface]\nPrivateKey={a.private}\nAddress={a.inner4}/24, {a.inner6}/64\n"
                    f"[Peer]\nPublicKey={b.public}\nEndpoint={b.outer4}:51820\n"
                    f"AllowedIPs={allowed}\n")
        try:
            env = dict(os.environ, WG_QUICK_USERSPACE_IMPLEMENTATION=KKWG)
            a.exec("wg-quick", "up", path, env=env)
            a.ping(b.inner4)
            a.ping(b.inner6)
            assert a.wg("show", a.iface, "fwmark").strip() == ("0xca6c" if "/0" in allowed else "off")
            a.exec("wg-quick", "down", path, env=env)
            wait_for(lambda: not os.path.exists(a.socket), "the socket to go")
        finally:
            os.unlink(path)


def test_interface_moves_to_another_namespace():
    """The Agent's way: configured here, then moved away, down, and up there; UDP stays here."""
    with World() as w:
        a, b = w.pair(KKWG, KKWG)
        inside = End(w, "c", KKWG)
        a.configure([(b, f"{b.outer4}:51820", "PersistentKeepalive=1")])
        b.configure([(a, None, "")])
        b.up()
        a.ip("link", "set", a.iface, "netns", inside.ns)
        time.sleep(1.5)
        assert a.process.poll() is None
        inside.ip("addr", "add", f"{a.inner4}/24", "dev", a.iface)
        inside.ip("link", "set", a.iface, "up")
        inside.ping(b.inner4)
        b.ping(a.inner4)
        inside.ip("link", "set", a.iface, "down")
        wait_for(lambda: not b.ping(a.inner4, check=False, wait=1), "the tunnel to stop")
        inside.ip("link", "set", a.iface, "up")
        wait_for(lambda: inside.ping(b.inner4, check=False, wait=1), "the tunnel to come back", 15)
        inside.ip("link", "del", a.iface)
        a.process.wait(5)
        assert not os.path.exists(a.socket)
