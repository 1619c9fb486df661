"""Contexts, states, ids and callers: the code that each refusal has to carry."""

import struct
import uuid

from fsrvp import (AUTO_RECOVERY, BACKUP, BAD_STATE, E_ACCESSDENIED, E_INVALIDARG, ID_MISMATCH,
                   IN_PROGRESS, NO_AUTO_RECOVERY, NOT_FOUND, NULL_ID, TIMEOUT, UNSUPPORTED_CONTEXT,
                   WAIT_TIMEOUT, ZERO, Agent, expect, guid, text)


def case_contexts(lab):
    with Agent(lab, level=lab.LEVEL) as agent:
        for base in (0x00, 0x09, 0x10, 0x19):
            for more in (0, NO_AUTO_RECOVERY, AUTO_RECOVERY):
                agent.settle()
                expect(f"SetContext {base | more:#x}", agent.set_context(base | more), ZERO)
        agent.settle()
        for context in (0x01, 0x04, 0x08, 0x18, 0x11, 0x20, 0x04000000, 0x80000000, 0xFFFFFFFF,
                        0x00400002, 0x0040001B, 0x1000, 0x00400001):
            code = agent.set_context(context)
            expect(f"SetContext {context:#x}", code, UNSUPPORTED_CONTEXT)
        expect("no context was set", agent.start(), (BAD_STATE, NULL_ID))


def case_a_bad_context_changes_nothing(lab):
    with Agent(lab, level=lab.LEVEL) as agent:
        agent.settle()
        set_id, [copy_id] = agent.begin(BACKUP, lab.unc(lab.SHARE_A))
        expect("SetContext", agent.set_context(0x77), UNSUPPORTED_CONTEXT)
        expect("Prepare", agent.prepare(set_id), ZERO)
        expect("Abort", agent.abort(set_id), ZERO)
        del copy_id


def case_address_lock(lab):
    with Agent(lab, level=lab.LEVEL) as agent, \
            Agent(lab, level=lab.LEVEL, source="127.0.0.99") as other:
        agent.settle()
        set_id, _ = agent.begin(BACKUP, lab.unc(lab.SHARE_A))
        expect("another address", other.set_context(BACKUP), IN_PROGRESS)
        expect("a bad context first", other.set_context(0x77), UNSUPPORTED_CONTEXT)
        expect("another address, another method", other.prepare(set_id), ZERO)
        expect("the set lives", agent.commit(set_id), ZERO)
        expect("Start while busy", other.start(), (IN_PROGRESS, NULL_ID))
        expect("the same address drops the set", agent.set_context(BACKUP), ZERO)
        expect("it has gone", agent.expose(set_id), ID_MISMATCH)
        agent.settle()
        expect("the lock has gone", other.set_context(BACKUP), ZERO)
        expect("and is the other's", agent.set_context(BACKUP), IN_PROGRESS)
        other.settle()


def case_retry_limit(lab):
    with Agent(lab, level=lab.LEVEL) as agent:
        agent.settle()
        codes = [agent.set_context(BACKUP) for _ in range(8)]
        expect("SetContext, again and again", codes, [ZERO] * 6 + [IN_PROGRESS, ZERO])
        agent.settle()


def case_dropped_set_takes_its_share(lab):
    with Agent(lab, level=lab.LEVEL) as agent:
        agent.settle()
        set_id, [(_, mapping)] = agent.create(AUTO_RECOVERY, lab.unc(lab.SHARE_A))
        expect("exposed", lab.connectable(mapping["share"]), True)
        expect("SetContext", agent.set_context(BACKUP), ZERO)
        expect("withdrawn", lab.connectable(mapping["share"]), False)
        expect("gone", agent.recovery_complete(set_id), ID_MISMATCH)
        agent.settle()


def refusals(agent, lab, set_id, copy_id, refused):
    name, other = lab.unc(lab.SHARE_A), lab.unc(lab.SHARE_B)
    calls = {
        "add": lambda: agent.add(set_id, other)[0],
        "prepare": lambda: agent.prepare(set_id),
        "commit": lambda: agent.commit(set_id),
        "expose": lambda: agent.expose(set_id),
        "mapping": lambda: agent.get_share_mapping(set_id, copy_id, name)[0],
        "recovery": lambda: agent.recovery_complete(set_id),
        "abort": lambda: agent.abort(set_id),
        "delete": lambda: agent.delete_share_mapping(set_id, copy_id, name),
        "start": lambda: agent.start()[0],
    }
    for call, code in refused.items():
        expect(call, calls[call](), code)


