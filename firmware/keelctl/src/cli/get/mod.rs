//! Resources: find their type by any of its names, then show one, all, or what happens to them.

pub mod definition;
pub mod path;
mod table;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use serde_yaml::Value;
use wire::cosi::{Event, EventType, GetRequest, ListRequest, Resource, WatchOptions, WatchRequest};

use crate::client::{Client, next};

use super::{
    args::{self, Format, GetFormat},
    nodes::{Fleet, each},
};
use definition::{Definition, choose};
use table::{Row, Table};

/// Namespace and type of definitions.
const DEFINITIONS: (&str, &str) = ("meta", "ResourceDefinitions.meta.cosi.dev");

pub async fn run(fleet: &Fleet, args: args::Get) -> Result<ExitCode> {
    let nodes = fleet.nodes(&args.insecure).await?;
    // Every node of a fleet has its own types: versions may differ.
    let args = &args;
    if args.watch {
        return Ok(each(nodes, async |node: String, client: Client| watch(&node, &client, args).await).await.1);
    }
    let call = async |_, client: Client| {
        let definition = find(&client, &args.kind).await?;
        let found = fetch(&client, &definition, args).await?;
        Ok((definition, found))
    };
    let (replies, code) = each(nodes, call).await;
    show(&args.output, replies)?;
    Ok(code)
}

/// The type that a word means.
async fn find(client: &Client, word: &str) -> Result<Definition> {
    choose(definitions(client).await?, word)
}

/// All types that a node has.
pub async fn definitions(client: &Client) -> Result<Vec<Definition>> {
    let (namespace, kind) = DEFINITIONS;
    let request = ListRequest { namespace: namespace.into(), r#type: kind.into(), options: None };
    client.resources(request).await?.iter().map(|resource| Definition::parse(yaml(resource))).collect()
}

/// The one that was named, else the type's own.
fn namespace(definition: &Definition, args: &args::Get) -> String {
    args.namespace.clone().unwrap_or_else(|| definition.namespace.clone())
}

async fn fetch(client: &Client, definition: &Definition, args: &args::Get) -> Result<Vec<Resource>> {
    let (namespace, kind) = (namespace(definition, args), definition.kind.clone());
    Ok(match &args.id {
        Some(id) => vec![client.resource(GetRequest { namespace, r#type: kind, id: id.clone(), options: None }).await?],
        None => client.resources(ListRequest { namespace, r#type: kind, options: None }).await?,
    })
}

fn show(output: &GetFormat, replies: Vec<(String, (Definition, Vec<Resource>))>) -> Result<()> {
    let mut documents = Vec::new();
    let mut tables: Vec<(Definition, Vec<Row>)> = Vec::new();
    for (node, (definition, found)) in replies {
        for resource in &found {
            match output {
                GetFormat::Of(Format::Table) => {
                    let row = Row::new(&node, "", &definition, resource)?;
                    match tables.iter_mut().find(|(known, _)| *known == definition) {
                        Some((_, rows)) => rows.push(row),
                        None => tables.push((definition.clone(), vec![row])),
                    }
                }
                GetFormat::Of(_) => documents.push(document(&node, resource)?),
                GetFormat::Path(template) => println!("{}", template.render(&document(&node, resource)?)),
            }
        }
    }
    for (definition, rows) in tables {
        print!("{}", Table::new(&definition, false).render(&rows));
    }
    for document in documents {
        match output {
            GetFormat::Of(Format::Json) => println!("{}", serde_json::to_string_pretty(&document)?),
            _ => print!("---\n{}", serde_yaml::to_string(&document)?),
        }
    }
    Ok(())
}

async fn watch(node: &str, client: &Client, args: &args::Get) -> Result<()> {
    let definition = find(client, &args.kind).await?;
    let options = WatchOptions { bootstrap_contents: args.id.is_none(), aggregated: true, ..WatchOptions::default() };
    let namespace = namespace(&definition, args);
    let request = WatchRequest { namespace, r#type: definition.kind.clone(), id: args.id.clone(), options: Some(options), api_version: 1 };
    let mut stream = client.watch(request).await?;
    let mut table = Table::new(&definition, true);
    while let Some(answer) = next("Watch", &mut stream).await? {
        for event in answer.event {
            tell(node, &definition, &mut table, &args.output, &event)?;
        }
    }
    Ok(())
}

fn tell(node: &str, definition: &Definition, table: &mut Table, output: &GetFormat, event: &Event) -> Result<()> {
    let mark = match event.event_type() {
        EventType::Created => "+",
        EventType::Updated => "",
        EventType::Destroyed => "-",
        EventType::Bootstrapped | EventType::Noop => return Ok(()),
        EventType::Errored => bail!("the watch has ended: {}", event.error.as_deref().unwrap_or("no reason given")),
    };
    let resource = event.resource.as_ref().context("the node sent an event without a resource")?;
    match output {
        GetFormat::Of(Format::Table) => print!("{}", table.render(&[Row::new(node, mark, definition, resource)?])),
        GetFormat::Of(Format::Json) => println!("{}", serde_json::to_string(&document(node, resource)?)?),
        GetFormat::Of(Format::Yaml) => print!("---\n{}", serde_yaml::to_string(&document(node, resource)?)?),
        GetFormat::Path(template) => println!("{}", template.render(&document(node, resource)?)),
    }
    Ok(())
}

fn yaml(resource: &Resource) -> &str {
    resource.spec.as_ref().map_or("", |spec| &spec.yaml_spec)
}

/// A resource whole, in the order in which people read it.
pub fn document(node: &str, resource: &Resource) -> Result<Value> {
    let metadata = resource.metadata.clone().unwrap_or_default();
    let time = |stamp: Option<prost_types::Timestamp>| {
        let stamp = stamp.and_then(|stamp| jiff::Timestamp::new(stamp.seconds, stamp.nanos).ok());
        Value::from(stamp.map_or_else(String::new, |stamp| stamp.to_string()))
    };
    let texts = |map: std::collections::HashMap<String, String>| {
        let sorted: std::collections::BTreeMap<_, _> = map.into_iter().collect();
        sorted.into_iter().map(|(key, value)| (Value::from(key), Value::from(value))).collect::<serde_yaml::Mapping>()
    };
    let mut about = serde_yaml::Mapping::new();
    let mut put = |key: &str, value: Value| about.insert(key.into(), value);
    put("namespace", metadata.namespace.into());
    put("type", metadata.r#type.into());
    put("id", metadata.id.clone().into());
    put("version", metadata.version.parse::<u64>().map_or_else(|_| metadata.version.clone().into(), Value::from));
    put("owner", metadata.owner.into());
    put("phase", metadata.phase.into());
    put("created", time(metadata.created));
    put("updated", time(metadata.updated));
    for (key, map) in [("labels", metadata.labels), ("annotations", metadata.annotations)] {
        if !map.is_empty() {
            put(key, Value::Mapping(texts(map)));
        }
    }
    if !metadata.finalizers.is_empty() {
        put("finalizers", metadata.finalizers.into_iter().map(Value::from).collect());
    }
    let spec = serde_yaml::from_str::<Value>(yaml(resource)).with_context(|| format!("read what {} says", metadata.id))?;
    let parts = [("node", node.into()), ("metadata", Value::Mapping(about)), ("spec", spec)];
    Ok(Value::Mapping(parts.into_iter().map(|(key, value)| (Value::from(key), value)).collect()))
}
