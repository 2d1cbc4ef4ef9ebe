//! The configuration in force: where it comes from, how it is replaced.
//!
//! [`Manager::acquire`] runs once at boot and asks in order: STATE, `talos.config.inline`, then where the platform keeps one
//! ([`Seek`]): labelled volumes, or a web server, which takes its time while the node serves its API.
//! [`Manager::apply`] takes a new one over the API, for good or on [`trial`]. Both check first ([`machine_config`]), store crash-safely
//! ([`store`]), then publish in `node.config`; who acts on a configuration watches that. A file on STATE that can no
//! longer be read is kept, shown as an error, and never replaced by somebody without a certificate.

pub mod diff;
pub mod document;
mod effects;
pub mod inline;
pub mod label;
pub mod store;
mod trial;
pub mod volumes;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use machine_config::{Config, MachineType, Parsed};
use tokio::{sync::Mutex, time::interval};

use document::Document;
use volumes::Label;

use crate::{
    node::{ActiveConfig, ApplyError, ApplyMode, ApplyOutcome, ConfigText, Node},
    platform::{
        self, Platform, Seek,
        download::{self, Next, Patience, Wanted},
    },
};

/// STATE's mount point.
const STATE: &str = "/system/state";

/// How often a node in maintenance looks for new volumes.
const LOOK: Duration = Duration::from_secs(3);

/// How long a new configuration waits for its turn before the caller is told to try again.
const TURN_WAIT: std::time::Duration = std::time::Duration::from_secs(2);

/// Owner of the configuration.
#[derive(Debug)]
pub struct Manager {
    node: Arc<Node>,
    folder: PathBuf,
    /// One change at a time.
    turn: Mutex<Turn>,
    /// STATE holds a configuration that is not usable: not a factory-fresh node.
    unreadable: RwLock<bool>,
}

/// What only one change at a time may touch.
#[derive(Debug, Default)]
struct Turn {
    /// The machine type once a configuration is in force: it may not change while the node runs.
    kind: Option<MachineType>,
    /// A configuration is on trial.
    trial: Option<trial::Trial>,
}

impl Manager {
    /// No configuration yet.
    #[must_use]
    pub fn new(node: &Arc<Node>) -> Self {
        Self::in_folder(node, Path::new(STATE))
    }

    fn in_folder(node: &Arc<Node>, folder: &Path) -> Self {
        Self { node: Arc::clone(node), folder: folder.into(), turn: Mutex::default(), unreadable: RwLock::default() }
    }

    /// Finds a configuration; afterwards `node.config` is settled and holds it, or why there is none.
    pub async fn acquire(self: &Arc<Self>, inline: Vec<String>, seek: Seek) {
        self.find(inline, seek).await;
        self.node.config.send_modify(|status| status.settled = true);
    }

    async fn find(self: &Arc<Self>, inline: Vec<String>, seek: Seek) {
        let mut turn = self.turn.lock().await;
        let state = self.clone();
        let stored = blocking(move || {
            let stored = store::load(&state.folder).map_err(|error| daemon::report(&error).to_string())?;
            let checked = |text| check(text).map_err(|problems| format!("the configuration on STATE is not valid: {problems}"));
            stored.map(checked).transpose()
        });
        match stored.await {
            Ok(Some((text, parsed))) => {
                let text = ConfigText::from(text);
                self.stored(&text);
                return self.activate(&mut turn, text, "state", parsed).await;
            }
            Ok(None) => {}
            Err(error) => return self.unusable(error),
        }
        match inline::decode(inline.iter().map(String::as_str)) {
            Ok(Some(text)) => return self.take(&mut turn, text, "inline").await,
            Ok(None) => {}
            Err(error) => self.report(daemon::report(&error).to_string()),
        }
        match seek {
            Seek::Volumes(labels) => {
                let names = volumes::candidates(&self.node.disk.borrow().name);
                self.look(&mut turn, names.clone(), labels).await;
                if turn.kind.is_none() {
                    let labels_text = labels.iter().map(|label| label.source()).collect::<Vec<_>>().join(" or ");
                    log::info!(target: "config", "no configuration: waiting for one over the API or on a volume labelled {labels_text}");
                    self.node.tasks.spawn(self.clone().watch_volumes(names, labels));
                }
            }
            Seek::Url(template) => self.begin_download(Wanted::Template(template)),
            Seek::Seed(seed) => self.begin_download(Wanted::Seed(seed)),
            Seek::Nothing => log::info!(target: "config", "no configuration: waiting for one over the API"),
        }
    }

