# SPDX-License-Identifier: MIT
"""Sessions that are renewed at the time that the protocol says, 120 s, with every other engine in both roles."""
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "system"))
from kkwg_world import World  # noqa: E402
from test_kkwg_interop import ROLES  # noqa: E402


@pytest.mark.parametrize("first,second", ROLES)
def test_rekey(first, second):
    """Traffic over more than REKEY_AFTER_TIME: a second handshake, and no packet lost by it."""
    with World() as w:
        a, b = w.pair(first, second)
        a.configure([(b, f"{b.outer4}:51820", "")])
        b.configure([(a, None, "")])
        a.up()
        b.up()
        a.ping(b.inner4)
        before = int(a.peer(b.public)["handshake"])
        p = subprocess.Popen(["ip", "netns", "exec", a.ns, "ping", "-c", "650", "-i", "0.2", "-W", "2", b.inner4],
                             stdout=subprocess.PIPE, text=True)
        w.undo.append(lambda: p.poll() is None and (p.kill(), p.wait()))
        out = p.communicate(timeout=200)[0]
        assert " 0% packet loss" in out, out[-300:]
        assert int(a.peer(b.public)["handshake"]) > before + 100
