"""Sets of one and of several shares, and where shares may come from."""

import subprocess

from fsrvp import (ALREADY_EXISTS, AUTO_RECOVERY, BACKUP, FILE_SHARE_BACKUP, NOT_FOUND,
                   NOT_SUPPORTED, NULL_ID, ZERO, Agent, Wrong, expect)


def base_files(lab, share, content):
    expect(f"a file on {share}", lab.put(share, "base.txt", content), True)


def case_two_volumes(lab):
    shares = (lab.SHARE_A, lab.SHARE_B)
    for share in shares:
        base_files(lab, share, share.encode())
    with Agent(lab, level=lab.LEVEL) as agent:
        agent.settle()
        first, second = names = [lab.unc(share) for share in shares]
        set_id, mapped = agent.create(FILE_SHARE_BACKUP, *names)
        for share in shares:
            base_files(lab, share, b"later")
        (copy_a, mapping_a), (copy_b, mapping_b) = mapped
        if copy_a == copy_b:
            raise Wrong("two volumes, one copy")
        for share, (_, mapping) in zip(shares, mapped):
            expect("the copy", lab.read(mapping["share"], "base.txt"), share.encode())
        expect("RecoveryComplete", agent.recovery_complete(set_id), ZERO)
        agent.remove(set_id, first, copy_a)
        expect("the deleted share", lab.connectable(mapping_a["share"]), False)
        expect("the other copy", lab.read(mapping_b["share"], "base.txt"), lab.SHARE_B.encode())
        agent.remove(set_id, second, copy_b)
        expect("the deleted share", lab.connectable(mapping_b["share"]), False)


def case_two_shares_of_a_volume_are_refused(lab):
    with Agent(lab, level=lab.LEVEL) as agent:
        agent.settle()
        set_id, _ = agent.begin(BACKUP, lab.unc(lab.SHARE_A))
        for again in (lab.unc(lab.SHARE_A2), lab.unc(lab.SHARE_A),
                      lab.unc(lab.SHARE_A.upper(), "localhost") + "\\"):
            expect(f"Add {again}", agent.add(set_id, again), (ALREADY_EXISTS, NULL_ID))
        expect("AbortShadowCopySet", agent.abort(set_id), ZERO)


def case_two_shares_of_a_volume_share_a_copy(lab):
    """Under ws2012 and with allow_shared_volume."""
    base_files(lab, lab.SHARE_A, b"one volume")
    names = [lab.unc(lab.SHARE_A), lab.unc(lab.SHARE_A2)]
    with Agent(lab, level=lab.LEVEL) as agent:
        agent.settle()
        set_id, copies = agent.begin(BACKUP, *names)
        expect("one copy", copies[0], copies[1])
        expect("the same share again", agent.add(set_id, names[0]), (ALREADY_EXISTS, NULL_ID))
        for call in (agent.prepare, agent.commit, agent.expose):
            expect(call.__name__, call(set_id), ZERO)
        exposed = []
        for name, copy_id in zip(names, copies):
            code, mapping = agent.get_share_mapping(set_id, copy_id, name)
            expect("GetShareMapping", (code, mapping["copy"]), (ZERO, copy_id))
            exposed.append(mapping["share"])
            expect("the copy", lab.read(mapping["share"], "base.txt"), b"one volume")
        if exposed[0].lower() == exposed[1].lower():
            raise Wrong("two mappings, one share")
        agent.remove(set_id, names[0], copies[0])
        expect("the other mapping", lab.read(exposed[1], "base.txt"), b"one volume")
        agent.remove(set_id, names[1], copies[1])


def case_hidden_share(lab):
    base_files(lab, lab.SHARE_HIDDEN, b"hidden")
    with Agent(lab, level=lab.LEVEL) as agent:
        agent.settle()
        name = lab.unc(lab.SHARE_HIDDEN)
        set_id, [(copy_id, mapping)] = agent.create(AUTO_RECOVERY, name)
        wanted = f"{lab.SHARE_HIDDEN}@{{{copy_id}}}$"
        expect("name of the exposed share", mapping["share"], wanted)
        expect("the copy", lab.read(wanted, "base.txt"), b"hidden")
        expect("it can be written", lab.put(wanted, "made.txt", b"made"), True)
        expect("RecoveryComplete", agent.recovery_complete(set_id), ZERO)
        agent.remove(set_id, name, copy_id)


def case_directory_below_a_subvolume(lab):
    base_files(lab, lab.SHARE_SUBDIR, b"below")
    with Agent(lab, level=lab.LEVEL) as agent:
        agent.settle()
        name = lab.unc(lab.SHARE_SUBDIR)
        set_id, [(copy_id, mapping)] = agent.create(AUTO_RECOVERY, name)
        base_files(lab, lab.SHARE_SUBDIR, b"later")
        status, listing = lab.smbclient(mapping["share"], "ls")
        expect("it can be listed", status, 0)
        if "branch" in listing:
            raise Wrong(f"the copy shows what lies above the share:\n{listing}")
        expect("the copy", lab.read(mapping["share"], "base.txt"), b"below")
        expect("it can be written", lab.put(mapping["share"], "made.txt", b"made"), True)
        expect("RecoveryComplete", agent.recovery_complete(set_id), ZERO)
        expect("it is sealed", lab.put(mapping["share"], "late.txt", b"late"), False)
        agent.remove(set_id, name, copy_id)


