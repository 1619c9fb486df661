"""Keeps Samba's registry open and changes shares in it for fsrvpd.

One JSON object a line on standard input, one answer a line on standard output:
{"id": 1, "op": "share", "name": "docs"} -> {"id": 1, "ok": {...}} or {"id": 1, "error": {...}}
"last": true in an answer says that it was the last one.
Ends at the end of its input. Arguments: smb.conf, mark of the server.
"""
import json
import os
import subprocess
import sys

import tdb
from samba import smbconf
from samba.samba3 import param as s3param
from samba.samba3 import smbconf as s3smbconf

SBC_ERR_NO_SUCH_SERVICE = 7
MARK = "fsrvpd:server"
CONF, SERVER = sys.argv[-2], sys.argv[-1]
PARENT = os.getppid()
# Samba's bindings never give back a part of each share that they have read, and a listing of
# thousands leaves its own. A new process is the cure.
MOST_GROWTH = 8 << 20

# All shares of the registry at once. libsmbconf looks each of them up among all, which takes minutes
# for thousands. A process of its own, because closing the data base here would drop the locks that
# libsmbconf holds on it.
LIST_SHARES = """
import json, os, struct, sys, tdb
KEY = b"HKLM\\\\SOFTWARE\\\\SAMBA\\\\SMBCONF"
REG_SZ = 1

def upper(name):
    if name.isascii():
        return name.upper()
    return "".join(c.upper() if len(c.upper()) == 1 else c for c in name)

class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0
    def number(self):
        self.at += 4
        return struct.unpack_from("<I", self.data, self.at - 4)[0]
    def text(self):
        end = self.data.index(0, self.at)
        text = self.data[self.at:end].decode()
        self.at = end + 1
        return text
    def bytes(self):
        size = self.number()
        self.at += size
        if self.at > len(self.data):
            raise ValueError("cut short")
        return self.data[self.at - size:self.at]

def values(data):
    reader = Reader(data)
    for _ in range(reader.number()):
        name, kind, value = reader.text(), reader.number(), reader.bytes()
        if kind == REG_SZ:
            yield name, value.decode("utf-16-le").rstrip(chr(0))

table = tdb.Tdb(sys.argv[1], 0, tdb.DEFAULT, os.O_RDWR)
if struct.unpack("<I", table.get(b"INFO/version" + bytes(1)))[0] != 3:
    raise ValueError("another version")
table.read_lock_all()
names = Reader(table.get(KEY + bytes(1)))
shares = []
for _ in range(names.number()):
    name = names.text()
    key = b"SAMBA_REGVAL" + bytes([92]) + KEY + bytes([92]) + upper(name).encode() + bytes(1)
    shares.append([name, list(values(table.get(key)))])
json.dump(shares, sys.stdout)
"""


class Refused(Exception):
    """An answer other than success."""

    def __init__(self, kind, text):
        super().__init__(text)
        self.kind = kind


def lower(name):
    """Lower case as Samba does it: one character becomes one character."""
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in name)


def descriptor_key(share):
    return b"SECDESC/" + lower(share).encode() + b"\0"


class Descriptors:
    """share_info.tdb, which may not exist yet and may be replaced."""

    def __init__(self, path):
        self.path = path
        self.identity = None
        self.table = None

    def open(self):
        """The table, or None if no share has a descriptor."""
        try:
            stat = os.stat(self.path)
        except FileNotFoundError:
            self.table = self.identity = None
            return None
        identity = (stat.st_dev, stat.st_ino)
        if self.table is None or identity != self.identity:
            self.table = tdb.Tdb(self.path, 0, tdb.DEFAULT, os.O_RDWR)
            self.identity = identity
        return self.table

    def change(self, wanted):
        """Sets the key of each share to that of its base share; base None removes it."""
        table = self.open()
        if table is None:
            return
        edits = []
        for share, base in wanted:
            key = descriptor_key(share)
            value = table.get(descriptor_key(base)) if base is not None else None
            if table.get(key) != value:
                edits.append((key, value))
        if not edits:
            return
        table.transaction_start()
        try:
            for key, value in edits:
                if value is None:
                    table.delete(key)
                else:
                    table.store(key, value)
        except BaseException:
            table.transaction_cancel()
            raise
        table.transaction_prepare_commit()
        table.transaction_commit()


