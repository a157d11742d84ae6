# SPDX-License-Identifier: MIT
"""The real programs behind the Agent: OpenSSH, PostgreSQL, nginx and a small UDP service.

Each has its configuration, keys and data in the run's directory and shares nothing with one that the machine runs.
"""

import glob
import os
import pathlib
import pwd
import secrets
import shutil

from . import netns
from .processes import Process, wait_until

UDP_SERVICE = pathlib.Path(__file__).with_name("udp_service.py")


def listening(namespace, protocol, address, port):
    """Whether someone listens there, as ss(8) sees it."""
    flag = {"tcp": "-t", "udp": "-u"}[protocol]
    return netns.sh(*netns.within(namespace, "ss", "-Hln", flag, "src", address, "sport", "=", f":{port}"))


class Service:
    """A program in a namespace that listens on address:port."""

    def __init__(self, record, name, namespace, protocol, address, port):
        self.record, self.name, self.namespace = record, name, namespace
        self.protocol, self.address, self.port = protocol, address, port
        self.directory = record.directory / name
        self.directory.mkdir()
        self.process = None

    def start(self, *argv):
        self.process = Process(self.record, self.name, self.namespace, argv)

    def wait(self):
        def up():
            self.process.check()
            return listening(self.namespace, self.protocol, self.address, self.port)
        wait_until(f"{self.name} listening", up)

    def write(self, name, text, mode=0o644):
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path


class Ssh(Service):
    """OpenSSH with a host key and one user key of its own."""

    def __init__(self, record, namespace):
        super().__init__(record, "sshd", namespace, "tcp", "127.0.0.1", 22)
        self.user = "root"
        self.key = self.directory / "user_key"
        for key in ("user_key", "host_key"):
            netns.sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "demo", "-f", str(self.directory / key))
        # Where sshd drops its privileges to; the package's unit makes it, but no unit ran here.
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        config = self.write("sshd_config", f"""\
ListenAddress {self.address}:{self.port}
HostKey {self.directory}/host_key
AuthorizedKeysFile {self.directory}/user_key.pub
AuthenticationMethods publickey
PermitRootLogin prohibit-password
StrictModes no
PidFile none
UsePAM {"yes" if _is_locked(self.user) else "no"}
Subsystem sftp internal-sftp
""")
        self.start("/usr/sbin/sshd", "-D", "-e", "-f", str(config))

    def known_hosts(self, names):
        """A known_hosts file that knows this server by each of "ADDRESS:PORT"."""
        key = (self.directory / "host_key.pub").read_text(encoding="ascii").split()[:2]
        lines = [f"[{address}]:{port} {' '.join(key)}\n" for address, port in (n.split(":") for n in names)]
        return self.write("known_hosts", "".join(lines))


def _is_locked(user):
    """A locked account may log in with a key only if PAM has the say."""
    with open("/etc/shadow", encoding="utf-8") as shadow:
        return any(line.startswith(f"{user}:!") for line in shadow)


class Postgres(Service):
    """A cluster made for this run, as the user that Debian's package made."""

    def __init__(self, record, namespace, address):
        super().__init__(record, "postgres", namespace, "tcp", address, 5432)
        self.password = secrets.token_hex(8)
        account = pwd.getpwnam("postgres")
        os.chown(self.directory, account.pw_uid, account.pw_gid)
        programs = pathlib.Path(sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1])
        data = self.directory / "data"
        password_file = self.write("password", self.password, mode=0o600)
        os.chown(password_file, account.pw_uid, account.pw_gid)
        as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        netns.sh(*as_postgres, str(programs / "initdb"), "-D", str(data), "--username=demo", "--no-sync",
                 "--no-locale", "--encoding=UTF8", "--auth=scram-sha-256", f"--pwfile={password_file}",
                 "--wal-segsize=1", cwd="/")
        with open(data / "pg_hba.conf", "a", encoding="utf-8") as hba:
            hba.write("host all all 192.168.77.0/24 scram-sha-256\n")
        settings = {"listen_addresses": address, "unix_socket_directories": "", "fsync": "off",
                    "shared_buffers": "16MB", "max_wal_senders": "0", "wal_level": "minimal"}
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        self.start(*as_postgres, str(programs / "postgres"), "-D", str(data), *options)


class Web(Service):
    """nginx with one page. It takes the PROXY protocol and says in a header whom it served."""

    def __init__(self, record, namespace, address):
        super().__init__(record, "nginx", namespace, "tcp", address, 80)
        self.page = f"A page from behind the NAT, {secrets.token_hex(8)}.\n"
        self.write("index.html", self.page)
        temporary = "\n".join(f"\t{kind}_temp_path {self.directory}/tmp;"
                              for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        config = self.write("nginx.conf", f"""\
daemon off;
user www-data;
worker_processes 1;
pid {self.directory}/pid;
error_log stderr;
events {{
}}
http {{
	access_log off;
	default_type text/plain;
{temporary}
	server {{
		listen {address}:{self.port} proxy_protocol;
		root {self.directory};
		location = / {{
			add_header X-Client $proxy_protocol_addr;
			try_files /index.html =404;
		}}
	}}
}}
""")
        self.start(shutil.which("nginx", path="/usr/sbin:/usr/bin"), "-c", str(config), "-e", "stderr")


class Udp(Service):
    """Answers every datagram with its text and its sender (udp_service.py)."""

    def __init__(self, record, namespace, address):
        super().__init__(record, "udp", namespace, "udp", address, 27015)
        self.start("/usr/bin/python3", "-B", str(UDP_SERVICE), address, str(self.port))
