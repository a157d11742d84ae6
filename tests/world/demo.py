# SPDX-License-Identifier: MIT
"""The demo: makes the world, publishes four services, tries each through both gateways.

The last lines are `ok SERVICE via GATEWAY client ADDRESS`, the address being the one that the Agent saw, or
`FAILED SERVICE via GATEWAY: REASON`; the exit status is 0 if all were ok. Whatever ends the demo, it leaves
nothing behind; after kill -9 the next one clears up. With --keep the world stays until --down ID.
"""

import argparse
import contextlib
import os
import signal
import sys

from . import netns, topology
from .published import DEMO, curl_command, psql_command, ssh_command
from .record import Record, alive, sweep
from .world import World


def say(text):
    print(f"-- {text}", flush=True)


def attempt_all(world):
    """The lines to end on, and whether all are ok."""
    lines, good = [], True
    for service in DEMO:
        for gateway in topology.GATEWAYS:
            say(f"{service.name} via {gateway}")
            try:
                lines.append(f"ok {service.name} via {gateway} client {world.attempt(service, gateway)}")
            except (RuntimeError, AssertionError, OSError) as error:
                lines.append(f"FAILED {service.name} via {gateway}: {error}")
                good = False
    return lines, good


def quoted(argv):
    return " ".join(f"'{word}'" if set(word) & set(" ;$*") else word for word in argv)


def tell_what_next(world):
    address = topology.GATEWAYS["gw1"]
    control = netns.within(world.network["control"], world.product.program("kkctl"), "--config",
                           str(world.product.state("control") / "admin.json"))
    agent = netns.within(world.network["agent"], world.product.program("kkctl"), "sessions", "--socket",
                         str(world.product.relay_socket("agent")))
    print("\nThe world stays up. As the outside user:")
    for argv in (ssh_command(world, address), psql_command(world, address, "select version()"),
                 curl_command(world, address)):
        print(f"  {quoted(argv)}")
    print("As the operator:")
    for argv in (["status"], ["service", "list"],
                 ["service", "add", "again", "--agent", "agent", "--tcp", "2200", "--target", "127.0.0.1:22"]):
        print(f"  {quoted(control + argv)}")
    print(f"On the Agent's machine:\n  {quoted(agent)}")
    print(f"Logs are in {world.record.directory}/log. Take it down with:\n  scripts/demo --down {world.id}\n", flush=True)


def run(keep):
    world, lines, good, failed = None, [], False, False
    try:
        try:
            for run_id in sweep():
                say(f"cleared up what run {run_id} had left")
            with signals_held():
                world = World(progress=say)
            lines, good = show(world)
            if keep:
                world.record.keep()
                tell_what_next(world)
            failed = not good
        except Exception as error:  # whatever it is, it is reported, and the world goes down
            lines, good, failed = [f"FAILED {error}"], False, True
        finally:
            ignore_signals()
            # Who ends it himself knows why.
            if world and failed:
                print(world.logs())
    finally:
        if world and not (keep and good):
            say("taking the world down")
            world.down()
    print("\n".join(lines), flush=True)
    return 0 if good else 1


def show(world):
    world.up()
    world.publish()
    return attempt_all(world)


ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def signals_held():
    """A signal that comes meanwhile is delivered at the end."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def ignore_signals():
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def interrupt(_number, _frame):
    """The first signal ends the demo; those after it must not disturb the clearing up."""
    ignore_signals()
    raise KeyboardInterrupt


def take_down(run_id):
    try:
        record = Record.load(run_id)
    except FileNotFoundError:
        print(f"demo: there is no world {run_id}", file=sys.stderr)
        return 1
    if not record.data["kept"] and alive(record.data["owner"]):
        print(f"demo: world {run_id} is in use by process {record.data['owner']['pid']}", file=sys.stderr)
        return 1
    record.take_down()
    return 0


def main():
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="leave the world up and tell what to try next")
    parser.add_argument("--down", metavar="ID", help="take a kept world down")
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("must be root, to make network namespaces")
    if options.down:
        return take_down(options.down)
    for number in ENDING:
        signal.signal(number, interrupt)
    try:
        return run(options.keep)
    except KeyboardInterrupt:
        print("FAILED interrupted")
        return 130
