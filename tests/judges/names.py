"""Names of shares and hosts: what is ours, what is foreign, what is no name at all."""

import os
import socket

from fsrvp import (BACKUP, E_INVALIDARG, NOT_FOUND, NOT_SUPPORTED, NULL_ID, ZERO, Agent, Fault,
                   Wrong, expect)

FOREIGN = ("foreign", "192.0.2.1", "example.com", "127.0.0.1.example.com", "LABSRV.example.com",
           "host@80", "host@SSL@443", "2001-db8--1.ipv6-literal.net", "LABSRV@80", "127.1",
           "0x7f000001", "2130706433")


def own(lab):
    host = socket.gethostname()
    names = [lab.HOST, "localhost", "LocalHost", "localhost.", lab.SERVER_NAME,
             lab.SERVER_NAME.lower(), lab.SERVER_NAME + ".", host, host.upper(), socket.getfqdn()]
    if os.path.exists("/proc/net/if_inet6") and os.path.getsize("/proc/net/if_inet6"):
        names += ["::1", "--1.ipv6-literal.net", "0--1.ipv6-literal.net"]
    return names


def case_own_hosts(lab):
    with Agent(lab, level=lab.LEVEL) as agent:
        for host in own(lab):
            for name in (lab.unc(lab.SHARE_A, host), lab.unc(lab.SHARE_A, host) + "\\"):
                code, supported, owner = agent.is_path_supported(name)
                expect(f"IsPathSupported {name}", (code, supported), (ZERO, 1))
                if not owner:
                    raise Wrong("no owner")


def case_foreign_hosts(lab):
    with Agent(lab, level=lab.LEVEL) as agent:
        agent.settle()
        set_id, [(copy_id, _)] = agent.create(BACKUP, lab.unc(lab.SHARE_A))
        for host in FOREIGN:
            name = lab.unc(lab.SHARE_A, host)
            expect(f"IsPathSupported {name}", agent.is_path_supported(name)[0], NOT_FOUND)
            expect(f"IsPathShadowCopied {name}", agent.is_path_shadow_copied(name)[0], NOT_FOUND)
            expect(f"Add {name}", agent.add(set_id, name), (NOT_FOUND, NULL_ID))
            expect(f"GetShareMapping {name}", agent.get_share_mapping(set_id, copy_id, name),
                   (E_INVALIDARG, None))
            code = agent.delete_share_mapping(set_id, copy_id, name)
            expect(f"DeleteShareMapping {name}", code, NOT_FOUND)
        agent.remove(set_id, lab.unc(lab.SHARE_A), copy_id)


def case_every_own_form_finds_the_mapping(lab):
    with Agent(lab, level=lab.LEVEL) as agent:
        agent.settle()
        given = lab.unc(lab.SHARE_A.upper(), "LOCALHOST") + "\\"
        set_id, [(copy_id, mapping)] = agent.create(BACKUP, given)
        expect("the name as it was given", mapping["unc"], given)
        for host in own(lab):
            name = lab.unc(lab.SHARE_A, host)
            code, mapping = agent.get_share_mapping(set_id, copy_id, name)
            expect(f"GetShareMapping {name}", code, ZERO)
            expect("the name as it was given", mapping["unc"], given)
        expect("a share without its host", agent.get_share_mapping(set_id, copy_id, lab.SHARE_A),
               (E_INVALIDARG, None))
        agent.remove(set_id, lab.unc(lab.SHARE_A, lab.SERVER_NAME.lower()), copy_id)


def case_unknown_share(lab):
    with Agent(lab, level=lab.LEVEL) as agent:
        for share in ("nobody", "vm3", "v", "IPC$", "vm@{00000000-0000-0000-0000-000000000000}"):
            name = lab.unc(share)
            code, supported, _ = agent.is_path_supported(name)
            if code == ZERO or supported:
                raise Wrong(f"IsPathSupported {name}: {code:#x}, {supported}")
        expect("IsPathSupported", agent.is_path_supported(lab.unc("nobody"))[0], NOT_FOUND)
        expect("IsPathShadowCopied", agent.is_path_shadow_copied(lab.unc("nobody"))[0], NOT_FOUND)
        agent.settle()
        set_id, _ = agent.begin(BACKUP)
        expect("Add", agent.add(set_id, lab.unc("nobody")), (NOT_FOUND, NULL_ID))
        expect("AbortShadowCopySet", agent.abort(set_id), ZERO)


MALFORMED = ("", "\\", "\\\\", "vm", "\\vm", "\\\\127.0.0.1", "\\\\127.0.0.1\\", "\\\\\\vm",
             "\\\\127.0.0.1\\vm\\dir", "\\\\127.0.0.1\\vm\\\\", "//127.0.0.1/vm",
             "\\\\127.0.0.1\\" + "a" * 1100, "\\\\" + "h" * 1100 + "\\vm", "\\\\?\\UNC\\x\\vm\\y",
             "\\" * 500)


def case_malformed_names(lab):
    with Agent(lab, level=lab.LEVEL) as agent:
        agent.settle()
        set_id, [copy_id] = agent.begin(BACKUP, lab.unc(lab.SHARE_A))
        for name in MALFORMED:
            shown = name[:40]
            expect(f"IsPathSupported {shown!r}", agent.is_path_supported(name)[0], E_INVALIDARG)
            code = agent.is_path_shadow_copied(name)[0]
            expect(f"IsPathShadowCopied {shown!r}", code, E_INVALIDARG)
            expect(f"Add {shown!r}", agent.add(set_id, name), (E_INVALIDARG, NULL_ID))
            code = agent.delete_share_mapping(set_id, copy_id, name)
            expect(f"DeleteShareMapping {shown!r}", code, E_INVALIDARG)
        expect("AbortShadowCopySet", agent.abort(set_id), ZERO)


def case_a_name_past_the_bound_is_a_fault(lab):
    with Agent(lab, level=lab.LEVEL) as agent:
        try:
            agent.is_path_supported("\\\\127.0.0.1\\" + "a" * 17_000)
        except Fault:
            return
        raise Wrong("a name of 17,000 characters was read")


def case_odd_characters_are_answered(lab):
    with Agent(lab, level=lab.LEVEL) as agent:
        for share in ("vm\n[global]", "vm;reboot", "$(reboot)", "../vm", "..", ".", "global",
                      "vm\ud800", "vm%S", "printers", "homes", "ｖｍ", "vm\u0000x", "vm:stream"):
            try:
                code, supported, _ = agent.is_path_supported(lab.unc(share))
            except Fault:
                # No string of NDR: a NUL in the middle, half a surrogate pair.
                if share in ("vm\0x", "vm\ud800"):
                    continue
                raise
            if code == ZERO or supported:
                raise Wrong(f"{share!r} is supported")


def case_stores_that_cannot_be_copied(lab):
    with Agent(lab, level=lab.LEVEL) as agent:
        for share in (lab.SHARE_UNSUPPORTED, lab.SHARE_NESTED):
            code, supported, _ = agent.is_path_supported(lab.unc(share))
            expect(f"IsPathSupported {share}", (code, supported), (NOT_SUPPORTED, 0))
            code = agent.is_path_shadow_copied(lab.unc(share))[:2]
            expect(f"IsPathShadowCopied {share}", code, (ZERO, 0))
        agent.settle()
        set_id, _ = agent.begin(BACKUP)
        for share in (lab.SHARE_UNSUPPORTED, lab.SHARE_NESTED):
            code = agent.add(set_id, lab.unc(share))
            expect(f"Add {share}", code, (NOT_SUPPORTED, NULL_ID))
        expect("AbortShadowCopySet", agent.abort(set_id), ZERO)
