//! The share directory of a Samba server.

use super::connections::{Handles, Target, cut, used};
use super::definition::{Definition, parse_sections};
use super::helper::{Helper, HelperConfig};
use super::means::{Means, MeansError, Published};
use super::message;
use super::sources::Sources;
use super::tools::Tools;
use crate::children::Children;
use crate::command::Tool;
use crate::config::{ConfigError, SambaFacts, WITHOUT_REGISTRY};
use fsrvp_idl::ShareName;
use fsrvp_proto::ShareDirectory;
use fsrvp_proto::directory::{BaseShare, ExposedShare, Publication};
use fsrvp_proto::job::{Failure, FailureKind};
use fsrvp_sys::crash;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Every point of the share directory at which [`fsrvp_sys::crash`] can end the process.
pub const CRASH_POINTS: &[&str] = &[
    "directory.publish.before",
    "directory.publish.after",
    "directory.read_only.after_redefine",
    "directory.withdraw.after_remove",
];

/// How long `testparm` may take.
const TESTPARM_LIMIT: Duration = Duration::from_secs(30);
/// Sections of smb.conf that are no shares with a directory of their own.
const SPECIAL: [&str; 4] = ["global", "homes", "printers", "ipc$"];

/// How to reach a Samba server's shares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SambaConfig {
    /// The file that smbd uses.
    pub smb_conf: PathBuf,
    /// With what this agent's shares are marked; another agent's shares are never touched. Stable
    /// over restarts, different for every agent that shares the registry.
    pub mark: String,
    /// The resident helper; `None` does without.
    pub helper: Option<HelperConfig>,
    /// How long smbd's processes may take to let go of a share.
    pub disconnect_limit: Duration,
    /// What an earlier process with this configuration may have left.
    pub earlier: Earlier,
}

/// An earlier process that may have been killed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Earlier {
    /// A file by which the programs are known that it has started: they are waited for. The same
    /// for every process with this mark; made if it is missing.
    pub children: Option<PathBuf>,
    /// Its number: its message socket goes.
    pub process: Option<u32>,
}

impl SambaConfig {
    /// With the helper and a limit of 10 s.
    #[must_use]
    pub fn new(smb_conf: impl Into<PathBuf>, mark: impl Into<String>) -> Self {
        Self {
            smb_conf: smb_conf.into(),
            mark: mark.into(),
            helper: Some(HelperConfig::default()),
            disconnect_limit: Duration::from_secs(10),
            earlier: Earlier::default(),
        }
    }
}

/// The shares of a Samba server: base shares wherever they are defined, exposed ones in Samba's
/// registry, each with our mark.
///
/// Definitions that stand in files are cached and read again when a file has changed; those in
/// the registry are read each time. Shares that users define (`net usershare`) are not seen by
/// `testparm` and cannot be copied: they are [`FailureKind::Unsupported`].
pub struct SambaDirectory {
    config: SambaConfig,
    helper: Option<Helper>,
    tools: Tools,
    view: Mutex<Arc<View>>,
    /// One change of the registry at a time, whichever means makes it.
    changing: Mutex<()>,
}

/// What the configuration files say.
struct View {
    sources: Sources,
    facts: SambaFacts,
    global: Definition,
    /// By name in lower case.
    shares: HashMap<String, Definition>,
}

impl View {
    fn read(smb_conf: &Path, state_directory: Option<&Path>) -> Result<Self, ConfigError> {
        // The first walk does not know the registry's place; a configuration that depends on the
        // registry is then read a second time.
        let registry = |directory: &Path| directory.join("registry.tdb");
        let guess = registry(state_directory.unwrap_or(Path::new("")));
        let mut sources = Sources::walk(smb_conf, &guess);
        let facts = SambaFacts::read(smb_conf)?;
        if guess != registry(&facts.state_directory) {
            sources = Sources::walk(smb_conf, &registry(&facts.state_directory));
        }
        let output = Tool::new("testparm")
            .arg("-s")
            .arg(WITHOUT_REGISTRY)
            .arg(smb_conf)
            .run(TESTPARM_LIMIT)
            .map_err(|source| ConfigError::Testparm {
                path: smb_conf.to_owned(),
                source,
            })?;
        let mut global = Definition::new("global");
        let mut shares = HashMap::new();
        for section in parse_sections(&output.stdout) {
            let folded = section.name.to_lowercase();
            if folded == "global" {
                global = section;
            } else if sources.has_section(&folded) {
                shares.insert(folded, section);
            }
        }
        Ok(Self {
            sources,
            facts,
            global,
            shares,
        })
    }
}

