# SPDX-License-Identifier: MIT
"""Each program's manual page has the options of its --help, no others, and their defaults."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

TREE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("KK_BUILD", TREE / "build"))
PAGES = {"kkcontrold": "kkcontrold.8", "kkgatewayd": "kkgatewayd.8", "kkagentd": "kkagentd.8", "kkrelay": "kkagentd.8",
         "kkwg": "kkwg.8"}


def read_help(program):
    """Option to its default, None where it has none."""
    text = subprocess.run([BUILD / program, "--help"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
                          check=True).stdout
    found = re.findall(r"^  (?:-.,|   ) (--[a-z-]+)(?: \S+)?  +.*?(?:\[([^]\n]*)\])?$", text, flags=re.M)
    assert len(found) == len(re.findall(r"^ {2,6}(?:-., )?--", text, flags=re.M)) > 2, text
    return {option: default or None for option, default in found}


def read_page(name):
    """Without roff's macros, fonts and escapes."""
    text = (TREE / "doc" / name).read_text(encoding="utf-8")
    text = re.sub(r"^\.(?!\\).*$", lambda line: line.group().replace('"', ""), text, flags=re.M)
    return re.sub(r"\\f.", "", text.replace("\\-", "-"))


@pytest.mark.parametrize("program", PAGES)
def test_options_of_help_are_in_the_page(program):
    page = read_page(PAGES[program])
    for option, default in read_help(program).items():
        assert re.search(rf"{option}(?![a-z-])", page), f"{PAGES[program]} does not have {option}"
        # Defaults that are values, not sentences.
        if default and re.fullmatch(r"[0-9./:a-z-]*[0-9/][0-9./:a-z-]*", default):
            assert default in page.replace(" ", ""), f"{PAGES[program]} does not say that {option} is {default}"


@pytest.mark.parametrize("page", sorted(set(PAGES.values())))
def test_options_of_the_page_are_in_help(page):
    known = {option for program, name in PAGES.items() if name == page for option in read_help(program)}
    options = read_page(page).partition(".SH OPTIONS")[2].partition("\n.SH")[0]
    heads = [line for before, line in zip(options.splitlines(), options.splitlines()[1:]) if before.startswith(".TP")]
    named = {option for line in heads for option in re.findall(r"--[a-z]+(?:-[a-z]+)*", line)}
    assert len(named) > 2 and named <= known, named - known


@pytest.mark.skipif(not shutil.which("man"), reason="there is no man here")
@pytest.mark.parametrize("page", sorted(path.name for path in (TREE / "doc").glob("*.[18]")))
def test_pages_are_sound(page):
    done = subprocess.run(["man", "--warnings", "-l", TREE / "doc" / page], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60, check=True, env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "120"})
    assert done.stderr == "" and "SYNOPSIS" in done.stdout
