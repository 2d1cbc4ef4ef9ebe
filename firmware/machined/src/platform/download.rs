//! Fetches what a platform keeps on a web server, again and again until it is there.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fetch::{Client, FetchError, Limits, Url};
use tokio::time::{Instant, sleep, timeout};

use super::{
    facts,
    given::Texts,
    seed::Seed,
    template::{Template, Variable},
};
use crate::{
    config::{document::Document, store},
    node::Node,
};

/// What an attempt may cost (reference, behaviour (a): three minutes).
const LIMITS: Limits =
    Limits { bytes: store::MAX_BYTES as usize, redirects: 10, connect: Duration::from_secs(15), attempt: Duration::from_secs(180) };
/// Pauses between attempts: the first, and the longest that it is doubled to.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// After this nobody tries any more (reference).
const GIVE_UP: Duration = Duration::from_secs(3 * 3600);
/// Longest wait for something that the URL needs, before the attempt counts as failed.
const NEEDS: Duration = Duration::from_secs(120);
/// How often people are told that it is still being tried.
const TELL: Duration = Duration::from_secs(300);

/// What is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A configuration (`talos.config`).
    Template(Template),
    /// A configuration that another document names.
    Include(Url),
    /// A configuration with what is beside it.
    Seed(Seed),
}

impl Wanted {
    /// The source that people are shown.
    #[must_use]
    pub const fn source(&self) -> &'static str {
        match self {
            Self::Template(_) => "url",
            Self::Include(_) => "include",
            Self::Seed(_) => "nocloud-net",
        }
    }
}

/// An attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why, with all causes.
    pub text: String,
    /// Another attempt would fail the same way.
    pub last: bool,
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self { text: daemon::report(&error).to_string(), last: false }
    }
}

/// When to try again, and what to tell people of it.
#[derive(Debug)]
pub struct Patience {
    begun: Instant,
    pause: Duration,
    attempts: u32,
    told: Option<(String, Instant)>,
}

/// What becomes of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// To be told, as nobody was told of it before.
    Tell(String),
    /// To be told that it goes on.
    Remind(String),
    /// Known.
    Quiet,
    /// The end: to be told.
    GiveUp(String),
}

impl Patience {
    /// From now on.
    #[must_use]
    pub fn new() -> Self {
        Self { begun: Instant::now(), pause: PAUSE.0, attempts: 0, told: None }
    }

    /// An attempt has failed.
    pub fn failed(&mut self, failure: &Failure) -> Next {
        self.attempts += 1;
        let now = Instant::now();
        let text = &failure.text;
        if failure.last {
            return Next::GiveUp(text.clone());
        }
        if now - self.begun >= GIVE_UP {
            return Next::GiveUp(format!("{text}; given up after {} attempts", self.attempts));
        }
        match &mut self.told {
            Some((known, at)) if known == text => {
                if now - *at < TELL {
                    return Next::Quiet;
                }
                *at = now;
                Next::Remind(format!("still trying, {} attempts so far: {text}", self.attempts))
            }
            told => {
                *told = Some((text.clone(), now));
                Next::Tell(text.clone())
            }
        }
    }

    /// Waits before the next attempt; longer each time, and a little by chance: many nodes may be asking one server.
    pub async fn rest(&mut self) {
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE.1);
        let (chance, _) = uuid::Uuid::new_v4().as_u64_pair();
        sleep(pause + pause.mul_f64((chance % 256) as f64 / 1024.0)).await;
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self::new()
    }
}

/// One that asks servers of the public web.
///
/// # Errors
/// A failure that another attempt would not mend.
pub fn client() -> Result<Client, Failure> {
    Client::new(fetch::web_roots(), LIMITS).map_err(|error| Failure { text: daemon::report(&error).to_string(), last: true })
}