class Registry:
    def __init__(self):
        self.loaded = s3param.get_context()
        self.loaded.load(CONF)
        self.conf = s3smbconf.init_reg(None)
        state = self.loaded.get("state directory")
        self.path = os.path.join(state, "registry.tdb")
        self.descriptors = Descriptors(os.path.join(state, "share_info.tdb"))
        # Ends a transaction that the death of an earlier helper cut short.
        self.descriptors.open()

    def get(self, name):
        try:
            return self.conf.get_share(name)
        except smbconf.SMBConfError as error:
            if error.args[0] == SBC_ERR_NO_SUCH_SERVICE:
                return None
            raise

    def ours(self, name):
        """The share if it is there; refuses one without our mark."""
        share = self.get(name)
        if share is not None and (MARK, SERVER) not in [tuple(p) for p in share[1]]:
            raise Refused("foreign", name)
        return share

    def transaction(self, work):
        self.conf.transaction_start()
        try:
            work()
        except BaseException:
            self.conf.transaction_cancel()
            raise
        self.conf.transaction_commit()

    def share(self, request):
        return self.get(request["name"])

    def shares(self, _):
        try:
            listed = subprocess.run(
                [sys.executable, "-I", "-c", LIST_SHARES, self.path],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                check=True,
            )
            shares = json.loads(listed.stdout)
        except (subprocess.CalledProcessError, ValueError, OSError):
            shares = self.conf.get_config()
        return [share for share in shares if share[0] != "global"]

    def publish(self, request):
        shares = request["shares"]

        def write():
            for share in shares:
                if self.ours(share["name"]) is not None:
                    self.conf.delete_share(share["name"])
                self.conf.create_set_share(share["name"], pairs(share))
            # Before the shares can be seen.
            self.descriptors.change([(s["name"], s["base"]) for s in shares])

        try:
            self.transaction(write)
        except Refused:
            raise
        except BaseException:
            self.descriptors.change([(s["name"], None) for s in shares])
            raise

    def redefine(self, request):
        def write():
            for share in request["shares"]:
                if self.ours(share["name"]) is None:
                    raise Refused("not_found", share["name"])
                self.conf.delete_share(share["name"])
                self.conf.create_set_share(share["name"], pairs(share))

        self.transaction(write)

    def remove(self, request):
        name = request["name"]

        def write():
            if self.ours(name) is not None:
                self.conf.delete_share(name)

        share = self.ours(name)
        if share is not None:
            self.transaction(write)
        self.descriptors.change([(name, None)])
        return share


def pairs(share):
    return [(key, value) for key, value in share["parameters"]]


def memory():
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main():
    registry = Registry()
    begun = memory()
    operations = {
        name: getattr(registry, name)
        for name in ("share", "shares", "publish", "redefine", "remove")
    }
    out = sys.stdout
    out.write('{"id": 0, "ok": null}\n')
    out.flush()
    while True:
        # Looked at while nobody waits for an answer.
        last = memory() > begun + MOST_GROWTH
        line = sys.stdin.buffer.readline()
        if not line:
            return
        request = json.loads(line)
        # What a parent has asked for that was killed is nobody's wish any more.
        if os.getppid() != PARENT:
            return
        answer = {"id": request["id"]}
        try:
            answer["ok"] = operations[request["op"]](request)
        except Refused as error:
            answer["error"] = {"kind": error.kind, "text": str(error)}
        except Exception as error:
            text = "%s: %s" % (type(error).__name__, error)
            answer["error"] = {"kind": "failed", "text": text}
        if last:
            answer["last"] = True
        out.write(json.dumps(answer) + "\n")
        out.flush()
        if "last" in answer:
            return


main()
