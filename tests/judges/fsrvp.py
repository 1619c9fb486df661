"""MS-FSRVP by hand on impacket: a client that shares no code with the agent it judges.

The stubs are packed and unpacked with `struct` from section 3.1.4 of the specification and the
transfer syntax NDR 2.0; impacket carries them over SMB.
"""

import contextlib
import io
import os
import socket
import struct
import subprocess
import tempfile
import uuid

ZERO = 0
E_ACCESSDENIED = 0x80070005
E_INVALIDARG = 0x80070057
BAD_STATE = 0x80042301
IN_PROGRESS = 0x80042316
NOT_SUPPORTED = 0x8004230C
ALREADY_EXISTS = 0x8004230D
NOT_FOUND = 0x80042308
UNSUPPORTED_CONTEXT = 0x8004231B
ID_MISMATCH = 0x80042501
TIMEOUT = 0x80042500
WAIT_TIMEOUT = 0x00000102
WAIT_FAILED = 0xFFFFFFFF

BACKUP, APP_ROLLBACK, NAS_ROLLBACK, FILE_SHARE_BACKUP = 0x00, 0x09, 0x19, 0x10
NO_AUTO_RECOVERY, AUTO_RECOVERY = 0x02, 0x00400000

INTERFACE = ("a8e0653c-2744-4389-a61d-7373df8b2292", "1.0")
NULL_ID = uuid.UUID(int=0)

# What Microsoft's suite passes, in milliseconds.
PREPARE_MS, COMMIT_MS, EXPOSE_MS = 1_800_000, 60_000, 1_800_000


class Wrong(AssertionError):
    """The agent did something else than it has to."""


def expect(what, got, wanted):
    if got != wanted:
        raise Wrong(f"{what}: {show(got)}, not {show(wanted)}")


def show(value):
    if isinstance(value, tuple):
        return "(" + ", ".join(map(show, value)) + ")"
    plain = isinstance(value, bool) or not isinstance(value, int)
    return repr(value) if plain else f"0x{value:08X}"