/// Waits until the node has an address: without one there is nothing to try, however long it takes.
pub async fn network_up(node: &Node) {
    if node.network.borrow().addresses().next().is_none() {
        log::info!("platform: waiting for an address, to ask a web server");
    }
    // The sender lives in the node.
    drop(node.network.subscribe().wait_for(|network| network.addresses().next().is_some()).await);
}

/// One attempt at a configuration; `None` when there is a document, and it is not for this system. What is beside it is
/// adopted on the way.
///
/// # Errors
/// Why there is none this time.
pub async fn configuration(node: &Arc<Node>, client: &Client, wanted: &Wanted) -> Result<Option<String>, Failure> {
    let url = match wanted {
        Wanted::Template(template) => fill(node, template).await?,
        Wanted::Include(url) => url.clone(),
        Wanted::Seed(seed) => {
            super::adopt(node, beside(client, seed).await?).await;
            file_of(seed, "user-data")?
        }
    };
    log::info!(target: "config", "asking {url}");
    match document(client, &url).await? {
        Document::Config(text) => Ok(Some(text)),
        Document::Foreign => Ok(None),
        Document::Include(other) => match document(client, &other).await? {
            Document::Config(text) => Ok(Some(text)),
            Document::Foreign => Ok(None),
            Document::Include(_) => {
                Err(Failure { text: format!("{other} includes another document, and included ones may not"), last: false })
            }
        },
    }
}

async fn document(client: &Client, url: &Url) -> Result<Document, Failure> {
    let failed = |text: String| Failure { text: format!("{url}: {text}"), last: false };
    let text = String::from_utf8(client.get(url).await?).map_err(|_| failed("it is not UTF-8".to_owned()))?;
    Document::read(text).map_err(failed)
}

/// `meta-data` and `network-config`, for a node that has its configuration: adopted once they are there.
pub async fn texts(node: &Arc<Node>, seed: &Seed) {
    network_up(node).await;
    let mut patience = Patience::new();
    loop {
        let found = match client() {
            Ok(client) => beside(&client, seed).await,
            Err(failure) => Err(failure),
        };
        let failure = match found {
            Ok(texts) => return super::adopt(node, texts).await,
            Err(failure) => failure,
        };
        match patience.failed(&failure) {
            Next::Tell(text) => super::complain(node, &text),
            Next::Remind(text) => log::info!("platform: {text}"),
            Next::Quiet => {}
            Next::GiveUp(text) => return super::complain(node, &text),
        }
        patience.rest().await;
    }
}

async fn beside(client: &Client, seed: &Seed) -> Result<Texts, Failure> {
    Ok(Texts {
        origin: seed.url.to_string(),
        meta_data: optional(client, seed, "meta-data").await?,
        network_config: optional(client, seed, "network-config").await?,
        hostname: seed.hostname.clone(),
        instance_id: seed.instance_id.clone(),
        specs: None,
    })
}

