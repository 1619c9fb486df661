"""Bytes that no client sends: an answer or a closed pipe, and the next client is served."""

import contextlib
import os
import struct
import uuid

from fsrvp import ZERO, Agent, Fault, Wrong, expect, guid, served, text

OP_RANGE = 0x1C010002


def header(kind, body, flags=3, length=None, version=(5, 0), drep=b"\x10\0\0\0", auth=0, call=1):
    size = 16 + len(body) if length is None else length
    return struct.pack("<BBBB4sHHI", *version, kind, flags, drep, size, auth, call) + body


BIND = header(11, struct.pack("<HHIBBHHBB", 4280, 4280, 0, 1, 0, 0, 0, 1, 0)
              + guid("a8e0653c-2744-4389-a61d-7373df8b2292") + struct.pack("<I", 1)
              + guid("8a885d04-1ceb-11c9-9fe8-08002b104860") + struct.pack("<I", 2))


def request(opnum, stub, **fields):
    return header(0, struct.pack("<IHH", len(stub), 0, opnum) + stub, **fields)


@contextlib.contextmanager
def pipe(lab):
    """A pipe on which nothing was said yet."""
    agent = Agent(lab, bind=False)
    agent.wire.get_smb_connection().setTimeout(10)
    try:
        yield agent.wire
    finally:
        agent.close()


def case_unknown_operations(lab):
    with Agent(lab, level=lab.LEVEL) as agent:
        for opnum in (13, 14, 255, 65535):
            try:
                agent.call(opnum, b"\0" * 64)
            except Fault as fault:
                expect(f"opnum {opnum}", fault.status, OP_RANGE)
            else:
                raise Wrong(f"opnum {opnum} was answered")
            expect("the connection lives on", agent.get_supported_version(), (ZERO, 1, 1))


def case_stubs_that_lie(lab):
    name = text(lab.unc(lab.SHARE_A))
    ids = guid(uuid.uuid4()) * 2
    lies = []
    for maximum, offset, actual in ((0xFFFFFFFF, 0, 5), (5, 0, 0xFFFFFFFF), (5, 1, 4), (4, 0, 5),
                                    (0x7FFFFFFF, 0, 0x7FFFFFFF), (0, 0, 1), (20_000, 0, 20_000),
                                    (5, 0xFFFFFFFF, 1)):
        lies.append(struct.pack("<III", maximum, offset, actual) + "vm\0\0\0".encode("utf-16-le"))
    lies.append(struct.pack("<III", 2, 0, 2) + "vm".encode("utf-16-le"))  # no NUL at its end
    with Agent(lab, level=lab.LEVEL) as agent:
        stubs = [(op, lie) for op in (8, 9) for lie in lies] + [(3, ids + lie) for lie in lies]
        stubs += [(op, stub[:size])
                  for op, stub in ((1, b"\0" * 4), (2, ids[:16]), (3, ids + name), (4, ids[:20]),
                                   (5, ids[:20]), (6, ids[:16]), (7, ids[:16]), (8, name),
                                   (9, name), (10, ids + name + b"\1\0\0\0"), (11, ids + name),
                                   (12, ids[:20]))
                  for size in range(0, len(stub) - 3, 3)]
        for opnum, stub in stubs:
            try:
                answer = agent.call(opnum, stub)
            except Fault:
                continue
            # A string without its NUL is malformed, not undecodable: an error in the answer.
            code = struct.unpack("<I", answer[-4:])[0]
            if code == ZERO:
                raise Wrong(f"opnum {opnum} answered {code:#x} to {stub.hex()}")
        expect("the connection lives on", agent.get_supported_version(), (ZERO, 1, 1))
    served(lab)


def speak(lab, *messages):
    """Says something; whatever comes back, or nothing, is fine."""
    with pipe(lab) as wire, contextlib.suppress(Exception):
        for message in messages:
            wire.send(message)
        wire.recv()


def case_garbage_pdus(lab):
    ends = [
        os.urandom(4096), b"\0" * 16, b"\xff" * 64, b"GET / HTTP/1.1\r\n\r\n",
        header(0, b""), header(255, b"\0" * 32), header(11, b""), header(11, b"\xff" * 60),
        header(11, b"\0" * 60, version=(4, 0)), header(11, b"\0" * 60, version=(5, 9)),
        header(2, b"\0" * 32), header(3, b"\0" * 32), header(12, b"\0" * 60),
        header(16, b"\0" * 32), header(0, b"\0" * 32, auth=0xFFFF),
        BIND[:8] + struct.pack("<H", 15) + BIND[10:], BIND[:8] + b"\0\0" + BIND[10:],
        BIND[:8] + b"\xff\xff" + BIND[10:] + b"\0" * 65_000,
    ]
    for message in ends:
        speak(lab, message)
        served(lab)
    for message in (request(0, b"", flags=0), request(0, b"", flags=1), header(0, b"\0" * 3),
                    request(0, b"", auth=8), request(0, b"\0" * 8, auth=0xFFF0), BIND * 3,
                    request(0, b"", drep=b"\x11\0\0\0"), header(14, b"\0" * 8), os.urandom(300)):
        speak(lab, BIND, message)
        served(lab)


def case_endless_first_fragments(lab):
    fragment = request(8, b"\0" * 4000, flags=1)
    with pipe(lab) as wire, contextlib.suppress(Exception):
        wire.send(BIND)
        wire.recv()
        for _ in range(3000):
            wire.send(fragment)
    served(lab)


def case_half_open_connections(lab):
    with contextlib.ExitStack() as stack:
        for count in range(40):
            wire = stack.enter_context(pipe(lab))
            with contextlib.suppress(Exception):
                wire.send(BIND[: 1 + count % len(BIND)])
        served(lab)
    served(lab)


def case_a_foreign_interface_is_refused(lab):
    from impacket.uuid import uuidtup_to_bin

    for interface in (("12345778-1234-abcd-ef00-0123456789ab", "0.0"),
                      ("a8e0653c-2744-4389-a61d-7373df8b2292", "3.0")):
        agent = Agent(lab, bind=False)
        try:
            agent.dce.bind(uuidtup_to_bin(interface))
        except Exception:  # noqa: BLE001 a rejection, however impacket names it
            continue
        finally:
            agent.close()
        raise Wrong(f"{interface} was accepted")
    served(lab)


def case_a_big_endian_client_is_understood(lab):
    with pipe(lab) as wire:
        wire.send(BIND)
        if wire.recv()[2] != 12:
            raise Wrong("no bind_ack")
        unc = lab.unc(lab.SHARE_A) + "\0"
        stub = struct.pack(">III", len(unc), 0, len(unc)) + unc.encode("utf-16-be")
        body = struct.pack(">IHH", len(stub), 0, 8) + stub
        wire.send(struct.pack(">BBBB4sHHI", 5, 0, 0, 3, b"\0\0\0\0", 16 + len(body), 0, 2) + body)
        answer = wire.recv()
        if lab.LEVEL != "none":
            # It is not signed. Signed big-endian calls are smbtorture's part.
            expect("kind of the answer", answer[2], 3)
            expect("status", struct.unpack("<I", answer[24:28])[0], 5)
            return
        expect("kind of the answer", answer[2], 2)
        expect("supported", struct.unpack("<I", answer[24:28])[0], 1)