def case_refusals_in_every_state(lab):
    some = uuid.uuid4()
    with Agent(lab, level=lab.LEVEL) as agent:
        agent.settle()
        expect("Start without a context", agent.start(), (BAD_STATE, NULL_ID))
        name = lab.unc(lab.SHARE_A)
        set_id, _ = agent.begin(BACKUP)
        bad = dict.fromkeys(("prepare", "commit", "expose", "mapping", "recovery", "delete"),
                            BAD_STATE)
        refusals(agent, lab, set_id, some, bad | {"start": IN_PROGRESS})
        code, copy_id = agent.add(set_id, name)
        expect("Add", code, ZERO)
        bad = dict.fromkeys(("expose", "mapping", "recovery", "delete"), BAD_STATE)
        refusals(agent, lab, set_id, copy_id, bad | {"start": IN_PROGRESS})
        expect("Prepare", agent.prepare(set_id), ZERO)
        expect("Commit", agent.commit(set_id), ZERO)
        bad = dict.fromkeys(("add", "prepare", "commit", "mapping", "recovery", "delete"), BAD_STATE)
        refusals(agent, lab, set_id, copy_id, bad | {"start": IN_PROGRESS})
        expect("Expose", agent.expose(set_id), ZERO)
        bad = dict.fromkeys(("add", "prepare", "commit", "expose"), BAD_STATE)
        refusals(agent, lab, set_id, copy_id, bad | {"start": IN_PROGRESS})
        expect("RecoveryComplete", agent.recovery_complete(set_id), ZERO)
        bad = dict.fromkeys(("add", "prepare", "commit", "expose", "mapping", "recovery", "abort",
                             "start"), BAD_STATE)
        refusals(agent, lab, set_id, copy_id, bad)
        agent.remove(set_id, name, copy_id)


def case_unknown_ids(lab):
    unknown, name = uuid.uuid4(), lab.unc(lab.SHARE_A)
    with Agent(lab, level=lab.LEVEL) as agent:
        agent.settle()
        for active in (False, True):
            set_id = copy_id = None
            if active:
                set_id, [(copy_id, _)] = agent.create(BACKUP, name)
            refusals(agent, lab, unknown, copy_id or unknown, dict.fromkeys(
                ("add", "prepare", "commit", "expose", "mapping", "recovery", "abort"),
                ID_MISMATCH) | {"delete": NOT_FOUND})
        code = agent.get_share_mapping(set_id, unknown, name)
        expect("GetShareMapping, unknown copy", code, (E_INVALIDARG, None))
        code = agent.get_share_mapping(set_id, copy_id, lab.unc(lab.SHARE_B))
        expect("GetShareMapping, unknown share", code, (E_INVALIDARG, None))
        code = agent.delete_share_mapping(set_id, unknown, name)
        expect("DeleteShareMapping, unknown copy", code, NOT_FOUND)
        code = agent.delete_share_mapping(set_id, copy_id, lab.unc(lab.SHARE_B))
        expect("DeleteShareMapping, unknown share", code, NOT_FOUND)
        for level in (0, 2, 0xFFFFFFFF):
            code = agent.get_share_mapping(set_id, copy_id, name, level)
            expect(f"GetShareMapping, level {level}", code, (E_INVALIDARG, None))
        agent.remove(set_id, name, copy_id)