/// A file that need not be there.
async fn optional(client: &Client, seed: &Seed, name: &str) -> Result<Option<String>, Failure> {
    let url = file_of(seed, name)?;
    match client.get(&url).await {
        Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|_| Failure { text: format!("{url}: it is not UTF-8"), last: false }),
        Err(FetchError::Status { status, .. }) if matches!(status.as_u16(), 404 | 410) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn file_of(seed: &Seed, name: &str) -> Result<Url, Failure> {
    seed.url.below(name).map_err(|error| Failure { text: format!("{}: {error}", seed.url), last: true })
}

/// Fills the gaps; waits for those that the network fills.
async fn fill(node: &Arc<Node>, template: &Template) -> Result<Url, Failure> {
    let mut values = BTreeMap::new();
    for variable in template.needs() {
        values.insert(variable, value(node, variable).await?);
    }
    let filled = template.fill(&|variable| values.get(&variable).cloned().unwrap_or_default());
    filled.map_err(|error| Failure { text: format!("talos.config with its gaps filled: {error}"), last: true })
}

async fn value(node: &Arc<Node>, variable: Variable) -> Result<String, Failure> {
    let name = variable.name();
    let none = |whose: &str| Failure { text: format!("talos.config needs ${{{name}}}, and {whose} has none"), last: true };
    match variable {
        Variable::Uuid => facts::uuid().ok_or_else(|| none("this machine's firmware")),
        Variable::Serial => Some(facts::serial()).filter(|serial| !serial.is_empty()).ok_or_else(|| none("this machine's firmware")),
        Variable::Code => {
            let disk = node.disk.borrow().clone();
            let read = tokio::task::spawn_blocking(move || facts::code(&disk)).await;
            let code = read.unwrap_or_else(|lost| Err(lost.to_string())).map_err(|text| Failure { text, last: false })?;
            code.ok_or_else(|| none("META (key 11)"))
        }
        Variable::Mac => awaited(node, variable, |_| facts::mac()).await,
        Variable::Hostname => {
            awaited(node, variable, |node| Some(node.network.borrow().hostname.clone()).filter(|name| !name.is_empty())).await
        }
    }
}

/// Something that comes with the network.
async fn awaited(node: &Node, variable: Variable, value: impl Fn(&Node) -> Option<String>) -> Result<String, Failure> {
    if let Some(found) = value(node) {
        return Ok(found);
    }
    let name = variable.name();
    log::info!(target: "config", "talos.config waits for ${{{name}}}, {} s at most", NEEDS.as_secs());
    let mut network = node.network.subscribe();
    let comes = async {
        loop {
            if let Some(found) = value(node) {
                return found;
            }
            // The sender lives in the node.
            if network.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let late =
        |_| Failure { text: format!("talos.config needs ${{{name}}}, which has not come within {} s", NEEDS.as_secs()), last: false };
    timeout(NEEDS, comes).await.map_err(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(text: &str) -> Failure {
        Failure { text: text.to_owned(), last: false }
    }

    #[tokio::test(start_paused = true)]
    async fn people_are_told_once_and_reminded() {
        let mut patience = Patience::new();
        assert_eq!(patience.failed(&failure("a")), Next::Tell("a".into()));
        assert_eq!(patience.failed(&failure("a")), Next::Quiet);
        assert_eq!(patience.failed(&failure("b")), Next::Tell("b".into()));
        tokio::time::advance(TELL).await;
        assert_eq!(patience.failed(&failure("b")), Next::Remind("still trying, 4 attempts so far: b".into()));
        assert_eq!(patience.failed(&Failure { text: "c".into(), last: true }), Next::GiveUp("c".into()));
        tokio::time::advance(GIVE_UP).await;
        assert!(matches!(patience.failed(&failure("b")), Next::GiveUp(text) if text.contains("given up after 6 attempts")));
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_up_to_a_limit() {
        let mut patience = Patience::new();
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let before = Instant::now();
            patience.rest().await;
            pauses.push(before.elapsed());
        }
        assert!(pauses[0] >= PAUSE.0 && pauses[0] <= PAUSE.0.mul_f64(1.3), "{pauses:?}");
        assert!(pauses[8] >= PAUSE.1 && pauses[8] <= PAUSE.1.mul_f64(1.3), "{pauses:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_name_is_waited_for() {
        let (node, _commands) = Node::new();
        let template = Template::parse("http://a/?h=${hostname}").unwrap();
        let late = fill(&node, &template).await.unwrap_err();
        assert!(late.text.contains("${hostname}, which has not come within 120 s") && !late.last, "{late:?}");
        let waiting = {
            let (node, template) = (Arc::clone(&node), template.clone());
            tokio::spawn(async move { fill(&node, &template).await })
        };
        tokio::task::yield_now().await;
        node.network.send_modify(|network| network.hostname = "n1".into());
        assert_eq!(waiting.await.unwrap(), Ok(Url::parse("http://a/?h=n1").unwrap()));
    }
}
