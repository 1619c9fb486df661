"""After RecoveryComplete nobody changes the copy."""

import contextlib
import mmap
import os

from fsrvp import AUTO_RECOVERY, ZERO, Agent, Wrong, expect


@contextlib.contextmanager
def recovered_copy(lab, share, before):
    """A copy with a file `made`; what `before` yields is alive when the copy is sealed."""
    with Agent(lab, level=lab.LEVEL) as agent:
        agent.settle()
        name = lab.unc(share)
        set_id, [(copy_id, mapping)] = agent.create(AUTO_RECOVERY, name)
        exposed = mapping["share"]
        expect("a file can be made", lab.put(exposed, "made", b"x" * 4096), True)
        with before(exposed) as held:
            expect("RecoveryComplete", agent.recovery_complete(set_id), ZERO)
            yield exposed, held
            expect("the content is what it was", lab.read(exposed, "made"), b"x" * 4096)
            expect("nothing was added", "late" in lab.smbclient(exposed, "ls")[1], False)
        agent.remove(set_id, name, copy_id)


def case_a_new_connection_cannot_write(lab):
    with recovered_copy(lab, lab.SHARE_A, lambda _: contextlib.nullcontext()) as (exposed, _):
        for who in ("backup", "admin"):
            expect("put", lab.put(exposed, "late", b"late", who), False)
            expect("put over", lab.put(exposed, "made", b"late", who), False)
            for command in ("del made", "mkdir late", "rename made late", "rmdir late",
                            "chmod 777 made", 'setmode made +r', "allinfo made"):
                lab.smbclient(exposed, command, who)


def case_an_open_handle_cannot_write(lab):
    from impacket.smb3structs import FILE_OPEN, FILE_SHARE_READ, FILE_SHARE_WRITE
    from impacket.smbconnection import SMBConnection

    @contextlib.contextmanager
    def handle(exposed):
        user, password = lab.account("backup")
        smb = SMBConnection(lab.SERVER_NAME, lab.HOST, sess_port=int(lab.PORT), timeout=30)
        smb.login(user, password)
        tree = smb.connectTree(exposed)
        file = smb.openFile(tree, "made", desiredAccess=0x12019F, creationDisposition=FILE_OPEN,
                            shareMode=FILE_SHARE_READ | FILE_SHARE_WRITE)
        smb.writeFile(tree, file, b"x" * 16)
        yield smb, tree, file
        with contextlib.suppress(Exception):
            smb.close()

    with recovered_copy(lab, lab.SHARE_A, handle) as (_, (smb, tree, file)):
        try:
            smb.writeFile(tree, file, b"late")
        except Exception:  # noqa: BLE001 whatever impacket makes of a handle that has gone
            return
        raise Wrong("a handle that was open still writes")


def case_root_cannot_write_where_smbd_serves(lab):
    @contextlib.contextmanager
    def handles(exposed):
        path = lab.path_of(exposed)
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        file = os.open(os.path.join(path, "made"), os.O_RDWR)
        view = mmap.mmap(file, 4096)
        yield path, folder, file, view
        os.close(file)
        os.close(folder)

    for share in (lab.SHARE_A, lab.SHARE_SUBDIR):
        with recovered_copy(lab, share, handles) as (exposed, (path, folder, file, view)):
            expect("the path that is served", lab.path_of(exposed), path)
            made = os.path.join(path, "made")
            tries = {
                "open for writing": lambda: os.open(made, os.O_WRONLY),
                "truncate": lambda: os.truncate(made, 0),
                "create": lambda: os.open(os.path.join(path, "late"), os.O_CREAT | os.O_WRONLY),
                "unlink": lambda: os.unlink(made),
                "rename": lambda: os.rename(made, os.path.join(path, "late")),
                "mkdir": lambda: os.mkdir(os.path.join(path, "late")),
                "chmod": lambda: os.chmod(made, 0o777),
                "setxattr": lambda: os.setxattr(made, "user.late", b"late"),
                "utime": lambda: os.utime(made, (1, 1)),
            }
            for what, attempt in tries.items():
                try:
                    attempt()
                except OSError:
                    continue
                raise Wrong(f"root can {what} in the sealed copy")
            # These were open before: whatever they reach, it must not be the copy.
            for attempt in (lambda: os.pwrite(file, b"late", 0), lambda: view.flush(),
                            lambda: view.write(b"late"),
                            lambda: os.open("late", os.O_CREAT | os.O_WRONLY, dir_fd=folder)):
                with contextlib.suppress(OSError, ValueError):
                    attempt()
            with contextlib.suppress(OSError, ValueError):
                view.flush()
            with open(made, "rb") as now:
                expect("the file under the served path", now.read(), b"x" * 4096)
            expect("what is under the served path", "late" in os.listdir(path), False)


def case_readers_stay_in_read_only_copies(lab):
    from impacket.smbconnection import SMBConnection

    expect("a file on the base share", lab.put(lab.SHARE_A, "read.me", b"content"), True)
    with Agent(lab, level=lab.LEVEL) as agent:
        agent.settle()
        name = lab.unc(lab.SHARE_A)
        set_id, [(copy_id, mapping)] = agent.create(0x10, name)
        expect("it cannot be written", lab.put(mapping["share"], "late", b"late"), False)
        user, password = lab.account("backup")
        smb = SMBConnection(lab.SERVER_NAME, lab.HOST, sess_port=int(lab.PORT), timeout=30)
        smb.login(user, password)
        tree = smb.connectTree(mapping["share"])
        file = smb.openFile(tree, "read.me", desiredAccess=0x120089)
        expect("RecoveryComplete", agent.recovery_complete(set_id), ZERO)
        expect("the reader reads on", smb.readFile(tree, file), b"content")
        smb.close()
        agent.remove(set_id, name, copy_id)
