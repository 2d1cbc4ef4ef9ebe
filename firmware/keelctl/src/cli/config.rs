//! `config`: the client configuration.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail, ensure};
use pki::{Context, Identity, Secret, Talosconfig};

use super::{
    args::{AddContext, Config, NewConfig, Output},
    nodes::Fleet,
    report::{Cell, Report},
    store,
};

pub async fn run(command: Config, fleet: &Fleet) -> Result<ExitCode> {
    let global = fleet.global();
    let path = store::path(global.talosconfig.as_deref())?;
    let mut config = store::load(&path)?;
    let name = global.context.as_deref();
    let whose = || format!("use the client configuration {}", path.display());
    match command {
        Config::Endpoint { endpoints } => {
            for endpoint in &endpoints {
                endpoint.parse::<crate::client::Address>()?;
            }
            config.get_mut(name).with_context(whose)?.endpoints = endpoints;
        }
        Config::Node { nodes } => config.get_mut(name).with_context(whose)?.nodes = nodes,
        Config::Context { name } => {
            config.get(Some(&name)).with_context(whose)?;
            config.context = name;
        }
        Config::Merge { file } => {
            if !file.exists() {
                bail!("there is no file {}", file.display());
            }
            for (old, new) in config.merge(store::load(&file)?) {
                eprintln!("context {old:?} is taken: added as {new:?}");
            }
        }
        Config::Add(new) => add(&mut config, new)?,
        Config::Remove { name } => {
            config.get(Some(&name)).with_context(whose)?;
            ensure!(name != config.context, "{name:?} is the current context: choose another with `keelctl config context NAME` first");
            config.contexts.remove(&name);
        }
        Config::New(new) => return sign(fleet, new).await,
        Config::Contexts(output) => return contexts(&config, output),
        Config::Info(output) => return info(&config, name, output).with_context(whose),
    }
    store::save(&path, &config)?;
    Ok(ExitCode::SUCCESS)
}

/// A context from files, which becomes the current one when there was none.
fn add(config: &mut Talosconfig, new: AddContext) -> Result<()> {
    ensure!(
        !config.contexts.contains_key(&new.name),
        "there is a context {:?} already: `keelctl config remove {}` removes it",
        new.name,
        new.name
    );
    let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("read {}", path.display()));
    let identity = Identity { cert_pem: read(&new.crt)?, key_pem: Secret::new(read(&new.key)?) };
    let ca = read(&new.ca)?;
    // What would be refused at the first connection is refused here.
    let roots = wire::tls::roots("the authority", &ca).with_context(|| format!("use {}", new.ca.display()))?;
    wire::tls::Identity::from_pem(&identity.cert_pem, identity.key_pem.expose())
        .and_then(|identity| wire::tls::client_config(roots, Some(identity)))
        .with_context(|| format!("use {} with {}", new.crt.display(), new.key.display()))?;
    if config.context.is_empty() {
        config.context.clone_from(&new.name);
    }
    config.contexts.insert(new.name, Context::new(Vec::new(), &ca, &identity));
    Ok(())
}

/// `config new`: signed by a node, with the endpoints that this client uses.
async fn sign(fleet: &Fleet, args: NewConfig) -> Result<ExitCode> {
    let to_stdout = args.path == Path::new("-");
    ensure!(to_stdout || args.force || !args.path.exists(), "{} is there already: --force overwrites it", args.path.display());
    let life = Duration::try_from(args.crt_ttl).context("use --crt-ttl")?;
    let (name, client) = fleet.one("config new").await?;
    let failed = || format!("have node {name} sign a client configuration");
    let made = client.client_configuration(args.roles, life).await.with_context(failed)?;
    let text = Secret::new(String::from_utf8(made.talosconfig).context("it is no text").with_context(failed)?);
    let mut config = Talosconfig::from_yaml(text.expose()).with_context(failed)?;
    let endpoints = fleet.endpoints()?;
    for context in config.contexts.values_mut() {
        context.endpoints.clone_from(&endpoints);
    }
    let text = config.to_yaml()?;
    if to_stdout {
        std::io::stdout().write_all(text.expose().as_bytes()).context("print the configuration")?;
    } else {
        store::write_secret(&args.path, &text)?;
        eprintln!("Created {}", args.path.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn contexts(config: &pki::Talosconfig, output: Output) -> Result<ExitCode> {
    let mut report = Report::new(&["CURRENT", "NAME", "ENDPOINTS", "NODES"]);
    for (name, context) in &config.contexts {
        let current = *name == config.context;
        report.row([
            Cell::shown(current, if current { "*" } else { "" }),
            name.as_str().into(),
            context.endpoints.join(",").into(),
            context.nodes.join(",").into(),
        ]);
    }
    report.print(output.output)?;
    Ok(ExitCode::SUCCESS)
}

fn info(config: &pki::Talosconfig, name: Option<&str>, output: Output) -> Result<ExitCode> {
    let (name, context) = config.get(name)?;
    let identity = context.identity(name)?;
    let leaf = pki::read_chain(&identity.cert_pem)?.into_iter().next().context("the client certificate is empty")?;
    let expires = pki::expires(&leaf)?;
    let left = expires
        .duration_since(SystemTime::now())
        .map_or_else(|_| "expired".to_owned(), |left| format!("{} days left", left.as_secs() / 86400));
    let expires = jiff::Timestamp::try_from(expires).map(|time| time.to_string()).unwrap_or_default();
    let mut report = Report::new(&["CONTEXT", "ENDPOINTS", "NODES", "ROLES", "CERTIFICATE EXPIRES"]);
    report.row([
        name.into(),
        context.endpoints.join(",").into(),
        context.nodes.join(",").into(),
        pki::roles(&leaf)?.join(",").into(),
        Cell::shown(expires.clone(), format!("{expires} ({left})")),
    ]);
    report.print(output.output)?;
    Ok(ExitCode::SUCCESS)
}
