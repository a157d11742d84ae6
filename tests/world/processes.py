# SPDX-License-Identifier: MIT
"""Processes of a run: started in a namespace, recorded, logged, waited for."""

import os
import signal
import socket
import subprocess
import time

from . import netns

PATIENCE = netns.PATIENCE

# Where a limit is not what a test is about it is generous: the machine may be busy with other things.
LIMIT_S = 30


def wait_until(what, condition, timeout_s=LIMIT_S, every_s=0.05):
    """The first true value of condition(); what it waited for in the error when there is none in time."""
    timeout_s *= PATIENCE
    every_s *= PATIENCE
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s} s")
        time.sleep(every_s)


class Process:
    """A program that runs until it is stopped. Its output is in the run's log/NAME.log."""

    def __init__(self, record, name, namespace, argv, env=None, notify=False):
        """notify: the program tells by sd_notify when it is ready; otherwise that is for the caller to see."""
        self.name = name
        self.log = record.directory / "log" / f"{name}.log"
        self.log.parent.mkdir(exist_ok=True)
        self._notify = _notify_socket(record.directory / f"notify-{name}") if notify else None
        environment = {**os.environ, **(env or {})}
        if notify:
            environment["NOTIFY_SOCKET"] = str(record.directory / f"notify-{name}")
        with open(self.log, "ab") as log:
            # A session of its own: Ctrl-C is for the demo, which ends these in order.
            self.popen = subprocess.Popen(netns.within(namespace, *argv), stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=log, env=environment, start_new_session=True)
        record.process(self.popen.pid)

    def ready(self, timeout_s=LIMIT_S):
        """Waits for READY=1. After that nobody listens: a queue that fills up would hold the program."""
        with self._notify:
            wait_until(f"{self.name} ready", self._is_ready, timeout_s)
        return self

    def _is_ready(self):
        self.check()
        try:
            return "READY=1" in self._notify.recv(4096).decode().split("\n")
        except BlockingIOError:
            return False

    def check(self):
        """It has to be running."""
        if self.popen.poll() is not None:
            raise RuntimeError(f"{self.name} ended with status {self.popen.returncode}: {self.tail()}")

    def send(self, number):
        self.popen.send_signal(number)

    def stop(self, number=signal.SIGTERM, timeout_s=LIMIT_S):
        """Ends it and returns its exit status."""
        self.send(number)
        return self.popen.wait(timeout_s * PATIENCE)

    def tail(self, lines=10):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def _notify_socket(path):
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    listener.bind(str(path))
    return listener
