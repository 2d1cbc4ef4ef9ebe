//! `config`: the client configuration.

use std::{process::ExitCode, time::SystemTime};

use anyhow::{Context as _, Result, bail};

use super::{
    args::{Config, Output},
    nodes::Fleet,
    report::{Cell, Report},
    store,
};

pub fn run(command: Config, fleet: &Fleet) -> Result<ExitCode> {
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
        Config::Contexts(output) => return contexts(&config, output),
        Config::Info(output) => return info(&config, name, output).with_context(whose),
    }
    store::save(&path, &config)?;
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