impl SambaDirectory {
    /// Reads the configuration and starts the helper. Without a helper that works, Samba's tools
    /// are used, which is slower.
    ///
    /// # Errors
    /// The configuration cannot be read or cannot be served; the text says what to do.
    pub fn open(config: SambaConfig) -> Result<Self, ConfigError> {
        let children = match &config.earlier.children {
            Some(path) => {
                let unusable = |source| ConfigError::Children {
                    path: path.clone(),
                    source,
                };
                Some(Children::alone_with(path).map_err(unusable)?)
            }
            None => None,
        };
        let view = View::read(&config.smb_conf, None)?;
        if let Some(process) = config.earlier.process {
            message::sweep(&view.facts.lock_directory, process);
        }
        let helper = config.helper.clone().map(|helper| {
            let (smb_conf, mark) = (config.smb_conf.clone(), config.mark.clone());
            Helper::new(helper, smb_conf, mark, children.clone())
        });
        if let Some(helper) = &helper
            && let Err(error) = helper.start()
        {
            tracing::warn!(
                %error,
                "working with Samba's tools; install python3-samba for a faster agent"
            );
        }
        let tools = Tools::new(
            config.smb_conf.clone(),
            view.facts.state_directory.clone(),
            config.mark.clone(),
            children,
        );
        Ok(Self {
            config,
            helper,
            tools,
            view: Mutex::new(Arc::new(view)),
            changing: Mutex::new(()),
        })
    }

    /// What the configuration says of the server as a whole.
    ///
    /// # Errors
    /// It has changed and cannot be read any more.
    pub fn facts(&self) -> Result<SambaFacts, ConfigError> {
        Ok(self.view()?.facts.clone())
    }

    /// Process id of the resident helper, if it runs.
    #[must_use]
    pub fn helper_process(&self) -> Option<u32> {
        self.helper.as_ref().and_then(Helper::process)
    }

    /// The configuration as it is now.
    fn view(&self) -> Result<Arc<View>, ConfigError> {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        if !view.sources.is_fresh() {
            let state_directory = view.facts.state_directory.clone();
            *view = Arc::new(View::read(&self.config.smb_conf, Some(&state_directory))?);
        }
        Ok(Arc::clone(&view))
    }

    /// Does `work` with the helper, or with the tools if the helper is not there.
    fn with_means<T>(
        &self,
        work: impl Fn(&dyn Means) -> Result<T, MeansError>,
    ) -> Result<T, MeansError> {
        if let Some(helper) = &self.helper {
            match work(helper) {
                Err(MeansError::Unavailable(reason)) => {
                    tracing::debug!(reason, "using Samba's tools");
                }
                result => return result,
            }
        }
        work(&self.tools)
    }

    /// The definition of a share, wherever it stands.
    fn definition(&self, view: &View, name: &ShareName) -> Result<Definition, Failure> {
        let folded = name.folded();
        let missing = || {
            Failure::new(
                FailureKind::NotFound,
                format!(
                    "Samba has no share {:?}; if it was deleted or renamed, begin a new backup \
                     with the shares as they are now",
                    name.as_str()
                ),
            )
        };
        if SPECIAL.contains(&folded.as_str()) || folded.is_empty() {
            return Err(missing());
        }
        if view.sources.has_section(&folded) {
            return view.shares.get(&folded).cloned().ok_or_else(missing);
        }
        let share = self.with_means(|means| means.share(name.as_str()))?;
        match share {
            Some(share) if share.get("copy").is_some() || share.get("include").is_some() => {
                self.resolved(name)?.ok_or_else(missing)
            }
            Some(share) => Ok(share),
            None if is_usershare(view, &folded) => Err(Failure::new(
                FailureKind::Unsupported,
                format!(
                    "the share {:?} is defined by a user (net usershare); \
                     define it in smb.conf or in the registry",
                    name.as_str()
                ),
            )),
            None => Err(missing()),
        }
    }

