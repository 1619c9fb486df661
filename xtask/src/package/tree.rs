//! The files of a package, as they will lie on the machine.

use fsrvp_testkit::{Error, Run};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Shells with completions: clap's name, and where Debian keeps them.
const COMPLETIONS: &[(&str, &str)] = &[
    ("bash", "usr/share/bash-completion/completions/fsrvpctl"),
    ("zsh", "usr/share/zsh/vendor-completions/_fsrvpctl"),
    ("fish", "usr/share/fish/vendor_completions.d/fsrvpctl.fish"),
];

/// A root that is filled from the workspace.
pub(super) struct Tree {
    workspace: PathBuf,
    root: PathBuf,
}

impl Tree {
    pub(super) fn new(workspace: &Path, root: &Path) -> Result<Self, Error> {
        fs::create_dir_all(root).map_err(Error::file(root))?;
        // dpkg-deb takes the mode of `/` from here.
        mode(root, 0o755)?;
        Ok(Self {
            workspace: workspace.to_owned(),
            root: root.to_owned(),
        })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// A file of the workspace as text.
    pub(super) fn source(&self, path: &str) -> Result<String, Error> {
        let path = self.workspace.join(path);
        fs::read_to_string(&path).map_err(Error::file(&path))
    }

    /// Copies a file of the workspace.
    pub(super) fn copy(&self, from: &str, to: &str, bits: u32) -> Result<(), Error> {
        self.place(&self.workspace.join(from), to, bits)
    }

    /// Copies every file in a directory of the workspace.
    pub(super) fn directory(&self, from: &str, to: &str, bits: u32) -> Result<(), Error> {
        let from = self.workspace.join(from);
        for entry in fs::read_dir(&from).map_err(Error::file(&from))? {
            let path = entry.map_err(Error::file(&from))?.path();
            if let (true, Some(name)) = (path.is_file(), path.file_name()) {
                let name = name.to_string_lossy();
                self.place(&path, &format!("{to}/{name}"), bits)?;
            }
        }
        Ok(())
    }

    /// Copies a program, without what only a debugger needs.
    pub(super) fn program(&self, from: &Path, to: &str) -> Result<(), Error> {
        self.place(from, to, 0o755)?;
        let strip = Run::new("strip").args(["--strip-unneeded", "--remove-section=.comment"]);
        strip.arg(self.root.join(to)).check().map(drop)
    }

    /// A file with this content.
    pub(super) fn write(&self, to: &str, content: &str, bits: u32) -> Result<(), Error> {
        let path = self.parent(to)?;
        fs::write(&path, content).map_err(Error::file(&path))?;
        mode(&path, bits)
    }

    /// Copies a file of the workspace, compressed.
    pub(super) fn compressed(&self, from: &str, to: &str) -> Result<(), Error> {
        let plain = to.strip_suffix(".gz").unwrap_or(to);
        self.copy(from, plain, 0o644)?;
        self.compress(&self.root.join(plain))
    }

    /// What fsrvpctl tells of itself: manual pages and completions.
    pub(super) fn generated(&self, fsrvpctl: &Path) -> Result<(), Error> {
        let pages = self.parent("usr/share/man/man1/fsrvpctl.1")?;
        let directory = pages.parent().unwrap_or(&self.root).to_owned();
        Run::new(fsrvpctl).arg("man").arg(&directory).check()?;
        for entry in fs::read_dir(&directory).map_err(Error::file(&directory))? {
            let page = entry.map_err(Error::file(&directory))?.path();
            mode(&page, 0o644)?;
            self.compress(&page)?;
        }
        for (shell, to) in COMPLETIONS {
            let output = Run::new(fsrvpctl).args(["completions", shell]).check()?;
            self.write(to, &output.stdout, 0o644)?;
        }
        Ok(())
    }

    fn compress(&self, path: &Path) -> Result<(), Error> {
        let gzip = Run::new("gzip").args(["--best", "--no-name", "--force"]);
        gzip.arg(path).check().map(drop)
    }

    fn place(&self, from: &Path, to: &str, bits: u32) -> Result<(), Error> {
        let path = self.parent(to)?;
        fs::copy(from, &path).map_err(Error::file(from))?;
        mode(&path, bits)
    }

    /// The place of a file, whose directories are made.
    fn parent(&self, to: &str) -> Result<PathBuf, Error> {
        let path = self.root.join(to);
        let mut missing: Vec<_> = path
            .ancestors()
            .skip(1)
            .take_while(|directory| !directory.exists())
            .collect();
        while let Some(directory) = missing.pop() {
            fs::create_dir(directory).map_err(Error::file(directory))?;
            mode(directory, 0o755)?;
        }
        Ok(path)
    }
}

fn mode(path: &Path, bits: u32) -> Result<(), Error> {
    fs::set_permissions(path, fs::Permissions::from_mode(bits)).map_err(Error::file(path))
}
