//! Share definitions as Samba's tools print them, and what becomes of one when it is cloned.

use fsrvp_proto::directory::Publication;
use std::path::Path;

/// Parametric option that marks a share as ours; its value is the server's mark.
pub(crate) const MARK_SERVER: &str = "fsrvpd:server";
/// Parametric option with the shadow copy's id, for people.
const MARK_COPY: &str = "fsrvpd:shadow copy";
/// Parametric option with the base share's name, for people.
const MARK_BASE: &str = "fsrvpd:base";

/// VFS modules that a clone must not have: with a snapshot directory set, a writable shadow copy
/// that lies inside that directory cannot be written.
const DROPPED_MODULES: [&str; 2] = ["shadow_copy", "shadow_copy2"];

/// A section of smb.conf or a share of the registry: its parameters under canonical names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Definition {
    pub(crate) name: String,
    parameters: Vec<(String, String)>,
}

impl Definition {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            parameters: Vec::new(),
        }
    }

    /// A share with `parameters` as the registry has them.
    pub(crate) fn from_parameters(
        name: impl Into<String>,
        parameters: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let mut definition = Self::new(name);
        for (key, value) in parameters {
            definition.set(&key, value);
        }
        definition
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// Whether a boolean parameter is there and true.
    pub(crate) fn is_set(&self, key: &str) -> bool {
        self.get(key).is_some_and(truth)
    }

    pub(crate) fn parameters(&self) -> &[(String, String)] {
        &self.parameters
    }

    /// Sets a parameter, by any of its names.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<String>) {
        let (key, value) = canonical(key, value.into());
        match self.parameters.iter_mut().find(|(name, _)| *name == key) {
            Some((_, old)) => *old = value,
            None => self.parameters.push((key, value)),
        }
    }

    fn remove(&mut self, keep: impl Fn(&str) -> bool) {
        self.parameters.retain(|(name, _)| keep(name));
    }

    /// Whether this share bears `mark`.
    pub(crate) fn is_marked(&self, mark: &str) -> bool {
        self.get(MARK_SERVER) == Some(mark)
    }

    /// Whether clients may write; `default` is what `[global]` says for shares that do not say.
    pub(crate) fn is_read_only(&self) -> bool {
        self.get("read only").is_none_or(truth)
    }

    /// Why the share cannot be copied, if so: a kind of share without a directory of its own.
    pub(crate) fn obstacle(&self) -> Option<String> {
        let path = self.get("path").unwrap_or_default();
        let modules = self.get("vfs objects").unwrap_or_default();
        if path.is_empty() {
            Some("it has no path".to_owned())
        } else if path.contains('%') {
            Some(format!(
                "its path {path:?} depends on the user (% substitution)"
            ))
        } else if !Path::new(path).is_absolute() {
            Some(format!("its path {path:?} is not absolute"))
        } else if self.is_set("printable") {
            Some("it is a printer".to_owned())
        } else if self.get("msdfs proxy").is_some_and(|to| !to.is_empty()) {
            Some("it is an msdfs proxy".to_owned())
        } else {
            modules
                .split_whitespace()
                .find(|module| module.starts_with("glusterfs") || module.starts_with("ceph"))
                .map(|module| format!("its files are not local (VFS module {module})"))
        }
    }

    /// The definition under which `publication` is exposed. `global` holds the defaults that
    /// `self` inherits without saying so.
    pub(crate) fn clone_for(
        &self,
        publication: &Publication,
        global: &Definition,
        mark: &str,
    ) -> Result<Self, String> {
        let exposure = &publication.exposure;
        let path = registry_value(&publication.path)?;
        let mut clone = self.clone();
        clone.name.clone_from(&exposure.name);
        clone.remove(|key| {
            !matches!(key, "copy" | "include" | "available" | "comment")
                && !key.starts_with("shadow:")
                && !key.starts_with("fsrvpd:")
                && key != "btrfs:manipulate snapshots"
        });
        let modules = self
            .get("vfs objects")
            .or_else(|| global.get("vfs objects"))
            .unwrap_or_default();
        let kept: Vec<&str> = modules
            .split_whitespace()
            .filter(|module| !is_dropped(module))
            .collect();
        if kept.len() != modules.split_whitespace().count() {
            clone.set("vfs objects", kept.join(" "));
        }
        clone.set("path", path);
        clone.set(
            "comment",
            format!("Shadow copy of {}", exposure.base.as_str()),
        );
        if exposure.writable {
            clone.set("read only", "no");
        } else {
            clone.seal(global);
        }
        clone.set(MARK_SERVER, mark);
        clone.set(MARK_COPY, exposure.copy.copy.to_string());
        clone.set(MARK_BASE, exposure.base.as_str());
        Ok(clone)
    }

    /// Makes the definition read-only for everybody: `write list` would be stronger.
    pub(crate) fn seal(&mut self, global: &Definition) {
        self.set("read only", "yes");
        let exceptions = |definition: &Self| {
            definition
                .get("write list")
                .is_some_and(|list| !list.is_empty())
        };
        if exceptions(self) || exceptions(global) {
            self.set("write list", "");
        }
    }
}

fn is_dropped(module: &str) -> bool {
    // A module may be given with an instance name, as in `shadow_copy2:daily`.
    let name = module.split(':').next().unwrap_or(module);
    DROPPED_MODULES.contains(&name)
}

/// A path as the value of a parameter: smbd must read back exactly this text.
fn registry_value(path: &Path) -> Result<String, String> {
    let refuse = |why: &str| Err(format!("the path {} {why}", path.display()));
    let Some(text) = path.to_str() else {
        return refuse("is not UTF-8");
    };
    if text.contains('%') {
        return refuse("holds a %, which smbd would substitute");
    }
    if text.chars().any(char::is_control) {
        return refuse("holds a control character");
    }
    if text.trim() != text || text.ends_with('\\') || text.contains('"') {
        return refuse("begins or ends with white space, ends with a backslash or holds a quote");
    }
    Ok(text.to_owned())
}

/// A boolean as Samba reads it.
pub(super) fn truth(value: &str) -> bool {
    let value = value.trim();
    ["yes", "true", "on", "1"]
        .iter()
        .any(|yes| value.eq_ignore_ascii_case(yes))
}

/// The canonical name of a parameter, with the value turned round for inverse synonyms.
fn canonical(key: &str, value: String) -> (String, String) {
    let key = key
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_lowercase();
    let inverse = |value: &str| if truth(value) { "no" } else { "yes" }.to_owned();
    match key.as_str() {
        "writeable" | "writable" | "write ok" => ("read only".to_owned(), inverse(&value)),
        "directory" => ("path".to_owned(), value),
        "browsable" => ("browseable".to_owned(), value),
        "print ok" => ("printable".to_owned(), value),
        "vfs object" => ("vfs objects".to_owned(), value),
        _ => match key.split_once(':') {
            Some((kind, option)) => (format!("{}:{}", kind.trim(), option.trim()), value),
            None => (key, value),
        },
    }
}

/// Reads what `testparm -s` and `net conf list` print.
pub(crate) fn parse_sections(text: &str) -> Vec<Definition> {
    let mut sections: Vec<Definition> = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            sections.push(Definition::new(name));
        } else if !line.starts_with(['#', ';'])
            && let Some((key, value)) = line.split_once('=')
            && let Some(section) = sections.last_mut()
        {
            section.set(key.trim(), value.trim());
        }
    }
    sections
}