def case_null_ids(lab):
    some, name = uuid.uuid4(), lab.unc(lab.SHARE_A)
    with Agent(lab, level=lab.LEVEL) as agent:
        agent.settle()
        expect("Start without a context", agent.start(NULL_ID), (BAD_STATE, NULL_ID))
        expect("SetContext", agent.set_context(BACKUP), ZERO)
        expect("Start", agent.start(NULL_ID), (E_INVALIDARG, NULL_ID))
        code, set_id = agent.start()
        expect("Start", code, ZERO)
        expect("Start while busy", agent.start(NULL_ID), (IN_PROGRESS, NULL_ID))
        for call in (agent.prepare, agent.commit, agent.expose, agent.recovery_complete,
                     agent.abort):
            expect(call.__name__, call(NULL_ID), E_INVALIDARG)
        expect("Add", agent.add(NULL_ID, name), (E_INVALIDARG, NULL_ID))
        expect("DeleteShareMapping", agent.delete_share_mapping(NULL_ID, some, name), E_INVALIDARG)
        expect("DeleteShareMapping", agent.delete_share_mapping(some, NULL_ID, name), E_INVALIDARG)
        code = agent.get_share_mapping(NULL_ID, some, name)
        expect("GetShareMapping", code, (E_INVALIDARG, None))
        code = agent.get_share_mapping(some, NULL_ID, name)
        expect("GetShareMapping", code, (E_INVALIDARG, None))
        expect("the client's copy id is ignored", agent.add(set_id, name, NULL_ID)[0], ZERO)
        expect("Abort", agent.abort(set_id), ZERO)


def case_a_plain_user_may_nothing(lab):
    some, name = uuid.uuid4(), lab.unc(lab.SHARE_A)
    ids = guid(some)
    stubs = [b"", struct.pack("<I", 0), ids, ids + ids + text(name), ids + b"\0" * 4,
             ids + b"\0" * 4, ids, ids, text(name), text(name),
             ids + ids + text(name) + struct.pack("<I", 1), ids + ids + text(name),
             ids + b"\0" * 4]
    with Agent(lab, "plain", lab.LEVEL) as agent:
        for opnum, stub in enumerate(stubs):
            code = struct.unpack("<I", agent.call(opnum, stub)[-4:])[0]
            expect(f"opnum {opnum}", code, E_ACCESSDENIED)
    with Agent(lab, "admin", lab.LEVEL) as agent:
        expect("an administrator", agent.is_path_supported(name)[:2], (ZERO, 1))


def case_a_wait_of_zero_starts_the_work(lab):
    with Agent(lab, level=lab.LEVEL) as agent:
        agent.settle()
        name = lab.unc(lab.SHARE_A)
        set_id, [copy_id] = agent.begin(BACKUP, name)
        for call, waits in ((agent.prepare, WAIT_TIMEOUT), (agent.commit, TIMEOUT),
                            (agent.expose, WAIT_TIMEOUT)):
            code = call(set_id, 0)
            if code == waits:
                code = call(set_id)
            expect(call.__name__, code, ZERO)
        expect("RecoveryComplete", agent.recovery_complete(set_id), ZERO)
        agent.remove(set_id, name, copy_id)


def case_other_connections_go_on(lab):
    name = lab.unc(lab.SHARE_A)
    step = lambda: Agent(lab, level=lab.LEVEL)
    with step() as agent:
        agent.settle()
    with step() as agent:
        set_id, [copy_id] = agent.begin(AUTO_RECOVERY, name)
    for call in ("prepare", "commit", "expose", "recovery_complete"):
        with step() as agent:
            expect(call, getattr(agent, call)(set_id), ZERO)
    with step() as agent:
        agent.remove(set_id, name, copy_id)


def case_delete_of_the_last_mapping_ends_the_set(lab):
    with Agent(lab, level=lab.LEVEL) as agent:
        agent.settle()
        name = lab.unc(lab.SHARE_A)
        set_id, [(copy_id, mapping)] = agent.create(BACKUP, name)
        agent.remove(set_id, name, copy_id)
        expect("the share has gone", lab.connectable(mapping["share"]), False)
        expect("the set has gone", agent.recovery_complete(set_id), ID_MISMATCH)
        expect("the context has gone", agent.start(), (BAD_STATE, NULL_ID))


def case_abort_withdraws_everything(lab):
    with Agent(lab, level=lab.LEVEL) as agent:
        agent.settle()
        set_id, [(_, mapping)] = agent.create(AUTO_RECOVERY, lab.unc(lab.SHARE_A))
        expect("Abort", agent.abort(set_id), ZERO)
        expect("the share has gone", lab.connectable(mapping["share"]), False)
        expect("the context has gone", agent.start(), (BAD_STATE, NULL_ID))
        expect("a second Abort", agent.abort(set_id), ID_MISMATCH)
