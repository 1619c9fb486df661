#!/usr/bin/env python3
"""Judges an agent in a laboratory.

    judge.py --list                           names of all cases
    judge.py --env FILE case NAME             one case: silent and 0, or a reason and 1
    judge.py --env FILE call METHOD ARG...    one call on a connection of its own, answer in JSON
"""

import argparse
import importlib
import json
import sys
import uuid

MODULES = ("flows", "names", "sets", "states", "seal", "garbage", "leaks", "coerce", "logons",
           "security")


def cases():
    found = {}
    for module in MODULES:
        for name, item in vars(importlib.import_module(module)).items():
            if name.startswith("case_"):
                found[f"{module}::{name.removeprefix('case_')}"] = item
    return found


def number(word):
    try:
        return int(word, 0)
    except ValueError:
        return word


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--env")
    parser.add_argument("--who", default="backup", choices=["backup", "admin", "plain"])
    parser.add_argument("--level", default="integrity",
                        choices=["none", "connect", "packet", "integrity", "privacy"])
    parser.add_argument("words", nargs="*")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(cases()))
        return 0
    import fsrvp

    lab = fsrvp.Lab(arguments.env)
    lab.values["LEVEL"] = arguments.level
    action, name, *words = arguments.words
    if action == "case":
        try:
            cases()[name](lab)
        except (fsrvp.Wrong, fsrvp.Fault) as reason:
            print(reason)
            return 1
        return 0
    with fsrvp.Agent(lab, arguments.who, arguments.level) as agent:
        answer = getattr(agent, name)(*map(number, words))
    print(json.dumps(answer, default=str))
    return 0


if __name__ == "__main__":
    sys.exit(main())
