# SPDX-License-Identifier: MIT
"""A certificate of the operator's own: what is taken, what is refused, and how it is renewed while Control runs."""

import contextlib
import pathlib
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from control.daemon import BUILD, PROGRAM, Control, free_port, read_token  # noqa: E402
from control.node import Node  # noqa: E402

CA_CONFIG = """
[ca]
default_ca = one
[one]
database = {directory}/index
serial = {directory}/serial
new_certs_dir = {directory}
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
"""


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.PIPE, timeout=60)


class Authority:
    """A small one, by the openssl program."""

    def __init__(self, directory):
        self.directory = directory
        (directory / "index").touch()
        (directory / "serial").write_text("01\n", encoding="ascii")
        (directory / "ca.conf").write_text(CA_CONFIG.format(directory=directory), encoding="ascii")
        self.cert, self.key = directory / "ca.pem", self.make_key("ca.key")
        openssl("req", "-x509", "-new", "-key", self.key, "-subj", "/CN=test authority", "-days", 30, "-out", self.cert)

    def make_key(self, name):
        path = self.directory / name
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)
        return path

    def issue(self, key, name, start="20200101000000Z", end="20990101000000Z"):
        """A certificate for the key, with the authority's behind it."""
        request, cert, names = (self.directory / f"{name}.{end_}" for end_ in ("csr", "pem", "san"))
        names.write_text("subjectAltName = DNS:control.test\n", encoding="ascii")
        openssl("req", "-new", "-key", key, "-subj", "/CN=control.test", "-out", request)
        openssl("ca", "-batch", "-config", self.directory / "ca.conf", "-cert", self.cert, "-keyfile", self.key, "-in",
                request, "-out", cert, "-startdate", start, "-enddate", end, "-extfile", names, "-notext")
        cert.write_bytes(cert.read_bytes() + self.cert.read_bytes())
        return cert


class Given(Control):
    def __init__(self, state, cert, key):
        super().__init__(state)
        self.cert, self.tls_key = cert, key

    def command(self):
        return [*super().command(), "--tls-cert", self.cert, "--tls-key", self.tls_key]

    def served(self):
        """The certificate as those see it who know the authority."""
        context = ssl.create_default_context(cafile=self.cert.parent / "ca.pem")
        with contextlib.closing(socket.create_connection(("127.0.0.1", self.port), timeout=10)) as plain:
            with context.wrap_socket(plain, server_hostname="control.test") as line:
                return line.getpeercert()

    def reload(self, said):
        """SIGHUP, until the log says what came of it."""
        before = len(self.log.read_text(encoding="utf-8"))
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        while said not in self.log.read_text(encoding="utf-8")[before:]:
            assert time.monotonic() < deadline, self.tail()
            time.sleep(0.02)


@pytest.fixture(scope="module", name="authority")
def make_authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(name="control")
def make_control(tmp_path, authority):
    key = authority.make_key("control.key")
    cert = authority.issue(key, "control")
    control = Given(tmp_path / "control", cert, key).start()
    yield control
    control.stop()


def kkctl(control, *arguments):
    return subprocess.run([BUILD / "kkctl", "--config", control.state / "admin.json", *map(str, arguments)], text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)


def test_own_certificate_is_served_and_pinned(control):
    assert control.served()["subject"] == ((("commonName", "control.test"),),)
    assert not (control.state / "tls.key").exists() and not (control.state / "tls.crt").exists()
    pin = control.pin()
    assert control.admin()["pin"] == pin
    assert read_token(control.add_agent("home")["join_token"])["pin"] == pin
    assert kkctl(control, "status").returncode == 0


def test_renewed_while_it_runs(control, authority):
    node = Node(control, control.add_agent("home")["join_token"])
    node.join_in()
    before, pin = control.served(), control.pin()
    authority.issue(control.tls_key, "control", end="20980101000000Z")
    assert control.served() == before
    control.reload("valid until 2098-01-01 00:00:00 UTC")
    after = control.served()
    assert after["serialNumber"] != before["serialNumber"] and "2098" in after["notAfter"]
    assert control.pin() == pin
    # Who was connected still is.
    control.add_gateway("gw1", "198.51.100.1")
    assert node.receive()["type"] == "delta"
    assert kkctl(control, "status").returncode == 0