def case_a_copy_is_no_source(lab):
    with Agent(lab, level=lab.LEVEL) as agent:
        agent.settle()
        name = lab.unc(lab.SHARE_A)
        set_id, [(copy_id, mapping)] = agent.create(FILE_SHARE_BACKUP, name)
        expect("RecoveryComplete", agent.recovery_complete(set_id), ZERO)
        exposed = lab.unc(mapping["share"])
        expect("IsPathSupported", agent.is_path_supported(exposed)[0], NOT_SUPPORTED)
        expect("IsPathShadowCopied", agent.is_path_shadow_copied(exposed), (ZERO, 0, 0))
        second, _ = agent.begin(BACKUP)
        expect("Add", agent.add(second, exposed), (NOT_SUPPORTED, NULL_ID))
        expect("AbortShadowCopySet", agent.abort(second), ZERO)
        agent.remove(set_id, name, copy_id)
        expect("IsPathSupported", agent.is_path_supported(exposed)[0], NOT_FOUND)


def case_is_path_shadow_copied(lab):
    with Agent(lab, level=lab.LEVEL) as agent:
        agent.settle()
        name, other = lab.unc(lab.SHARE_A), lab.unc(lab.SHARE_A2)
        answers = lambda: (agent.is_path_shadow_copied(name)[:2],
                           agent.is_path_shadow_copied(other)[:2])
        no, yes = ((ZERO, 0), (ZERO, 0)), ((ZERO, 1), (ZERO, 1))
        expect("compatibility of no copy", agent.is_path_shadow_copied(name), (ZERO, 0, 0))
        set_id, [copy_id] = agent.begin(FILE_SHARE_BACKUP, name)
        expect("Added", answers(), no)
        expect("Prepare", agent.prepare(set_id), ZERO)
        expect("Commit", agent.commit(set_id), ZERO)
        expect("Committed", answers(), yes)
        expect("Expose", agent.expose(set_id), ZERO)
        expect("Exposed", answers(), yes)
        expect("RecoveryComplete", agent.recovery_complete(set_id), ZERO)
        expect("Recovered", answers(), yes)
        elsewhere = agent.is_path_shadow_copied(lab.unc(lab.SHARE_B))
        expect("another volume", elsewhere, (ZERO, 0, 0))
        agent.remove(set_id, name, copy_id)
        expect("deleted", answers(), no)


def walk(lab, share):
    base_files(lab, share, b"whatever file it stands in")
    with Agent(lab, level=lab.LEVEL) as agent:
        agent.settle()
        name = lab.unc(share)
        set_id, [(copy_id, mapping)] = agent.create(AUTO_RECOVERY, name)
        expect("the copy", lab.read(mapping["share"], "base.txt"), b"whatever file it stands in")
        expect("it can be written", lab.put(mapping["share"], "made.txt", b"made"), True)
        expect("RecoveryComplete", agent.recovery_complete(set_id), ZERO)
        expect("it is sealed", lab.put(mapping["share"], "late.txt", b"late"), False)
        agent.remove(set_id, name, copy_id)
        expect("it has gone", lab.connectable(mapping["share"]), False)


def case_share_from_the_registry(lab):
    net = ["net", "-s", lab.SMB_CONF, "conf"]
    subprocess.run([*net, "addshare", "fromreg", lab.SHARE_B_PATH, "writeable=y", "guest_ok=n"],
                   check=True, capture_output=True)
    try:
        walk(lab, "fromreg")
        done = subprocess.run([*net, "listshares"], check=True, capture_output=True, text=True)
        expect("shares left in the registry", done.stdout.split(), ["fromreg"])
    finally:
        subprocess.run([*net, "delshare", "fromreg"], check=True, capture_output=True)


def case_share_from_an_included_file(lab):
    included = lab.SMB_CONF + ".included"
    with open(included, "w", encoding="utf-8") as file:
        file.write(f"[included]\n path = {lab.SHARE_B_PATH}\n read only = no\n")
    with open(lab.SMB_CONF, encoding="utf-8") as file:
        before = file.read()
    try:
        with open(lab.SMB_CONF, "a", encoding="utf-8") as file:
            file.write(f"\ninclude = {included}\n")
        subprocess.run(["smbcontrol", "-s", lab.SMB_CONF, "smbd", "reload-config"], check=True)
        walk(lab, "included")
    finally:
        with open(lab.SMB_CONF, "w", encoding="utf-8") as file:
            file.write(before)
        subprocess.run(["smbcontrol", "-s", lab.SMB_CONF, "smbd", "reload-config"], check=True)
