"""Logons as no honest client makes them: NTLM inside SPNEGO by hand, one thing wrong at a time.

[MS-NLMP 2.2.1.3, 3.1.5.1.2, 3.4.4], [RFC 4178 4.2], [MS-RPCE 2.2.2.11]. impacket lends only its
key derivation; each wrong logon has a right one beside it that differs in nothing else.
"""

import hashlib
import hmac
import os
import struct

from fsrvp import Wrong, expect, guid
from garbage import header, pipe

BIND, BIND_ACK, BIND_NAK, FAULT, ALTER, ALTER_RESP = 11, 12, 13, 3, 14, 15
SPNEGO, INTEGRITY = 9, 5
# UNICODE, REQUEST_TARGET, SIGN, SEAL, NTLM, ALWAYS_SIGN, EXTENDED_SESSIONSECURITY, TARGET_INFO,
# VERSION, 128, KEY_EXCH, 56
FLAGS = 0xE2888235
AV_EOL, AV_FLAGS, AV_TIMESTAMP = 0, 6, 7
MIC_PROVIDED = 2
VERSION = bytes((10, 0, 0x63, 0x45, 0, 0, 0, 15))

NTLM = bytes.fromhex("060a2b06010401823702020a")
SPNEGO_OID = bytes.fromhex("06062b0601050502")


def der(tag, *parts):
    body = b"".join(parts)
    if len(body) < 0x80:
        size = bytes((len(body),))
    else:
        digits = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
        size = bytes((0x80 | len(digits),)) + digits
    return bytes((tag,)) + size + body


MECH_TYPES = der(0x30, NTLM)


def first_token(message):
    inner = der(0x30, der(0xA0, MECH_TYPES), der(0xA2, der(0x04, message)))
    return der(0x60, SPNEGO_OID, der(0xA0, inner))


def last_token(message, mic):
    fields = [der(0xA2, der(0x04, message))]
    if mic is not None:
        fields.append(der(0xA3, der(0x04, mic)))
    return der(0xA1, der(0x30, *fields))


def negotiate():
    return b"NTLMSSP\0" + struct.pack("<II", 1, FLAGS) + b"\0" * 16 + VERSION


def challenge_of(token):
    message = token[token.index(b"NTLMSSP\0"):]
    size, _, offset = struct.unpack_from("<HHI", message, 40)
    target = message[offset:offset + size]
    end = offset + size
    name_size, _, name_offset = struct.unpack_from("<HHI", message, 12)
    return message[:max(end, name_offset + name_size)], message[24:32], target


def av_pairs(target, flags):
    """The server's pairs, with the client's flags among them."""
    pairs, at = b"", 0
    while True:
        kind, size = struct.unpack_from("<HH", target, at)
        if kind == AV_EOL:
            break
        pairs += target[at:at + 4 + size]
        at += 4 + size
    if flags:
        pairs += struct.pack("<HHI", AV_FLAGS, 4, flags)
    return pairs + struct.pack("<HH", AV_EOL, 0)


def timestamp_of(pairs):
    at = 0
    while at + 4 <= len(pairs):
        kind, size = struct.unpack_from("<HH", pairs, at)
        if kind == AV_TIMESTAMP:
            return pairs[at + 4:at + 4 + size]
        at += 4 + size
    return b"\0" * 8


def rc4(key, data):
    from Cryptodome.Cipher import ARC4

    return ARC4.new(key).encrypt(data)


def md5_mac(key, data):
    return hmac.new(key, data, hashlib.md5).digest()


