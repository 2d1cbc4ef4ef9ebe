//! `kubeconfig`: the administrator's access to Kubernetes, merged into what is there.

use std::{
    env, fs,
    io::{Read, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail, ensure};
use flate2::read::MultiGzDecoder;
use pki::Secret;
use serde_yaml::{Mapping, Value};
use tar::Archive;

use crate::client::next_data;

use super::{args, nodes::Fleet, store};

/// Largest archive and largest file in it, bytes.
const MAX: u64 = 1 << 20;
/// The lists of a kubeconfig, and what an entry holds beside its name.
const LISTS: [(&str, &str); 3] = [("clusters", "cluster"), ("users", "user"), ("contexts", "context")];

pub async fn run(fleet: &Fleet, args: args::Kubeconfig) -> Result<ExitCode> {
    let (name, client) = fleet.one("kubeconfig").await?;
    let failed = || format!("fetch the kubeconfig of node {name}");
    let mut stream = client.kubeconfig().await.with_context(failed)?;
    let mut archive = Vec::new();
    while let Some(piece) = next_data("Kubeconfig", &mut stream).await.with_context(failed)? {
        archive.extend_from_slice(&piece);
        ensure!(archive.len() as u64 <= MAX, "the node sends more than {MAX} bytes: that is no kubeconfig");
    }
    let mut fetched: Mapping = yaml(&single_file(&archive).with_context(failed)?).with_context(failed)?;
    if let Some(name) = &args.force_context_name {
        rename_context(&mut fetched, name);
    }
    if args.path.as_deref() == Some(Path::new("-")) {
        let text = Secret::new(serde_yaml::to_string(&fetched)?);
        std::io::stdout().write_all(text.expose().as_bytes()).context("print the kubeconfig")?;
        return Ok(ExitCode::SUCCESS);
    }
    let path = place(args.path)?;
    let there = match fs::read_to_string(&path) {
        Ok(text) => Some(Secret::new(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let result = match there {
        Some(there) if args.merge => {
            let mut all = yaml(&there).with_context(|| format!("read {}", path.display()))?;
            for (old, new) in merge(&mut all, fetched, args.force)? {
                eprintln!("{old:?} is taken: added as {new:?} (--force overwrites)");
            }
            all
        }
        Some(_) if !args.force => bail!("{} is there already: --force overwrites it, --merge adds to it", path.display()),
        _ => fetched,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    store::write_secret(&path, &Secret::new(serde_yaml::to_string(&result)?))?;
    eprintln!("Wrote {}", path.display());
    Ok(ExitCode::SUCCESS)
}

/// Where it goes: the argument, the first file of $KUBECONFIG, ~/.kube/config.
fn place(argument: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(path) = argument {
        return Ok(if path.is_dir() { path.join("kubeconfig") } else { path });
    }
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    if let Some(first) = set("KUBECONFIG").and_then(|list| env::split_paths(&list).next()) {
        return Ok(first);
    }
    let home = set("HOME").context("where to? neither $KUBECONFIG nor $HOME is set: name a file")?;
    Ok(PathBuf::from(home).join(".kube/config"))
}

fn yaml(text: &Secret) -> Result<Mapping> {
    let value: Value = serde_yaml::from_str(text.expose()).context("this is no kubeconfig")?;
    match value {
        Value::Mapping(mapping) => Ok(mapping),
        Value::Null => Ok(Mapping::new()),
        _ => bail!("this is no kubeconfig"),
    }
}

/// The one file of the archive, whose name must be `kubeconfig`.
fn single_file(archive: &[u8]) -> Result<Secret> {
    let mut archive = Archive::new(MultiGzDecoder::new(archive).take(4 * MAX));
    let mut entries = archive.entries().context("read the archive")?.raw(true);
    let entry = entries.next().context("the archive is empty")?.context("read the archive")?;
    ensure!(&*entry.path_bytes() == b"kubeconfig", "the archive holds something else than a kubeconfig");
    let mut text = String::new();
    entry.take(MAX + 1).read_to_string(&mut text).context("read the archive")?;
    ensure!(text.len() as u64 <= MAX, "the kubeconfig has more than {MAX} bytes");
    Ok(Secret::new(text))
}

fn entries<'a>(config: &'a Mapping, list: &str) -> impl Iterator<Item = &'a Value> {
    config.get(list).and_then(Value::as_sequence).into_iter().flatten()
}

fn name(entry: &Value) -> &str {
    entry.get("name").and_then(Value::as_str).unwrap_or_default()
}

fn rename_context(config: &mut Mapping, wanted: &str) {
    let contexts = config.get_mut("contexts").and_then(Value::as_sequence_mut);
    if let Some(Value::Mapping(first)) = contexts.and_then(|contexts| contexts.first_mut()) {
        first.insert("name".into(), wanted.into());
    }
    config.insert("current-context".into(), wanted.into());
}

/// Adds clusters, users and contexts, and makes the new context the current one. What has the name of something else
/// replaces it with `force`, and else gets another name. The renamed, old and new.
fn merge(all: &mut Mapping, mut fetched: Mapping, force: bool) -> Result<Vec<(String, String)>> {
    let mut renamed = Vec::new();
    let current = fetched.get("current-context").and_then(Value::as_str).unwrap_or_default().to_owned();
    for (list, _) in LISTS {
        let mut names: Vec<String> = entries(all, list).map(|entry| name(entry).to_owned()).collect();
        let new: Vec<Value> = entries(&fetched, list).cloned().collect();
        for mut entry in new {
            let old = name(&entry).to_owned();
            ensure!(!old.is_empty(), "the node sends an entry without a name in {list:?}");
            let there = all.get_mut(list).and_then(Value::as_sequence_mut).and_then(|all| all.iter_mut().find(|other| name(other) == old));
            match there {
                Some(other) if *other == entry || force => *other = entry,
                Some(_) => {
                    let free =
                        (1..).map(|number| format!("{old}-{number}")).find(|free| !names.contains(free)).context("no name is free")?;
                    if let Value::Mapping(entry) = &mut entry {
                        entry.insert("name".into(), free.as_str().into());
                    }
                    follow(&mut fetched, list, &old, &free);
                    names.push(free.clone());
                    renamed.push((old, free));
                    append(all, list, entry)?;
                }
                None => append(all, list, entry)?,
            }
        }
    }
    let current = renamed.iter().rev().find(|(old, _)| *old == current).map_or(current, |(_, new)| new.clone());
    if !current.is_empty() {
        all.insert("current-context".into(), current.into());
    }
    for (key, value) in [("apiVersion", "v1"), ("kind", "Config")] {
        all.entry(key.into()).or_insert_with(|| value.into());
    }
    Ok(renamed)
}

/// A list that may be absent, or there and empty.
fn append(all: &mut Mapping, list: &str, entry: Value) -> Result<()> {
    let there = all.entry(list.into()).or_insert(Value::Null);
    if there.is_null() {
        *there = Value::Sequence(Vec::new());
    }
    there.as_sequence_mut().with_context(|| format!("{list:?} of the file is no list"))?.push(entry);
    Ok(())
}

/// Contexts name their cluster and user.
fn follow(config: &mut Mapping, list: &str, old: &str, new: &str) {
    let Some((_, key)) = LISTS.iter().find(|(name, _)| *name == list && list != "contexts") else { return };
    let contexts = config.get_mut("contexts").and_then(Value::as_sequence_mut);
    for context in contexts.into_iter().flatten() {
        if let Some(value) = context.get_mut("context").and_then(|context| context.get_mut(*key))
            && value.as_str() == Some(old)
        {
            *value = new.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn config(server: &str) -> Mapping {
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: home, cluster: {{server: {server}}}}}]\n\
             users: [{{name: admin@home, user: {{token: {server}}}}}]\n\
             contexts: [{{name: admin@home, context: {{cluster: home, user: admin@home, namespace: default}}}}]\ncurrent-context: admin@home\n"
        );
        serde_yaml::from_str(&text).expect("YAML")
    }

    /// What the current context leads to.
    fn current(config: &Mapping) -> (String, String) {
        let current = config["current-context"].as_str().expect("current");
        let context = &entries(config, "contexts").find(|entry| name(entry) == current).expect("context")["context"];
        let server = &entries(config, "clusters").find(|entry| name(entry) == context["cluster"].as_str().expect("name")).expect("cluster")
            ["cluster"]["server"];
        let token =
            &entries(config, "users").find(|entry| name(entry) == context["user"].as_str().expect("name")).expect("user")["user"]["token"];
        (server.as_str().expect("text").into(), token.as_str().expect("text").into())
    }

    #[test]
    fn the_new_context_is_usable_and_nothing_is_lost() {
        let check = |old: &str, force: bool, count: usize, renamed: usize| {
            let mut all: Mapping = if old.is_empty() { Mapping::new() } else { config(old) };
            let made = merge(&mut all, config("new"), force).expect("merged");
            assert_eq!((entries(&all, "clusters").count(), made.len()), (count, renamed), "{old}");
            assert_eq!(current(&all), ("new".into(), "new".into()), "{old}");
        };
        check("", false, 1, 0);
        check("new", false, 1, 0);
        check("old", true, 1, 0);
        check("old", false, 2, 3);
        // Twice more: other names each time.
        let mut all = config("old");
        merge(&mut all, config("one"), false).expect("merged");
        merge(&mut all, config("two"), false).expect("merged");
        assert_eq!(entries(&all, "contexts").map(name).collect::<Vec<_>>(), ["admin@home", "admin@home-1", "admin@home-2"]);
        assert_eq!(current(&all).0, "two");
    }

    #[test]
    fn a_context_gets_the_name_wanted() {
        let mut fetched = config("new");
        rename_context(&mut fetched, "mine");
        assert_eq!(fetched["current-context"], Value::from("mine"));
        assert_eq!(current(&fetched).0, "new");
    }

    #[test]
    fn only_a_kubeconfig_is_taken() {
        let pack = |name: &str, text: &str| {
            let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            builder.append_data(&mut header, name, text.as_bytes()).expect("written");
            builder.into_inner().expect("written").finish().expect("written")
        };
        assert_eq!(single_file(&pack("kubeconfig", "a: b")).expect("read").expose(), "a: b");
        single_file(&pack("passwd", "a: b")).expect_err("another file");
        single_file(b"").expect_err("nothing");
        single_file(&pack("kubeconfig", &"x".repeat(2 << 20))).expect_err("too large");
        yaml(&Secret::new("- a")).expect_err("a list");
    }

    proptest! {
        /// Whatever is there and whatever comes: refused, or the current context is the one that came.
        #[test]
        fn any_file_is_merged_or_refused(text in "[a-z: \\n\\[\\]{}-]{0,60}", list in "clusters|users|contexts") {
            for text in [text.clone(), format!("{list}: {text}")] {
                if let Ok(mut all) = yaml(&Secret::new(text))
                    && merge(&mut all, config("new"), false).is_ok()
                {
                    prop_assert_eq!(current(&all).0, "new");
                }
            }
            // From a node.
            if let Ok(mut fetched) = yaml(&Secret::new(format!("{list}: {text}"))) {
                rename_context(&mut fetched, "mine");
                let _ = merge(&mut config("old"), fetched, false);
            }
        }
    }
}