    fn begin_download(self: &Arc<Self>, wanted: Wanted) {
        if self.refuses_strangers() {
            return self.report(format!("no configuration is asked for from {}: {}", wanted.source(), self.lost_text()));
        }
        log::info!(target: "config", "no configuration: waiting for one over the API or from a web server ({})", wanted.source());
        self.node.tasks.spawn(self.clone().download(wanted));
    }

    /// Fetches a configuration until there is one, from there or from elsewhere.
    async fn download(self: Arc<Self>, wanted: Wanted) {
        if self.unless_configured(download::network_up(&self.node)).await.is_none() {
            return;
        }
        let mut patience = Patience::new();
        let mut refused: Option<String> = None;
        loop {
            let failure = match self.unless_configured(self.fetch(&wanted)).await {
                None => return,
                Some(Ok(None)) => {
                    let source = wanted.source();
                    return log::info!(target: "config", "the document from {source} is for another system: waiting for one over the API");
                }
                Some(Ok(Some(text))) => {
                    let mut turn = self.turn.lock().await;
                    // The same mistakes need not be told twice.
                    if turn.kind.is_none() && refused.as_ref() != Some(&text) {
                        self.take(&mut turn, text.clone(), wanted.source()).await;
                        refused = Some(text);
                    }
                    if turn.kind.is_some() {
                        return;
                    }
                    None
                }
                Some(Err(failure)) => Some(failure),
            };
            if let Some(failure) = failure {
                match patience.failed(&failure) {
                    Next::Tell(text) => self.report_and_warn(format!("no configuration yet: {text}")),
                    Next::Remind(text) => log::info!(target: "config", "{text}"),
                    Next::Quiet => {}
                    Next::GiveUp(text) => return self.report_and_warn(format!("no configuration from a web server: {text}")),
                }
            }
            if self.unless_configured(patience.rest()).await.is_none() {
                return;
            }
        }
    }

    async fn fetch(&self, wanted: &Wanted) -> Result<Option<String>, download::Failure> {
        download::configuration(&self.node, &download::client()?, wanted).await
    }

