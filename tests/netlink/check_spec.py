#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Compares doc/netlink/kakuremichi.yaml with include/uapi/kakuremichi.h and kmod/policy.c: names, their order, ranges.

Ends with 0 and the number of things compared, or with 1 and each difference.
"""

import pathlib
import re
import sys

import yaml

TREE = pathlib.Path(__file__).resolve().parents[2]
SPEC = yaml.safe_load((TREE / "doc/netlink/kakuremichi.yaml").read_text())
HEADER = (TREE / "include/uapi/kakuremichi.h").read_text()
POLICY = (TREE / "kmod/policy.c").read_text()
CORE = "".join((TREE / "include/kk/core" / name).read_text() for name in ("types.h", "maglev.h"))
# Attribute set: the enum in the header, the policy's array; None: nothing of it is taken from outside as a nest.
SETS = {"main": ("kk_attr", None), "settings": ("kk_settings_attr", "settings"),
        "listener": ("kk_listener_attr", "kk_policy_listener"), "service": ("kk_service_attr", "service"),
        "group": ("kk_group_attr", "group"), "rule": ("kk_rule_attr", "rule"), "guard": ("kk_guard_attr", "guard"),
        "ban": ("kk_ban_attr", "ban"), "flow": ("kk_flow_attr", "flow"),
        "counter": ("kk_counter_attr", None), "packet": ("kk_packet_attr", "packet")}
NLA = {"u8": "NLA_U8", "u16": "NLA_U16", "u32": "NLA_U32", "u64": "NLA_U64", "flag": "NLA_FLAG"}
differences = []
compared = 0


def compare(what, spec, code):
    global compared
    compared += 1
    if spec != code:
        differences.append(f"{what}: {spec} in the specification, {code} in the code")


def enum(name):
    """The entries of an enum of the header, without the first (UNSPEC) and the last (MAX)."""
    body = re.search(rf"enum {name} \{{(.*?)\}};", HEADER, re.S).group(1)
    body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
    return [entry.split("=")[0].strip() for entry in body.split(",") if entry.strip()]


def upper(*parts):
    return "".join(parts).replace("-", "_").upper()


def number(text):
    """What an expression of the policy comes to, with constants of the core and of the header in it."""
    constants = dict(re.findall(r"#define (KK_\w+)\s+([\w ()*+-]+?)(?:\s*/\*.*)?$", CORE + HEADER, re.M))
    for name in ("kk_packet_direction", "kk_rule_verdict"):
        constants |= {entry: str(value) for value, entry in enumerate(enum(name))}
    while names := re.findall(r"\bKK_\w+", text):
        text = re.sub(rf"\b{names[0]}\b", f"({constants[names[0]]})", text)
    return eval(text, {"__builtins__": {}})  # digits and operators, from our own tree


def policies(array):
    body = re.search(rf"struct nla_policy {array}\[\w+ \+ 1\] = \{{(.*?)\n\}};", POLICY, re.S).group(1)
    return dict(re.findall(r"\[(\w+)\] = (.*?),\n", body + "\n", re.S))


def wanted_policy(attribute):
    """What the policy of an attribute has to say, as (form, numbers)."""
    checks, kind = attribute.get("checks", {}), attribute["type"]
    if kind == "binary":
        return ("exact", checks["exact-len"]) if "exact-len" in checks else ("max", checks["max-len"])
    if "flags-mask" in checks:
        return (NLA[kind], "mask")
    if kind in NLA:
        return (NLA[kind], checks.get("min"), checks.get("max"))
    raise ValueError(attribute)


def found_policy(text):
    if found := re.fullmatch(r"NLA_POLICY_EXACT_LEN\((.*)\)", text):
        return ("exact", number(found[1]))
    if found := re.fullmatch(r"\{\.type = NLA_BINARY, \.len = (.*)\}", text):
        return ("max", number(found[1]))
    if found := re.fullmatch(r"NLA_POLICY_RANGE\((\w+), (.*), (.*)\)", text):
        return (found[1], number(found[2]), number(found[3]))
    if found := re.fullmatch(r"NLA_POLICY_FULL_RANGE\((\w+), &(\w+)\)", text):
        limits = re.search(rf"netlink_range_validation {found[2]} = \{{\.min = (\w+), \.max = (\w+)\}}", POLICY)
        return (found[1], int(limits[1]), int(limits[2]))
    if found := re.fullmatch(r"NLA_POLICY_MIN\((\w+), (.*)\)", text):
        return (found[1], number(found[2]), None)
    if found := re.fullmatch(r"NLA_POLICY_MAX\((\w+), (.*)\)", text):
        return (found[1], None, number(found[2]))
    if found := re.fullmatch(r"NLA_POLICY_MASK\((\w+), .*\)", text):
        return (found[1], "mask")
    if found := re.fullmatch(r"\{\.type = (\w+)\}", text):
        return (found[1], None, None)
    return text


def check_sets():
    for spec in SPEC["attribute-sets"]:
        name, array = SETS[spec["name"]]
        names = [upper(spec["name-prefix"], attribute["name"]) for attribute in spec["attributes"]]
        compare(f"attributes of {spec['name']}", names, enum(name)[1:-1])
        if not array:
            continue
        found = policies(array)
        compare(f"policy of {spec['name']} beyond the specification", [], [n for n in found if n not in names])
        for attribute, full in zip(spec["attributes"], names):
            if full in found:
                compare(full, wanted_policy(attribute), found_policy(found[full]))


def check_operations():
    operations = SPEC["operations"]
    names = [upper(operations["name-prefix"], operation["name"]) for operation in operations["list"]]
    compare("operations", names, enum("kk_cmd")[1:-1])
    source = (TREE / "kmod/netlink.c").read_text()
    for operation, name in zip(operations["list"], names):
        if "event" in operation:
            continue
        kind = "DUMP" if "dump" in operation else "DO"
        found = re.search(rf"\t(DO|DUMP)(?:_WITH_END)?\({name}, \w+, (\w+),\s+(\w+)[,)]", source)
        compare(f"kind of {name}", kind, found and found[1])
        request = operation[kind.lower()].get("request", {}).get("attributes", [])
        # Of nothing at all the kernel would make the family's number; what KK_A_PAD is refused by the empty policy.
        wanted = upper("kk-a-", request[-1]) if request else "KK_A_PAD"
        compare(f"largest attribute of {name}", wanted, found and found[3])


def check_rest():
    compare("name", f'"{SPEC["name"]}"', re.search(r'KK_GENL_NAME\s+(".*")', HEADER)[1])
    compare("version", str(SPEC["version"]), re.search(r"KK_GENL_VERSION\s+(\d+)", HEADER)[1])
    compare("groups", [f'"{group["name"]}"' for group in SPEC["mcast-groups"]["list"]],
            re.findall(r'KK_GENL_MCGRP_\w+\s+(".*")', HEADER))
    prefixes = {"listener-flags": "kk-listener-f-", "settings-flags": "kk-settings-f-", "guard-flags": "kk-guard-f-",
                "rule-verdict": "kk-rule-", "packet-direction": "kk-packet-", "event": "kk-event-"}
    for definition in SPEC["definitions"]:
        entries = [entry if isinstance(entry, str) else entry["name"] for entry in definition["entries"]]
        compare(definition["name"], [upper(prefixes[definition["name"]], entry) for entry in entries],
                enum("kk_" + definition["name"].replace("-", "_")))


check_sets()
check_operations()
check_rest()
for difference in differences:
    print(difference)
print(f"{compared} compared, {len(differences)} differ")
sys.exit(bool(differences))