class Lab:
    """A laboratory, from its environment file."""

    def __init__(self, path):
        self.values = {}
        with open(path, encoding="utf-8") as file:
            for line in file:
                key, value = line.rstrip("\n").split("=", 1)
                self.values[key] = value[1:-1] if value[:1] == "'" else value

    def __getattr__(self, key):
        try:
            return self.values[key]
        except KeyError as missing:
            raise AttributeError(key) from missing

    def unc(self, share, host=None):
        return f"\\\\{host or self.HOST}\\{share}"

    def account(self, who):
        return self.values[f"{who.upper()}_USER"], self.values[f"{who.upper()}_PASSWORD"]

    def smbclient(self, share, commands, who="backup"):
        """Runs smbclient over SMB 3; returns (exit status, text)."""
        user, password = self.account(who)
        done = subprocess.run(
            ["smbclient", "-s", self.SMB_CONF, "-p", self.PORT, "-m", "SMB3",
             "-U", f"{user}%{password}", f"//{self.HOST}/{share}", "-c", commands],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout + done.stderr

    def put(self, share, name, data, who="backup"):
        """True when a file could be written through the share."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            status, _ = self.smbclient(share, f'put "{file.name}" "{name}"', who)
        return status == 0

    def read(self, share, name, who="backup"):
        """Content of a file through the share, None when it cannot be read."""
        with tempfile.TemporaryDirectory() as folder:
            target = os.path.join(folder, "file")
            status, _ = self.smbclient(share, f'get "{name}" "{target}"', who)
            if status != 0:
                return None
            with open(target, "rb") as file:
                return file.read()

    def connectable(self, share, who="backup"):
        return self.smbclient(share, "ls", who)[0] == 0

    def path_of(self, share):
        """Directory that smbd serves under a share's name."""
        done = subprocess.run(
            ["testparm", "-s", f"--section-name={share}", "--parameter-name=path", self.SMB_CONF],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
        return done.stdout.strip()


@contextlib.contextmanager
def from_address(address):
    """Connections made inside come from this address."""
    plain = socket.socket.connect

    def connect(self, target):
        if address and self.family == socket.AF_INET:
            self.bind((address, 0))
        return plain(self, target)

    socket.socket.connect = connect
    try:
        yield
    finally:
        socket.socket.connect = plain


class Fault(Exception):
    """An RPC fault."""

    def __init__(self, status):
        super().__init__(f"fault 0x{status:08x}")
        self.status = status


def guid(value):
    return uuid.UUID(str(value)).bytes_le


def text(value):
    units = (value + "\0").encode("utf-16-le", "surrogatepass")
    count = len(units) // 2
    return pad4(struct.pack("<III", count, 0, count) + units)


def pad4(data):
    return data + b"\0" * (-len(data) % 4)


class Reader:
    """Takes a reply's stub apart."""

    def __init__(self, data):
        self.stream, self.size = io.BytesIO(data), len(data)

    def take(self, count):
        data = self.stream.read(count)
        if len(data) != count:
            raise Wrong("the reply's stub is too short")
        return data

    def align(self, count):
        self.take(-self.stream.tell() % count)

    def u32(self):
        self.align(4)
        return struct.unpack("<I", self.take(4))[0]

    def guid(self):
        self.align(4)
        return uuid.UUID(bytes_le=self.take(16))

    def text(self):
        _, offset, actual = self.u32(), self.u32(), self.u32()
        expect("offset of a string", offset, 0)
        value = self.take(2 * actual).decode("utf-16-le")
        if not value.endswith("\0"):
            raise Wrong("a string without its terminating NUL")
        return value[:-1]

    def end(self):
        expect("bytes after the reply", self.size - self.stream.tell(), 0)


class Agent:
    """One connection to the agent's pipe through smbd."""

    def __init__(self, lab, who="backup", level="none", source=None, bind=True, host=None,
                 rpc=None):
        from impacket.dcerpc.v5 import rpcrt, transport
        from impacket.uuid import uuidtup_to_bin

        self.lab, self.rpcrt = lab, rpcrt
        user, password = lab.account(who)
        self.wire = transport.SMBTransport(
            host or lab.SERVER_NAME, int(lab.PORT), "FssagentRpc", user, password,
            remote_host=lab.HOST)
        self.dce = self.wire.get_dce_rpc()
        levels = {"connect": 2, "packet": 4, "integrity": 5, "privacy": 6}
        if level in levels:
            self.dce.set_credentials(*lab.account(rpc or who))
            self.dce.set_auth_level(levels[level])
            self.dce.set_auth_type(rpcrt.RPC_C_AUTHN_WINNT)
        with from_address(source):
            self.dce.connect()
        if bind:
            self.dce.bind(uuidtup_to_bin(INTERFACE))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        with contextlib.suppress(Exception):
            self.dce.disconnect()

    def call(self, opnum, stub=b""):
        """Sends a stub and returns the reply's; a fault is an exception."""
        try:
            self.dce.call(opnum, stub)
            return self.dce.recv()
        except self.rpcrt.DCERPCException as error:
            if error.error_code is None:
                status = {name: code for code, name in self.rpcrt.rpc_status_codes.items()}
                code = status.get(str(error), None)
                if code is None:
                    raise
                raise Fault(code) from error
            raise Fault(error.error_code) from error

    def ask(self, opnum, stub, *fields):
        reader = Reader(self.call(opnum, stub))
        values = [getattr(reader, field)() for field in fields]
        code = reader.u32()
        reader.end()
        return (code, *values) if values else code

    # [3.1.4] in order of the operation numbers.

    def get_supported_version(self):
        return self.ask(0, b"", "u32", "u32")

    def set_context(self, context):
        return self.ask(1, struct.pack("<I", context))

    def start(self, client=None):
        return self.ask(2, guid(client or uuid.uuid4()), "guid")

    def add(self, set_id, name, client=None):
        return self.ask(3, guid(client or uuid.uuid4()) + guid(set_id) + text(name), "guid")

    def commit(self, set_id, wait=COMMIT_MS):
        return self.ask(4, guid(set_id) + struct.pack("<I", wait))

    def expose(self, set_id, wait=EXPOSE_MS):
        return self.ask(5, guid(set_id) + struct.pack("<I", wait))

    def recovery_complete(self, set_id):
        return self.ask(6, guid(set_id))

    def abort(self, set_id):
        return self.ask(7, guid(set_id))

    def is_path_supported(self, name):
        reader = Reader(self.call(8, text(name)))
        supported = reader.u32()
        owner = reader.text() if reader.u32() else None
        code = reader.u32()
        reader.end()
        return code, supported, owner

    def is_path_shadow_copied(self, name):
        return self.ask(9, text(name), "u32", "u32")

    def get_share_mapping(self, set_id, copy_id, name, level=1):
        stub = guid(copy_id) + guid(set_id) + text(name) + struct.pack("<I", level)
        reader = Reader(self.call(10, stub))
        mapping = None
        # [2.2.3.1] Only level 1 has an arm in the union.
        if reader.u32() == 1 and reader.u32():
            mapping = {"set": reader.guid(), "copy": reader.guid()}
            unc, share = reader.u32(), reader.u32()
            mapping["timestamp"] = reader.u32() | reader.u32() << 32
            mapping["unc"] = reader.text() if unc else None
            mapping["share"] = reader.text() if share else None
        code = reader.u32()
        reader.end()
        return code, mapping

    def delete_share_mapping(self, set_id, copy_id, name):
        return self.ask(11, guid(set_id) + guid(copy_id) + text(name))

    def prepare(self, set_id, wait=PREPARE_MS):
        return self.ask(12, guid(set_id) + struct.pack("<I", wait))

    # What several judges need.

    def settle(self):
        """Ends whatever set another case left behind; no context is set afterwards."""
        while self.set_context(BACKUP) != ZERO:
            pass
        code, set_id = self.start()
        expect("StartShadowCopySet", code, ZERO)
        expect("AbortShadowCopySet", self.abort(set_id), ZERO)

    def begin(self, context, *names):
        """SetContext, Start and Add; returns the set's id and the copies' ids."""
        expect("SetContext", self.set_context(context), ZERO)
        code, set_id = self.start()
        expect("StartShadowCopySet", code, ZERO)
        copies = []
        for name in names:
            code, copy_id = self.add(set_id, name)
            expect(f"AddToShadowCopySet {name}", code, ZERO)
            copies.append(copy_id)
        return set_id, copies

    def create(self, context, *names):
        """All calls up to Expose; returns the set's id and a (copy id, mapping) for each name."""
        set_id, copies = self.begin(context, *names)
        expect("PrepareShadowCopySet", self.prepare(set_id), ZERO)
        expect("CommitShadowCopySet", self.commit(set_id), ZERO)
        expect("ExposeShadowCopySet", self.expose(set_id), ZERO)
        mapped = []
        for name, copy_id in zip(names, copies):
            code, mapping = self.get_share_mapping(set_id, copy_id, name)
            expect(f"GetShareMapping {name}", code, ZERO)
            mapped.append((copy_id, mapping))
        return set_id, mapped

    def remove(self, set_id, name, *copies):
        """DeleteShareMapping of every copy."""
        for copy_id in copies:
            expect("DeleteShareMapping", self.delete_share_mapping(set_id, copy_id, name), ZERO)


def served(lab):
    """The next client is served."""
    with Agent(lab, level=lab.LEVEL) as agent:
        expect("GetSupportedVersion", agent.get_supported_version(), (ZERO, 1, 1))
