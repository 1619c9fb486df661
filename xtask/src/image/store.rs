//! Images as buildah keeps them.

use fsrvp_testkit::{Error, Run};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A directory with images and containers.
#[derive(Debug, Clone)]
pub(super) struct Store(PathBuf);

/// What an image says of how it is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Config {
    /// Program and arguments.
    pub(super) entrypoint: Vec<String>,
    /// Program and arguments that succeed while the container is healthy.
    pub(super) health: Vec<String>,
    /// Longest time of the health check.
    pub(super) health_limit: Duration,
}

impl Store {
    pub(super) fn new(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// buildah where there is no engine: no overlay, no runtime, only a change of the root.
    pub(super) fn buildah(&self, verb: &str) -> Run {
        Run::new("buildah")
            .args(self.options())
            .arg(verb)
            .env("BUILDAH_ISOLATION", "chroot")
            .limit(Duration::from_secs(3600))
    }

    pub(super) fn options(&self) -> [String; 6] {
        let root = self.0.display().to_string();
        let run_root = self.0.with_extension("run").display().to_string();
        [
            "--storage-driver",
            "vfs",
            "--root",
            &root,
            "--runroot",
            &run_root,
        ]
        .map(str::to_owned)
    }

    /// How somebody at a terminal begins.
    pub(super) fn line(&self) -> String {
        format!("buildah {}", self.options().join(" "))
    }

    /// A container of an image, not running.
    pub(super) fn container(&self, image: &str) -> Result<String, Error> {
        let made = self.buildah("from").args(["--pull=never", image]).check()?;
        Ok(made.stdout.trim().to_owned())
    }

    pub(super) fn remove(&self, container: &str) -> Result<(), Error> {
        self.buildah("rm").arg(container).check().map(drop)
    }

    pub(super) fn config(&self, image: &str) -> Result<Config, Error> {
        let inspect = self.buildah("inspect").args(["--type=image", image]);
        let text = inspect.check()?.stdout;
        config(&text).ok_or_else(|| {
            Error::Unfit(format!(
                "the image {image} has no entry point: build it again"
            ))
        })
    }
}

/// The part of `buildah inspect` that counts here.
fn config(inspected: &str) -> Option<Config> {
    let all: Value = serde_json::from_str(inspected).ok()?;
    let config = all.get("Docker")?.get("config")?;
    let words = |list: &Value| -> Option<Vec<String>> {
        let words = list.as_array()?.iter();
        words.map(|word| word.as_str().map(str::to_owned)).collect()
    };
    let health = config.get("Healthcheck");
    let test = health.and_then(|health| words(health.get("Test")?));
    let limit = health.and_then(|health| health.get("Timeout")?.as_u64());
    Some(Config {
        entrypoint: words(config.get("Entrypoint")?)?,
        // The first word says how the others are run.
        health: match test.as_deref() {
            Some([how, words @ ..]) if how == "CMD" => words.to_vec(),
            _ => Vec::new(),
        },
        health_limit: limit.map_or(Duration::from_secs(30), Duration::from_nanos),
    })
}

#[cfg(test)]
mod tests {
    use super::{Config, config};
    use std::time::Duration;

    #[test]
    fn how_an_image_is_run_is_read_from_its_description() {
        let text = r#"{"Docker": {"config": {"Entrypoint": ["/usr/bin/tini", "serve"],
            "Healthcheck": {"Test": ["CMD", "/healthy"], "Timeout": 10000000000}}}}"#;
        let wanted = Config {
            entrypoint: vec!["/usr/bin/tini".to_owned(), "serve".to_owned()],
            health: vec!["/healthy".to_owned()],
            health_limit: Duration::from_secs(10),
        };
        assert_eq!(config(text), Some(wanted));
        let without = config(r#"{"Docker": {"config": {"Entrypoint": ["a"]}}}"#);
        assert_eq!(without.map(|config| config.health), Some(Vec::new()));
        assert_eq!(config(r#"{"Docker": {"config": {}}}"#), None);
    }
}
