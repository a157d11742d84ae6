# SPDX-License-Identifier: MIT
"""kkcontrold alone, on loopback: the daemon, its REST, and nodes played by the test."""
