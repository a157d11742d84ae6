# SPDX-License-Identifier: MIT
"""The systemd units: the product installed, and its daemons started by systemd in their sandboxes."""


def test_units(vm):
    """Served, restarted, killed and stopped under systemd; tests/vm/units/scenario tells the steps."""
    vm.ok("tests/vm/units/boot", "tests/vm/units", timeout_s=900)
