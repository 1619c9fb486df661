"""Who may call, and how well a call has to be protected.

`security` is no part of the other judges' runs: each case needs the configuration that its suite
gives it.
"""

import json
import socket
import uuid

from fsrvp import (AUTO_RECOVERY, E_ACCESSDENIED, NULL_ID, ZERO, Agent, Fault, Wrong,
                   expect)
from garbage import BIND, pipe

FAULT = 5


def sets(lab):
    """The agent's table, without what time alone changes."""
    with socket.socket(socket.AF_UNIX) as wire:
        wire.connect(lab.ADMIN_SOCKET)
        wire.sendall(b"GET /v1/sets HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b""
        while part := wire.recv(65536):
            answer += part
    table = json.loads(answer.split(b"\r\n\r\n", 1)[1])

    def still(value):
        if isinstance(value, dict):
            return {key: still(item) for key, item in value.items()
                    if not any(word in key for word in ("deadline", "uptime", "seconds", "_in", "ms"))}
        return [still(item) for item in value] if isinstance(value, list) else value

    return still(table)


def every_method(lab, set_id=NULL_ID, copy_id=NULL_ID):
    unc = lab.unc(lab.SHARE_A)
    return (
        lambda agent: agent.get_supported_version(),
        lambda agent: agent.set_context(AUTO_RECOVERY),
        lambda agent: agent.start(),
        lambda agent: agent.add(set_id, unc),
        lambda agent: agent.commit(set_id),
        lambda agent: agent.expose(set_id),
        lambda agent: agent.recovery_complete(set_id),
        lambda agent: agent.abort(set_id),
        lambda agent: agent.is_path_supported(unc),
        lambda agent: agent.is_path_shadow_copied(unc),
        lambda agent: agent.get_share_mapping(set_id, copy_id, unc),
        lambda agent: agent.delete_share_mapping(set_id, copy_id, unc),
        lambda agent: agent.prepare(set_id),
    )


def faults(call):
    """Status of the fault, or of the refused bind, that a call ends with."""
    try:
        answer = call()
    except Fault as fault:
        return fault.status
    except Exception as error:
        if "access_denied" in str(error) or "rpc_s_access_denied" in str(error):
            return FAULT
        raise
    raise Wrong(f"served: {answer}")


def too_low(lab, level):
    with Agent(lab, level="privacy") as agent:
        set_id, mapped = agent.create(AUTO_RECOVERY, lab.unc(lab.SHARE_A))
        copy_id = mapped[0][0]
        before = sets(lab)
        for number, method in enumerate(every_method(lab, set_id, copy_id)):
            def call():
                with Agent(lab, level=level) as low:
                    return method(low)
            expect(f"level {level}, opnum {number}", faults(call), FAULT)
        expect("the table", sets(lab), before)
        # Its client goes on as if nothing had happened.
        expect("RecoveryComplete", agent.recovery_complete(set_id), ZERO)
        agent.remove(set_id, lab.unc(lab.SHARE_A), copy_id)


def case_level_none_is_refused(lab):
    too_low(lab, "none")


def case_level_connect_is_refused(lab):
    too_low(lab, "connect")


def case_level_packet_is_refused(lab):
    too_low(lab, "packet")


def walk(lab, level):
    unc = lab.unc(lab.SHARE_A)
    with Agent(lab, level=level) as agent:
        expect("GetSupportedVersion", agent.get_supported_version(), (ZERO, 1, 1))
        expect("IsPathSupported", agent.is_path_supported(unc)[0], ZERO)
        set_id, mapped = agent.create(AUTO_RECOVERY, unc)
        copy_id = mapped[0][0]
        expect("IsPathShadowCopied", agent.is_path_shadow_copied(unc)[0], ZERO)
        expect("RecoveryComplete", agent.recovery_complete(set_id), ZERO)
        agent.remove(set_id, unc, copy_id)


def case_walk_signed(lab):
    walk(lab, "integrity")


def case_walk_sealed(lab):
    walk(lab, "privacy")


def acknowledged_header_signing(lab):
    with pipe(lab) as wire:
        # PFC_FIRST_FRAG, PFC_LAST_FRAG, PFC_SUPPORT_HEADER_SIGN
        wire.send(BIND[:3] + b"\x07" + BIND[4:])
        answer = wire.recv()
        expect("kind of the answer", answer[2], 12)
        return bool(answer[3] & 4)


def case_header_signing_is_taken(lab):
    expect("header signing", acknowledged_header_signing(lab), True)


def case_header_signing_is_declined(lab):
    expect("header signing", acknowledged_header_signing(lab), False)


def two_users(lab, session, caller, wanted):
    """SMB session of one user, RPC context of another."""
    with Agent(lab, session, level="integrity", rpc=caller) as agent:
        for number, method in enumerate(every_method(lab)):
            answer = method(agent)
            code = answer[0] if isinstance(answer, tuple) else answer
            if wanted == E_ACCESSDENIED or number in (0, 9):
                expect(f"opnum {number}, pipe of {session}, context of {caller}", code, wanted)
            elif code == E_ACCESSDENIED:
                raise Wrong(f"opnum {number}: access denied")


def case_pipe_of_backup_context_of_plain(lab):
    two_users(lab, "backup", "plain", E_ACCESSDENIED)


def case_pipe_of_plain_context_of_backup_without_authority(lab):
    two_users(lab, "plain", "backup", E_ACCESSDENIED)


def case_pipe_of_plain_context_of_backup_with_authority(lab):
    two_users(lab, "plain", "backup", ZERO)


def logon(lab, session, caller):
    def call():
        with Agent(lab, session, level="integrity", rpc=caller) as agent:
            return agent.get_supported_version()
    expect(f"logon of {caller}", faults(call), FAULT)


def case_wrong_password(lab):
    lab.values["WRONG_USER"], lab.values["WRONG_PASSWORD"] = lab.BACKUP_USER, "not the password"
    logon(lab, "backup", "wrong")


def case_unknown_user(lab):
    lab.values["WRONG_USER"], lab.values["WRONG_PASSWORD"] = f"nobody{uuid.uuid4()}", "x"
    logon(lab, "backup", "wrong")


def case_disabled_account(lab):
    logon(lab, "backup", "disabled")


def case_anonymous_context(lab):
    lab.values["NOBODY_USER"] = lab.values["NOBODY_PASSWORD"] = ""
    logon(lab, "backup", "nobody")


def case_anonymous_session(lab):
    lab.values["NOBODY_USER"] = lab.values["NOBODY_PASSWORD"] = ""

    def call():
        with Agent(lab, "nobody", level="none") as agent:
            return agent.get_supported_version()
    try:
        expect("anonymous", faults(call), FAULT)
    except Wrong:
        raise
    except Exception as error:  # smbd may turn them away already
        if "STATUS_ACCESS_DENIED" not in str(error) and "LOGON_FAILURE" not in str(error):
            raise