def test_what_cannot_be_served_changes_nothing(control, authority):
    before = control.served()
    good = control.cert.read_bytes(), control.tls_key.read_bytes()
    control.cert.write_text("nonsense", encoding="ascii")
    control.reload("is not a certificate in PEM; the certificate stays what it was")
    assert control.served() == before
    # Another key, with the certificate that belongs to it: the nodes would be lost.
    control.tls_key.write_bytes(authority.make_key("other.key").read_bytes())
    authority.issue(control.tls_key, "control")
    control.reload("another key than before")
    assert control.served() == before
    # A restart takes it nevertheless, and says what that means.
    control.stop()
    old = control.admin()["pin"]
    control.start()
    assert control.pin() == control.admin()["pin"] != old
    assert "nodes that joined by the earlier one do not know Control" in control.tail()
    control.cert.write_bytes(good[0])
    control.tls_key.write_bytes(good[1])


def test_hangup_without_an_own_certificate(tmp_path):
    control = Control(tmp_path / "plain").start()
    control.process.send_signal(signal.SIGHUP)
    for _ in range(3):
        assert control.call("GET", "/healthz", key="")[0] == 200
    assert "nothing to read again" in control.tail()
    control.stop()


def test_backup_has_the_given_key(control, tmp_path):
    file = tmp_path / "backup"
    assert kkctl(control, "backup", file).returncode == 0
    with contextlib.closing(sqlite3.connect(file)) as database:
        files = dict(database.execute("SELECT name, data FROM files"))
    assert bytes(files["tls.key"]) == control.tls_key.read_bytes()
    # Restored on a machine without the operator's files, Control is known by the same key.
    other = Control(tmp_path / "other")
    done = subprocess.run([BUILD / "kkctl", "restore", file, "--state", other.state], timeout=60, check=False,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    other.start()
    assert other.pin() == control.pin()
    other.stop()


def encrypted(authority):
    path = authority.directory / "encrypted.key"
    openssl("pkey", "-in", authority.key, "-aes128", "-passout", "pass:secret", "-out", path)
    return path


CASES = {
    "no such certificate": (lambda a: (a.directory / "none.pem", a.key), "tls-cert: cannot read ", "No such file"),
    "no such key": (lambda a: (a.cert, a.directory / "none.key"), "tls-key: cannot read ", "No such file"),
    "a directory": (lambda a: (a.directory, a.key), "tls-cert: cannot read ", "directory"),
    "the wrong way round": (lambda a: (a.key, a.cert), "tls-cert: ", "is not a certificate in PEM"),
    "a certificate as key": (lambda a: (a.cert, a.cert), "tls-key: ", "is not a private key in PEM"),
    "another's key": (lambda a: (a.cert, a.make_key("stranger.key")), "tls-key: ", "is not that of the certificate"),
    "an encrypted key": (lambda a: (a.cert, encrypted(a)), "tls-key: ", "is encrypted"),
    "expired": (lambda a: (a.issue(a.key, "old", end="20210203040506Z"), a.key), "tls-cert: ",
                "was valid until 2021-02-03 04:05:06 UTC"),
    "not yet valid": (lambda a: (a.issue(a.key, "new", start="20980101000000Z"), a.key), "tls-cert: ",
                      "is not valid before 2098-01-01 00:00:00 UTC"),
}


@pytest.mark.parametrize("case", CASES)
def test_refused_at_the_start(authority, tmp_path, case):
    make, begin, part = CASES[case]
    cert, key = make(authority)
    done = subprocess.run([PROGRAM, "--state", tmp_path / "x", "--listen", f"127.0.0.1:{free_port()}", "--tls-cert", cert,
                           "--tls-key", key], capture_output=True, text=True, timeout=20, check=False,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"kkcontrold: {begin}") and part in line, line
    assert not (tmp_path / "x" / "control.db").exists()


@pytest.mark.parametrize("given,missing", [("--tls-cert", "tls-key"), ("--tls-key", "tls-cert")])
def test_one_alone(tmp_path, given, missing):
    done = subprocess.run([PROGRAM, "--state", tmp_path / "x", given, "x"], capture_output=True, text=True, timeout=20,
                          check=False)
    assert (done.returncode, done.stdout) == (2, "") and not (tmp_path / "x").exists()
    assert done.stderr == f"kkcontrold: {missing}: is missing beside {given}\n"
