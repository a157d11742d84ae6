# SPDX-License-Identifier: MIT
"""Two ends of a WireGuard tunnel in namespaces of their own, each run by any userspace engine.

    namespace a                              namespace b
    10.98.0.1, fd98::1 on TUN                10.98.0.2, fd98::2 on TUN
    engine -- veth 192.0.2.1, 2001:db8::1 -- veth 192.0.2.2, 2001:db8::2 -- engine
"""
import itertools
import os
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD", os.path.join(ROOT, "build"))
KKWG = os.path.join(BUILD, "kkwg")
WIREGUARD_GO = "wireguard-go"
KERNEL = "kernel"  # in place of an engine
# scripts/vm sets KK_VM, and emulates the processor.
PATIENCE = 10 if "KK_VM" in os.environ else 1
UAPI = "/var/run/wireguard"
_counter = itertools.count()


def run(*cmd, stdin=None, check=True, timeout=30 * PATIENCE, env=None):
    p = subprocess.run(cmd, input=stdin, text=True, capture_output=True, timeout=timeout, env=env)
    if check and p.returncode:
        raise AssertionError(f"{' '.join(cmd)}: exit {p.returncode}: {p.stdout}{p.stderr}")
    return p.stdout


def kernel_has_wireguard():
    name = f"kkt{os.getpid()}k"
    if subprocess.run(["ip", "link", "add", name, "type", "wireguard"], capture_output=True).returncode:
        return False
    run("ip", "link", "del", name)
    return True


def wait_for(condition, what, seconds=10):
    end = time.monotonic() + seconds * PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.05)


class End:
    def __init__(self, world, side, engine, flags=(), env=None):
        self.world = world
        self.number = ord(side) - ord("a") + 1
        self.ns = f"kkt{world.id}{side}"
        self.iface = f"kt{world.id}{side}"
        self.engine = engine
        self.flags = list(flags)
        self.env = env or {}
        self.private = run("wg", "genkey").strip()
        self.public = run("wg", "pubkey", stdin=self.private).strip()
        self.outer4, self.outer6 = f"192.0.2.{self.number}", f"2001:db8::{self.number}"
        self.inner4, self.inner6 = f"10.98.0.{self.number}", f"fd98::{self.number}"
        self.process = None
        run("ip", "netns", "add", self.ns)
        world.undo.append(lambda: run("ip", "netns", "del", self.ns, check=False))
        self.ip("link", "set", "lo", "up")

    def ip(self, *args):
        return run("ip", "-n", self.ns, *args)

    def exec(self, *cmd, **kw):
        return run("ip", "netns", "exec", self.ns, *cmd, **kw)

    def wg(self, *args, **kw):
        return self.exec("wg", *args, **kw)

    @property
    def socket(self):
        return f"{UAPI}/{self.iface}.sock"

    def start(self):
        if self.engine == KERNEL:
            self.ip("link", "add", self.iface, "type", "wireguard")
            return
        env = dict(os.environ, **self.env, WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD="1")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", self.ns, self.engine, *self.flags, "-f", self.iface], env=env,
            stdout=subprocess.DEVNULL)
        self.world.undo.append(self.stop)
        wait_for(lambda: os.path.exists(self.socket), self.socket)

    def stop(self, hard=False):
        if self.engine == KERNEL:
            run("ip", "-n", self.ns, "link", "del", self.iface, check=False)
        if self.process and self.process.poll() is None:
            if hard:
                self.process.kill()
            else:
                self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def configure(self, peers, port=51820, listen=True):
        """@peers: list of (end, endpoint or None, extra lines)."""
        conf = f"[Interface]\nPrivateKey={self.private}\n"
        if listen:
            conf += f"ListenPort={port}\n"
        for other, endpoint, extra in peers:
            conf += (f"[Peer]\nPublicKey={other.public}\n"
                     f"AllowedIPs={other.inner4}/32, {other.inner6}/128\n{extra}\n")
            if endpoint:
                conf += f"Endpoint={endpoint}\n"
        self.wg("setconf", self.iface, "/dev/stdin", stdin=conf)

    def up(self):
        self.ip("addr", "add", f"{self.inner4}/24", "dev", self.iface)
        self.ip("addr", "add", f"{self.inner6}/64", "dev", self.iface, "nodad")
        self.ip("link", "set", self.iface, "mtu", "1420", "up")

    def ping(self, address, check=True, count=1, size=56, wait=5):
        p = subprocess.run(["ip", "netns", "exec", self.ns, "ping", "-c", str(count), "-i", "0.2",
                            "-W", str(wait), "-s", str(size), address], capture_output=True, text=True)
        if check:
            assert p.returncode == 0, p.stdout
        return p.returncode == 0

    def peer(self, public):
        """Fields of `wg show dump` for one peer."""
        names = "public psk endpoint allowed handshake rx tx keepalive".split()
        for line in self.wg("show", self.iface, "dump").splitlines()[1:]:
            fields = dict(zip(names, line.split("\t")))
            if fields["public"] == public:
                return fields
        return None


class World:
    def __init__(self):
        self.id = f"{os.getpid() % 100000}{next(_counter) % 1296:x}"
        self.undo = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        while self.undo:
            self.undo.pop()()

    def link(self, a, b, name="eth"):
        run("ip", "link", "add", name, "netns", a.ns, "type", "veth", "peer", "name", name, "netns", b.ns)
        for e in (a, b):
            e.ip("addr", "add", f"{e.outer4}/24", "dev", name)
            e.ip("addr", "add", f"{e.outer6}/64", "dev", name, "nodad")
            e.ip("link", "set", name, "up")

    def pair(self, engine_a, engine_b, flags=(), env=None):
        a, b = End(self, "a", engine_a, flags, env), End(self, "b", engine_b, flags, env)
        self.link(a, b)
        a.start()
        b.start()
        return a, b
