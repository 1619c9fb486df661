"""The nine flows of Microsoft's file server suite that need one node, call by call."""

import uuid

from fsrvp import (APP_ROLLBACK, AUTO_RECOVERY, BACKUP, BAD_STATE, COMMIT_MS, EXPOSE_MS,
                   FILE_SHARE_BACKUP, NAS_ROLLBACK, NO_AUTO_RECOVERY, PREPARE_MS,
                   UNSUPPORTED_CONTEXT, ZERO, Agent, Wrong, expect)


def connect(lab):
    """IsPathSupported has a connection of its own; the rest goes to the machine that it names."""
    with Agent(lab, level=lab.LEVEL) as first:
        code, supported, owner = first.is_path_supported(lab.unc(lab.SHARE_A))
    expect("IsPathSupported", (code, supported), (ZERO, 1))
    if not owner:
        raise Wrong("IsPathSupported names no owner")
    agent = Agent(lab, level=lab.LEVEL, host=owner)
    expect("GetSupportedVersion", agent.get_supported_version(), (ZERO, 1, 1))
    return agent, lab.unc(lab.SHARE_A, owner)


def open_set(agent, context):
    expect("SetContext", agent.set_context(context), ZERO)
    code, set_id = agent.start()
    expect("StartShadowCopySet", code, ZERO)
    if set_id.int == 0:
        raise Wrong("the set's id is zero")
    return set_id


def add(agent, set_id, name):
    code, copy_id = agent.add(set_id, name)
    expect("AddToShadowCopySet", code, ZERO)
    if copy_id.int == 0:
        raise Wrong("the copy's id is zero")
    return copy_id


def full(lab, context):
    agent, name = connect(lab)
    with agent:
        content = uuid.uuid4().bytes
        expect("a file on the base share", lab.put(lab.SHARE_A, "before.txt", content), True)
        set_id, mapping = exposed(lab, agent, name, context)
        share, copy_id = mapping["share"], mapping["copy"]
        expect("a file on the base share", lab.put(lab.SHARE_A, "before.txt", b"after"), True)
        expect("content of the copy", lab.read(share, "before.txt"), content)
        writable = bool(context & AUTO_RECOVERY)
        expect("a file can be made in the copy", lab.put(share, "made.txt", b"made"), writable)
        expect("RecoveryComplete", agent.recovery_complete(set_id), ZERO)
        expect("a file after RecoveryComplete", lab.put(share, "late.txt", b"late"), False)
        expect("content of the copy", lab.read(share, "before.txt"), content)
        if writable:
            expect("what was made is there", lab.read(share, "made.txt"), b"made")
        finish(agent, set_id, copy_id, name)
        expect("the share is there after Delete", lab.connectable(share), False)


def exposed(lab, agent, name, context):
    set_id = open_set(agent, context)
    copy_id = add(agent, set_id, name)
    expect("PrepareShadowCopySet", agent.prepare(set_id, PREPARE_MS), ZERO)
    expect("CommitShadowCopySet", agent.commit(set_id, COMMIT_MS), ZERO)
    expect("ExposeShadowCopySet", agent.expose(set_id, EXPOSE_MS), ZERO)
    code, mapping = agent.get_share_mapping(set_id, copy_id, name)
    expect("GetShareMapping", code, ZERO)
    expect("ids of the mapping", (mapping["set"], mapping["copy"]), (set_id, copy_id))
    wanted = f"{lab.SHARE_A}@{{{copy_id}}}".lower()
    expect("name of the exposed share", mapping["share"].lower(), wanted)
    expect("name of the base share", mapping["unc"], name)
    if mapping["timestamp"] <= 0:
        raise Wrong("the time of creation is not above 0")
    return set_id, mapping


def finish(agent, set_id, copy_id, name):
    code, present, compatibility = agent.is_path_shadow_copied(name)
    expect("IsPathShadowCopied", (code, present), (ZERO, 1))
    if not 0 <= compatibility <= 3:
        raise Wrong(f"compatibility {compatibility}")
    expect("DeleteShareMapping", agent.delete_share_mapping(set_id, copy_id, name), ZERO)


def case_writable_snapshot_single_node(lab):
    full(lab, AUTO_RECOVERY)


def case_readonly_snapshot_backup(lab):
    full(lab, BACKUP | NO_AUTO_RECOVERY)


def case_readonly_snapshot_app_rollback(lab):
    full(lab, APP_ROLLBACK | NO_AUTO_RECOVERY)


def case_readonly_snapshot_nas_rollback(lab):
    full(lab, NAS_ROLLBACK)


def case_readonly_snapshot_file_share_backup(lab):
    full(lab, FILE_SHARE_BACKUP)


def case_abort_started(lab):
    agent, _ = connect(lab)
    with agent:
        set_id = open_set(agent, AUTO_RECOVERY)
        expect("AbortShadowCopySet", agent.abort(set_id), ZERO)
        agent.abort(set_id)  # the clean-up's: it must answer


def case_abort_added(lab):
    agent, name = connect(lab)
    with agent:
        set_id = open_set(agent, AUTO_RECOVERY)
        add(agent, set_id, name)
        expect("AbortShadowCopySet", agent.abort(set_id), ZERO)
        agent.abort(set_id)


def case_abort_recovered(lab):
    agent, name = connect(lab)
    with agent:
        set_id, mapping = exposed(lab, agent, name, AUTO_RECOVERY)
        expect("RecoveryComplete", agent.recovery_complete(set_id), ZERO)
        expect("AbortShadowCopySet", agent.abort(set_id), BAD_STATE)
        finish(agent, set_id, mapping["copy"], name)


def case_set_context_invalid(lab):
    agent, _ = connect(lab)
    with agent:
        code = agent.set_context(AUTO_RECOVERY | NO_AUTO_RECOVERY)
        expect("SetContext", code, UNSUPPORTED_CONTEXT)
