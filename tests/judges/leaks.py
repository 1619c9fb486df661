"""What may not be there once every set has ended."""

import http.client
import json
import os
import socket
import subprocess

from fsrvp import Agent, expect


class Admin(http.client.HTTPConnection):
    """The agent's admin socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)

    def get(self, target):
        self.request("GET", target)
        return self.getresponse().read().decode()


def values(tree, key):
    """Every value of a key, however deep."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name == key:
                yield value
            yield from values(value, key)
    elif isinstance(tree, list):
        for value in tree:
            yield from values(value, key)


def case_nothing_is_left(lab):
    with Agent(lab, level=lab.LEVEL) as agent:
        agent.settle()
    net = subprocess.run(["net", "-s", lab.SMB_CONF, "conf", "listshares"], check=True,
                         capture_output=True, text=True)
    expect("shares in the registry", [name for name in net.stdout.split() if "@" in name], [])

    script = ("import tdb, os, sys; t = tdb.open(sys.argv[1], flags=os.O_RDONLY); "
              "print([k for k in t if b'@' in k])")
    table = os.path.join(os.path.dirname(lab.SMB_CONF), "state", "share_info.tdb")
    if os.path.exists(table):
        done = subprocess.run(["/usr/bin/python3", "-c", script, table], check=True,
                              capture_output=True, text=True)
        expect("share security descriptors", done.stdout.strip(), "[]")

    for top in (os.path.dirname(lab.SHARE_A_PATH), os.path.dirname(lab.SHARE_B_PATH)):
        area = os.path.join(top, ".fsrvpd", lab.SERVER_NAME)
        if not os.path.isdir(area):
            continue
        left = [name for name in os.listdir(area) if name not in ("previous", "clone")]
        expect(f"copies in {area}", left, [])
        clones = os.path.join(area, "clone")
        if os.path.isdir(clones):
            expect(f"clones in {clones}", os.listdir(clones), ["trash"])
        for folder, _, names in os.walk(os.path.join(area, "previous")):
            expect(f"previous versions in {folder}", names, [])

    sets = json.loads(Admin(lab.ADMIN_SOCKET).get("/v1/sets"))
    for key in ("sets", "debts"):
        expect(f"{key} of the agent", [value for value in values(sets, key) if value], [])