def authenticate(account, challenge, *, version, promised, mic):
    """AUTHENTICATE_MESSAGE and the key that it exports."""
    from impacket import ntlm

    user, password = account
    told, server_challenge, target = challenge
    nonce = os.urandom(8)
    if version == 2:
        key = ntlm.NTOWFv2(user, password, "")
        pairs = av_pairs(target, MIC_PROVIDED if promised else 0)
        blob = b"\1\1" + b"\0" * 6 + timestamp_of(pairs) + nonce + b"\0" * 4 + pairs + b"\0" * 4
        proof = md5_mac(key, server_challenge + blob)
        nt_response, lm_response = proof + blob, b"\0" * 24
        exchange = md5_mac(key, proof)
    else:
        nt_response, lm_response, base = ntlm.computeResponseNTLMv1(
            FLAGS, server_challenge, nonce, b"", "", user, password)
        exchange = ntlm.KXKEY(FLAGS, base, lm_response, server_challenge, password, "", "", False)
    exported = os.urandom(16)
    payload, fields = b"", b""
    for data in (lm_response, nt_response, b"", user.encode("utf-16-le"), b"",
                 rc4(exchange, exported)):
        fields += struct.pack("<HHI", len(data), len(data), 88 + len(payload))
        payload += data
    head = b"NTLMSSP\0" + struct.pack("<I", 3) + fields + struct.pack("<I", FLAGS) + VERSION
    code = b"\0" * 16
    if mic:
        code = md5_mac(exported, negotiate() + told + head + code + payload)
        code = code if mic == "right" else bytes((code[0] ^ 1,)) + code[1:]
    return head + code + payload, exported


def mech_list_mic(exported):
    """[MS-NLMP 3.4.4.2] over the mechTypes."""
    def derived(purpose):
        text = f"session key to client-to-server {purpose} key magic constant\0"
        return hashlib.md5(exported + text.encode()).digest()
    digest = md5_mac(derived("signing"), struct.pack("<I", 0) + MECH_TYPES)
    checksum = rc4(derived("sealing"), digest[:8])
    return struct.pack("<I", 1) + checksum + struct.pack("<I", 0)


def pdu(kind, token, call):
    body = (struct.pack("<HHIBBHHBB", 4280, 4280, 0, 1, 0, 0, 0, 1, 0)
            + guid("a8e0653c-2744-4389-a61d-7373df8b2292") + struct.pack("<I", 1)
            + guid("8a885d04-1ceb-11c9-9fe8-08002b104860") + struct.pack("<I", 2))
    trailer = struct.pack("<BBBBI", SPNEGO, INTEGRITY, 0, 0, 1)
    return header(kind, body + trailer + token, auth=len(token), call=call)


def log_on(lab, *, account=None, version=2, promised=True, mic="right", list_mic="right"):
    """True when the agent says that the logon is complete."""
    with pipe(lab) as wire:
        wire.send(pdu(BIND, first_token(negotiate()), 1))
        answer = wire.recv()
        expect("kind of the first answer", answer[2], BIND_ACK)
        message, exported = authenticate(
            account or lab.account("backup"), challenge_of(answer), version=version,
            promised=promised, mic=mic)
        code = None if list_mic is None else mech_list_mic(exported)
        if list_mic == "wrong":
            code = code[:4] + bytes((code[4] ^ 1,)) + code[5:]
        wire.send(pdu(ALTER, last_token(message, code), 2))
        answer = wire.recv()
        if answer[2] not in (ALTER_RESP, FAULT, BIND_NAK):
            raise Wrong(f"the last answer is of kind {answer[2]}")
        # negState [0] ENUMERATED accept-completed
        return answer[2] == ALTER_RESP and bytes.fromhex("a0030a0100") in answer


def refused(lab, **wrong):
    expect("the right logon", log_on(lab), True)
    expect(f"a logon with {wrong}", log_on(lab, **wrong), False)
    expect("the right logon afterwards", log_on(lab), True)


def case_mech_list_mic_is_missing(lab):
    refused(lab, list_mic=None)


def case_mech_list_mic_is_wrong(lab):
    refused(lab, list_mic="wrong")


def case_ntlm_mic_is_missing_where_it_was_promised(lab):
    refused(lab, mic=None)


def case_ntlm_mic_is_wrong(lab):
    refused(lab, mic="wrong")


def case_ntlm_version_1(lab):
    refused(lab, version=1, promised=False, mic=None)


def case_clients_without_mic_are_served(lab):
    """Where the configuration does not ask for one."""
    expect("a logon without a MIC", log_on(lab, promised=False, mic=None), True)


def case_clients_without_mic_are_refused(lab):
    """Where the configuration asks for one."""
    refused(lab, promised=False, mic=None)