    /// A share of the registry that refers to others, as `testparm` understands it.
    fn resolved(&self, name: &ShareName) -> Result<Option<Definition>, Failure> {
        let output = Tool::new("testparm")
            .arg("-s")
            .arg(format!("--section-name={}", name.as_str()))
            .arg(&self.config.smb_conf)
            .run(TESTPARM_LIMIT)
            .map_err(|error| Failure::new(FailureKind::Other, error.to_string()))?;
        Ok(parse_sections(&output.stdout).into_iter().next())
    }

    /// The definition of a share that can be copied.
    fn base(&self, view: &View, name: &ShareName) -> Result<Definition, Failure> {
        let definition = self.definition(view, name)?;
        if definition.get("available").is_some() && !definition.is_set("available") {
            return Err(Failure::new(
                FailureKind::NotFound,
                format!(
                    "the share {:?} is switched off; remove \"available = no\"",
                    name.as_str()
                ),
            ));
        }
        match definition.obstacle() {
            None => Ok(definition),
            Some(obstacle) => Err(Failure::new(
                FailureKind::Unsupported,
                format!("the share {:?} cannot be copied: {obstacle}", name.as_str()),
            )),
        }
    }

    fn prepare(&self, view: &View, publication: &Publication) -> Result<Published, Failure> {
        let exposure = &publication.exposure;
        let folded = ShareName::new(exposure.name.as_str()).folded();
        if view.sources.has_section(&folded) {
            return Err(MeansError::Foreign(exposure.name.clone()).into());
        }
        let base = self.base(view, &exposure.base)?;
        let definition = base
            .clone_for(publication, &view.global, &self.config.mark)
            .map_err(|text| Failure::new(FailureKind::Unsupported, text))?;
        Ok(Published {
            definition,
            base: base.name,
        })
    }

    /// Our shares among `names`, which must all exist.
    fn ours(&self, names: &[String]) -> Result<Vec<Definition>, Failure> {
        names
            .iter()
            .map(|name| match self.with_means(|means| means.share(name))? {
                None => Err(MeansError::NotFound(name.clone()).into()),
                Some(share) if share.is_marked(&self.config.mark) => Ok(share),
                Some(share) => Err(MeansError::Foreign(share.name).into()),
            })
            .collect()
    }
}

impl ShareDirectory for SambaDirectory {
    fn lookup(&self, share: &ShareName) -> Result<BaseShare, Failure> {
        let view = self.view().map_err(unreadable)?;
        let definition = self.base(&view, share)?;
        let path = definition.get("path").unwrap_or_default().into();
        Ok(BaseShare {
            name: ShareName::new(definition.name),
            path,
        })
    }

