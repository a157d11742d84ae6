# SPDX-License-Identifier: MIT
"""A kkcontrold of one's own: started, called, killed."""

import base64
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import signal
import socket
import sqlite3
import ssl
import subprocess
import time

BUILD = pathlib.Path(os.environ.get("KK_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build"))
PROGRAM = BUILD / "kkcontrold"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Control:
    def __init__(self, state, verbose=True, rate=0):
        """@rate: requests that an address may make a second, 0: any number, so that no test is too fast for it."""
        self.verbose = verbose
        self.rate = rate
        self.state = pathlib.Path(state)
        self.port = free_port()
        self.process = None
        self.log = self.state.with_suffix(".log")
        self.key = None

    def command(self):
        return [PROGRAM, "--state", self.state, "--listen", f"127.0.0.1:{self.port}",
                "--rate", str(self.rate), *(["--verbose"] if self.verbose else [])]

    def start(self):
        """Starts the daemon and waits until it answers."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while True:
            try:
                if self.call("GET", "/healthz", key="")[0] == 200 and (self.state / "admin.json").exists():
                    break
            except OSError:
                pass
            assert self.process.poll() is None, self.tail()
            assert time.monotonic() < deadline, "kkcontrold does not answer"
            time.sleep(0.02)
        self.key = self.admin()["key"]
        return self

    def admin(self):
        return json.loads((self.state / "admin.json").read_text(encoding="utf-8"))

    def tail(self):
        return self.log.read_text(encoding="utf-8", errors="replace")[-4000:]

    def stop(self):
        """Ends it as an operator would; it has to free everything, which a sanitized build says."""
        if not self.process:
            return
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=60)
        self.process = None
        assert status == 0, self.tail()
        assert "Sanitizer" not in self.tail(), self.tail()

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def connect(self, timeout=30):
        """A TLS connection to the server with the pinned key."""
        context = ssl._create_unverified_context()
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return context.wrap_socket(plain)

    def wrap(self, plain):
        return ssl._create_unverified_context().wrap_socket(plain)

    def pin(self):
        """The pin of the key that the server has, by the openssl program."""
        pem = ssl.DER_cert_to_PEM_cert(self.connect().getpeercert(binary_form=True))
        public = subprocess.run(["openssl", "x509", "-pubkey", "-noout"], input=pem.encode(), check=True,
                                stdout=subprocess.PIPE).stdout
        der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=public, check=True,
                             stdout=subprocess.PIPE).stdout
        return base64.b64encode(hashlib.sha256(der).digest()).decode()

    def request(self, method, path, body=None, key=None, headers=None):
        """Status, JSON and headers of the answer. A body that is bytes or an iterator is sent as it is."""
        if body is not None and isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        key = self.key if key is None else key
        fields = {"Authorization": f"Bearer {key}"} if key else {}
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=90,
                                                 context=ssl._create_unverified_context())
        try:
            connection.request(method, path, body, {**fields, **(headers or {})})
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None, answer.headers
        finally:
            connection.close()

    def call(self, method, path, body=None, key=None):
        return self.request(method, path, body, key)[:2]

    def do(self, method, path, body=None):
        """A call that has to succeed; its answer."""
        status, answer = self.call(method, f"/api/v1/{path}", body)
        assert status < 300, answer
        return answer

    def everything(self):
        """All that can be changed."""
        lists = ("gateways", "agents", "services", "hosts", "groups", "rules", "join-tokens", "api-keys")
        return {"generation": self.do("GET", "status")["generation"],
                **{name: self.do("GET", name)["items"] for name in lists}}

    def expire_key(self, name):
        """Lets time pass for one key, in the database beside the running daemon."""
        with contextlib.closing(sqlite3.connect(self.state / "control.db", timeout=10)) as database:
            database.execute("UPDATE api_keys SET expires_at = 1 WHERE name = ?", (name,))
            database.commit()

    # the usual objects

    def add_gateway(self, name, address, **more):
        return self.do("POST", "gateways", {"name": name, "address": address, **more})

    def add_agent(self, name):
        return self.do("POST", "agents", {"name": name})

    def add_service(self, name, agent, port, protocol="tcp", target="127.0.0.1:22", wait=0):
        return self.do("POST", f"services?wait={wait}", {"name": name, "agent": agent, "protocol": protocol,
                                                         "port": port, "target": target})


def read_token(token):
    assert token.startswith("kkj1.")
    text = token.removeprefix("kkj1.")
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