    /// What `work` gives, unless there is a configuration first or the node stops.
    async fn unless_configured<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut config = self.node.config.subscribe();
        tokio::select! {
            () = self.node.stop.cancelled() => None,
            // The sender lives in the node.
            _ = config.wait_for(|config| config.active.is_some()) => {
                log::info!(target: "config", "the node is configured: nothing is fetched any more");
                None
            }
            found = work => Some(found),
        }
    }

    fn report_and_warn(&self, error: String) {
        self.node.warnings.push(error.clone());
        self.report(error);
    }

    /// In maintenance: looks at block devices that appear, until there is a configuration.
    async fn watch_volumes(self: Arc<Self>, mut seen: BTreeSet<String>, labels: &'static [Label]) {
        let mut ticks = interval(LOOK);
        loop {
            tokio::select! {
                () = self.node.stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let mut turn = self.turn.lock().await;
            if turn.kind.is_some() {
                return;
            }
            let names = volumes::candidates(&self.node.disk.borrow().name);
            let fresh: BTreeSet<String> = names.difference(&seen).cloned().collect();
            seen = names;
            if !fresh.is_empty() {
                self.look(&mut turn, fresh, labels).await;
            }
        }
    }

    async fn look(self: &Arc<Self>, turn: &mut Turn, names: BTreeSet<String>, labels: &'static [Label]) {
        let nocloud = self.node.platform.borrow().platform == Platform::NoCloud;
        let search = move || volumes::search(&names, labels, nocloud).map_err(|error| daemon::report(&error).to_string());
        let found = match blocking(search).await {
            Ok(Some(found)) => found,
            Ok(None) => return,
            Err(error) => return self.report(error),
        };
        if let Some(texts) = found.texts {
            platform::adopt(&self.node, texts).await;
        }
        match found.document {
            Document::Config(text) => self.take(turn, text, found.source).await,
            Document::Include(url) => self.begin_download(Wanted::Include(url)),
            Document::Foreign => {}
        }
    }

    /// A configuration from the machine's surroundings: checked, stored, put in force.
    async fn take(&self, turn: &mut Turn, text: String, source: &'static str) {
        if self.refuses_strangers() {
            return self.report(format!("the configuration from {source} is not taken: {}", self.lost_text()));
        }
        match parse(text).await {
            Ok((text, parsed)) => {
                let text = ConfigText::from(text);
                if let Err(ApplyError::Precondition(error) | ApplyError::Storage(error) | ApplyError::Invalid(error)) =
                    self.store(&text).await
                {
                    self.node.warnings.push(format!("the configuration from {source} is not stored: {error}"));
                    log::warn!(target: "config", "from {source}, in force but not stored: {error}");
                }
                self.activate(turn, text, source, parsed).await;
            }
            Err(problems) => self.report(format!("the configuration from {source} is not valid: {problems}")),
        }
    }

    /// Checks a new configuration and does with it what `mode` says.
    ///
    /// # Errors
    /// [`ApplyError`]; the old configuration stays in force and stored.
    pub async fn apply(self: &Arc<Self>, text: String, mode: ApplyMode, anonymous: bool) -> Result<ApplyOutcome, ApplyError> {
        // The look for a configuration volume takes turns too, for moments; another caller's change takes longer.
        let Ok(mut turn) = tokio::time::timeout(TURN_WAIT, self.turn.lock()).await else {
            return Err(ApplyError::Precondition("another configuration is being applied, try again".into()));
        };
        if anonymous && self.refuses_strangers() {
            return Err(ApplyError::Precondition(self.lost_text()));
        }
        if text.len() as u64 > store::MAX_BYTES {
            return Err(ApplyError::Invalid(format!("the configuration is larger than {} bytes", store::MAX_BYTES)));
        }
        let (text, parsed) = parse(text).await.map_err(ApplyError::Invalid)?;
        let text = ConfigText::from(text);
        if let Some(running) = turn.kind.filter(|running| *running != parsed.config.machine_type()) {
            let (old, new) = (running.as_str(), parsed.config.machine_type().as_str());
            return Err(ApplyError::Invalid(format!("the machine type cannot change from {old} to {new} while the node runs")));
        }
        let warnings = parsed.warnings.iter().map(ToString::to_string).collect();
        let details = match mode {
            ApplyMode::DryRun => self.dry_run(&text, &parsed.config),
            ApplyMode::Try(limit) => {
                self.try_out(&mut turn, text, parsed, limit).await?;
                format!("{}\nThe config is applied in 'try' mode and will be automatically reverted back in {}", done(mode), span(limit))
            }
            ApplyMode::Now => {
                self.store(&text).await?;
                turn.trial = None;
                self.activate(&mut turn, text, "api", parsed).await;
                done(mode).to_owned()
            }
            ApplyMode::Staged => {
                self.store(&text).await?;
                log::info!(target: "config", "a new configuration is stored for the next boot");
                done(mode).to_owned()
            }
        };
        Ok(ApplyOutcome { warnings, details })
    }

    fn dry_run(&self, text: &str, config: &Config) -> String {
        let active = self.node.config.borrow().active.clone();
        let changes = match machine_config::redact_pair(active.as_ref().map_or("", |active| &active.text), text) {
            Ok((old, new)) => diff::unified(&old, &new),
            Err(problems) => problems.to_string(), // cannot be: both were read before
        };
        let changes = if changes.is_empty() { "No changes.".to_owned() } else { changes };
        let effects = effects::effects(active.as_ref().map(|active| &active.config), config).join("\n  ");
        let done = done(ApplyMode::Now);
        format!("Dry run summary:\n{done} (skipped in dry-run).\nServices:\n  {effects}\nConfig diff:\n\n{changes}")
    }

    /// Puts a checked configuration in force.
    async fn activate(&self, turn: &mut Turn, text: ConfigText, source: &'static str, parsed: Parsed) {
        let kind = parsed.config.machine_type();
        self.put_in_force(turn, Arc::new(ActiveConfig { text, source, config: parsed.config }));
        // Who waits for it begins before people are told: consoles are slow.
        tokio::task::yield_now().await;
        log::info!(target: "config", "{} configuration from {source} in force", kind.as_str());
        for warning in machine_config::summary(&parsed.warnings) {
            log::warn!(target: "config", "{warning}");
            self.node.warnings.push(format!("config: {warning}"));
        }
    }

    fn put_in_force(&self, turn: &mut Turn, active: Arc<ActiveConfig>) {
        turn.kind = Some(active.config.machine_type());
        *self.unreadable.write().unwrap_or_else(PoisonError::into_inner) = false;
        self.node.config.send_modify(|status| {
            status.active = Some(active);
            status.error = None;
            status.settled = true;
        });
    }

    async fn store(&self, text: &ConfigText) -> Result<(), ApplyError> {
        if let Some(problem) = self.no_state() {
            return Err(ApplyError::Precondition(format!("the configuration cannot be stored: {problem}")));
        }
        let (folder, given) = (self.folder.clone(), text.clone());
        let stored = blocking(move || store::persist(&folder, &given).map_err(|error| daemon::report(&error).to_string()));
        stored.await.map_err(ApplyError::Storage)?;
        self.stored(text);
        Ok(())
    }

    fn stored(&self, text: &ConfigText) {
        self.node.config.send_modify(|status| status.stored = Some(text.clone()));
    }

    /// Why STATE cannot be written, if so: a file below its unmounted mount point would be gone with the next boot.
    fn no_state(&self) -> Option<String> {
        let disk = self.node.disk.borrow();
        (!disk.is_mounted(&self.folder)).then(|| disk.problem.clone().unwrap_or_else(|| "STATE is not mounted".to_owned()))
    }

    fn refuses_strangers(&self) -> bool {
        self.node.disk.borrow().state_lost || *self.unreadable.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost_text(&self) -> String {
        let why = match (self.node.disk.borrow().problem.clone(), self.node.config.borrow().error.clone()) {
            (Some(problem), _) => problem,
            (None, Some(error)) => error,
            (None, None) => "STATE cannot be used".to_owned(),
        };
        format!("this node was configured before and is not taken over without a client certificate: {why}")
    }

    fn unusable(&self, error: String) {
        *self.unreadable.write().unwrap_or_else(PoisonError::into_inner) = true;
        self.report(error);
    }

    fn report(&self, error: String) {
        log::error!(target: "config", "{error}");
        self.node.config.send_modify(|status| status.error = Some(error));
    }
}

/// What clients show after a change.
fn done(mode: ApplyMode) -> &'static str {
    match mode {
        ApplyMode::Staged => "Staged configuration to be applied after the next reboot",
        ApplyMode::DryRun | ApplyMode::Now | ApplyMode::Try(_) => "Applied configuration without a reboot",
    }
}

/// A span of time as clients write it (`1m0s`).
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{}s", seconds % 60),
        _ => format!("{hours}h{minutes}m{}s", seconds % 60),
    }
}

/// Checks a configuration; a large one takes its time.
async fn parse(text: String) -> Result<(String, Parsed), String> {
    blocking(move || check(text)).await
}

fn check(text: String) -> Result<(String, Parsed), String> {
    match Config::parse(&text) {
        Ok(parsed) => Ok((text, parsed)),
        Err(problems) => Err(problems.to_string()),
    }
}

/// Runs blocking work off the reactor; a panic in it is an error.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.to_string()))
}

#[cfg(test)]
mod tests;
