//! What SMB clients see of a share that comes and goes.

use crate::lab::{self, Lab};
use crate::{config, publication, samba_lab, with_both};
use fsrvp_proto::ShareDirectory;
use fsrvp_samba::directory::SambaDirectory;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// An SMB client that has a file open for writing until it is told to close it.
struct Writer {
    child: std::process::Child,
    input: std::process::ChildStdin,
    output: BufReader<std::process::ChildStdout>,
}

impl Writer {
    fn open(lab: &Lab, share: &str, file: &str) -> Self {
        let mut child = lab
            .client(share)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut writer = Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        };
        let answer = writer.ask(&format!("open {file}"), "open file");
        assert!(answer.contains("for read/write"), "{answer}");
        writer
    }

    /// Sends a command; gives the line of the answer that contains `mark` or an NT status.
    fn ask(&mut self, command: &str, mark: &str) -> String {
        writeln!(self.input, "{command}").unwrap();
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "{command}");
            if line.contains(mark) || line.contains("NT_STATUS") {
                return line;
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn clients_see_the_share_turn_read_only_and_vanish() {
    with_both(|lab, directory| {
        let copy = lab.data().join("copy");
        let share = "docs@{Cafe}";
        directory
            .publish(&[publication("docs", share, &copy, true)])
            .unwrap();
        std::fs::write(lab.path().join("new.txt"), "new").unwrap();
        let put = lab.smb(share, "put new.txt; get old.txt back.txt");
        assert!(!put.contains("NT_STATUS"), "{put}");
        let back = std::fs::read_to_string(lab.path().join("back.txt"));
        assert_eq!(back.unwrap(), "old");

        let mut writer = Writer::open(lab, share, "old.txt");
        std::fs::write(lab.data().join("docs/keep.txt"), "keep").unwrap();
        let mut other = Writer::open(lab, "docs", "keep.txt");
        let start = std::time::Instant::now();
        directory.make_read_only(&[share.to_owned()]).unwrap();
        println!("make_read_only with a client: {:?}", start.elapsed());
        let open = open_files_below(&copy, directory.serving_process().unwrap());
        assert!(open.is_empty(), "{open:?}");
        let answer = writer.ask("open old.txt", "open file");
        assert!(
            answer.contains("NETWORK_NAME_DELETED") || answer.contains("CONNECTION"),
            "{answer}"
        );
        // Others are not disturbed.
        let answer = other.ask("open keep.txt", "open file");
        assert!(answer.contains("for read/write"), "{answer}");

        let put = lab.smb(share, "put new.txt late.txt");
        assert!(
            put.contains("NT_STATUS_ACCESS_DENIED") || put.contains("MEDIA_WRITE_PROTECTED"),
            "{put}"
        );
        let get = lab.smb(share, "get old.txt back.txt");
        assert!(!get.contains("NT_STATUS"), "{get}");

        directory.withdraw(share).unwrap();
        let gone = lab.smb(share, "ls");
        assert!(gone.contains("NT_STATUS_BAD_NETWORK_NAME"), "{gone}");
    });
}

#[test]
fn clients_are_cut_without_a_message_socket_too() {
    if !lab::can_run() {
        return;
    }
    let lab = samba_lab();
    let directory = SambaDirectory::open(config(&lab, false)).unwrap();
    let copy = lab.data().join("copy");
    let share = "docs@{Cafe}";
    directory
        .publish(&[publication("docs", share, &copy, true)])
        .unwrap();
    let mut writer = Writer::open(&lab, share, "old.txt");
    // What has our socket's name cannot be removed, so smbcontrol has to do.
    let socket = lab
        .path()
        .join("lock/msg.sock")
        .join(std::process::id().to_string());
    std::fs::create_dir(&socket).unwrap();
    directory.make_read_only(&[share.to_owned()]).unwrap();
    assert!(socket.is_dir());
    let open = open_files_below(&copy, directory.serving_process().unwrap());
    assert!(open.is_empty(), "{open:?}");
    let answer = writer.ask("open old.txt", "open file");
    assert!(answer.contains("NT_STATUS"), "{answer}");
}

fn open_files_below(directory: &Path, smbd: u32) -> Vec<PathBuf> {
    let children = std::fs::read_to_string(format!("/proc/{smbd}/task/{smbd}/children")).unwrap();
    children
        .split_whitespace()
        .filter_map(|pid| std::fs::read_dir(format!("/proc/{pid}/fd")).ok())
        .flat_map(|table| table.flatten())
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter(|path| path.starts_with(directory))
        .collect()
}
