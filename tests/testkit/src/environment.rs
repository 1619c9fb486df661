//! The laboratory's environment file: one `KEY='value'` a line.

use crate::Error;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Keys and values, in the order of the file when written by a laboratory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment(Vec<(String, String)>);

impl Environment {
    /// Adds or replaces a value.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        let (key, value) = (key.into(), value.into());
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
    }

    /// A value.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value.as_str())
    }

    /// All of it.
    #[must_use]
    pub fn to_map(&self) -> BTreeMap<&str, &str> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(Error::file(path))?;
        let mut environment = Self::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let bare = value
                .strip_prefix('\'')
                .and_then(|value| value.strip_suffix('\''));
            environment.set(key, bare.unwrap_or(value));
        }
        Ok(environment)
    }

    /// Writes a file that only its owner can read, because it holds passwords. Readers see the old
    /// file or the new one.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Unfit`] for a value that single quotes cannot hold.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let mut text = String::new();
        for (key, value) in &self.0 {
            if value.contains(['\'', '\n']) {
                return Err(Error::Unfit(format!(
                    "{key} holds a quote or a line feed: {value:?}"
                )));
            }
            text.push_str(&format!("{key}='{value}'\n"));
        }
        let fresh = path.with_extension("new");
        let _ = fs::remove_file(&fresh);
        fs::OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&fresh)
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .and_then(|()| fs::rename(&fresh, path))
            .map_err(Error::file(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_a_shell_reads_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("env");
        let mut environment = Environment::default();
        environment.set("SHARE_HIDDEN", "hidden$");
        environment.set("CONFIG", "/a b/c=d");
        environment.set("CONFIG", "/a b/c=e");
        environment.write(&file).unwrap();
        assert_eq!(Environment::read(&file).unwrap(), environment);

        let script = format!(
            ". '{}'; printf %s \"$SHARE_HIDDEN|$CONFIG\"",
            file.display()
        );
        let shell = crate::Run::new("sh").args(["-c", &script]).check().unwrap();
        assert_eq!(shell.stdout, "hidden$|/a b/c=e");
    }

    #[test]
    fn a_quote_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut environment = Environment::default();
        environment.set("KEY", "it's");
        assert!(matches!(
            environment.write(&dir.path().join("env")),
            Err(Error::Unfit(_))
        ));
    }
}