    fn publish(&self, shares: &[Publication]) -> Result<(), Failure> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let view = self.view().map_err(unreadable)?;
        let clones = shares
            .iter()
            .map(|publication| self.prepare(&view, publication))
            .collect::<Result<Vec<_>, _>>()?;
        crash::point("directory.publish.before");
        self.with_means(|means| means.publish(&clones))
            .map_err(|error| {
                let names = clones.iter().map(|clone| clone.definition.name.as_str());
                unchanged(&view, names, error)
            })?;
        crash::point("directory.publish.after");
        Ok(())
    }

    fn make_read_only(&self, names: &[String]) -> Result<(), Failure> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let view = self.view().map_err(unreadable)?;
        let mut shares = self.ours(names)?;
        for share in &mut shares {
            share.seal(&view.global);
        }
        self.with_means(|means| means.redefine(&shares))
            .map_err(|error| unchanged(&view, names.iter().map(String::as_str), error))?;
        crash::point("directory.read_only.after_redefine");
        let limit = self.config.disconnect_limit;
        let targets: Vec<Target> = shares.iter().map(target).collect();
        cut(
            &self.config.smb_conf,
            &view.facts,
            &targets,
            Handles::Writable,
            limit,
        )
        .map_err(|error| Failure::new(FailureKind::Other, error.to_string()))
    }

    fn withdraw(&self, name: &str) -> Result<(), Failure> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let view = self.view().map_err(unreadable)?;
        let share = self
            .with_means(|means| means.remove(name))
            .map_err(|error| unchanged(&view, [name], error))?;
        let withdrawn = share.as_ref().map_or_else(
            || Target {
                name: name.to_owned(),
                path: PathBuf::new(),
            },
            target,
        );
        crash::point("directory.withdraw.after_remove");
        // The share has gone whatever becomes of the connections: no client can come back.
        let limit = self.config.disconnect_limit;
        if let Err(error) = cut(
            &self.config.smb_conf,
            &view.facts,
            &[withdrawn],
            Handles::Any,
            limit,
        ) {
            tracing::warn!(share = name, %error, "clients of a withdrawn share may linger");
        }
        Ok(())
    }

    fn exposed(&self) -> Result<Vec<ExposedShare>, Failure> {
        let shares = self.with_means(|means| means.shares())?;
        Ok(shares
            .into_iter()
            .filter(|share| share.is_marked(&self.config.mark))
            .map(|share| ExposedShare {
                path: share.get("path").unwrap_or_default().into(),
                read_only: share.is_read_only(),
                name: share.name,
            })
            .collect())
    }

    fn bases(&self) -> Result<Vec<ShareName>, Failure> {
        let view = self.view().map_err(unreadable)?;
        let in_files = view.shares.values().cloned();
        let in_registry = self.with_means(|means| means.shares())?;
        let bases = in_files
            .chain(in_registry)
            .filter(|share| !SPECIAL.contains(&share.name.to_lowercase().as_str()))
            .filter(|share| share.get("path").is_some() && !share.is_set("printable"))
            .filter(|share| !share.is_marked(&self.config.mark))
            .filter(|share| share.get("available").is_none() || share.is_set("available"));
        let names: BTreeSet<_> = bases.map(|share| ShareName::new(share.name)).collect();
        Ok(names.into_iter().collect())
    }

    fn in_use(&self, names: &[String]) -> Result<BTreeSet<String>, Failure> {
        let view = self.view().map_err(unreadable)?;
        let targets = names
            .iter()
            .map(|name| {
                let share = self.with_means(|means| means.share(name))?;
                let path = share.as_ref().and_then(|share| share.get("path"));
                Ok(Target {
                    name: name.clone(),
                    path: path.unwrap_or_default().into(),
                })
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        used(&self.config.smb_conf, &view.facts, &targets)
            .map_err(|error| Failure::new(FailureKind::Other, error.to_string()))
    }

    fn serving_process(&self) -> Option<u32> {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        view.facts.smbd()
    }

    fn server_names(&self) -> Result<Vec<String>, Failure> {
        Ok(self.view().map_err(unreadable)?.facts.names())
    }
}

fn target(share: &Definition) -> Target {
    Target {
        name: share.name.clone(),
        path: share.get("path").unwrap_or_default().into(),
    }
}

/// The registry could not be changed for these shares.
fn unchanged<'n>(
    view: &View,
    names: impl IntoIterator<Item = &'n str>,
    error: MeansError,
) -> Failure {
    let names = names.into_iter().collect::<Vec<_>>().join(", ");
    let registry = view.facts.state_directory.join("registry.tdb");
    let is_foreign = matches!(error, MeansError::Foreign(_));
    let failure = Failure::from(error);
    let detail = match failure.kind {
        FailureKind::Other if !is_foreign => format!(
            "Samba's registry {} could not be changed for {names}: {}; make sure that its file \
             system has space and can be written, and that nobody keeps it locked",
            registry.display(),
            failure.detail
        ),
        _ => failure.detail,
    };
    Failure { detail, ..failure }
}

fn unreadable(error: ConfigError) -> Failure {
    Failure::new(FailureKind::Other, error.to_string())
}

fn is_usershare(view: &View, folded: &str) -> bool {
    view.facts
        .usershare_directory
        .as_ref()
        .is_some_and(|directory| !folded.contains('/') && directory.join(folded).exists())
}
