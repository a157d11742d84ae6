# SPDX-License-Identifier: MIT
"""The kernel module's netlink specification says what its header and its policies say."""

import pathlib
import subprocess

TREE = pathlib.Path(__file__).resolve().parents[2]


def test_specification_agrees():
    checked = subprocess.run(["/usr/bin/python3", "-B", TREE / "tests/netlink/check_spec.py"], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stdout
    assert int(checked.stdout.split()[-4]) > 50, checked.stdout
