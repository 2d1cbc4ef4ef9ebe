//! `edit machineconfig`: the configuration in an editor, again and again until the node takes it or the user has enough.
//!
//! Nothing that was typed is lost: what is given up stays in a file whose name is said.

use std::{env, io::Write as _, path::Path, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use pki::Secret;
use tempfile::NamedTempFile;

use crate::client::{Apply, Client};

use super::{
    args::{self, Insecure},
    chain,
    machineconfig::{active, check_kind, how, tell},
    nodes::Fleet,
    patches,
};

/// What lines of this program begin with; they are taken out again.
const MARK: &str = "#~";

pub async fn run(fleet: &Fleet, args: args::Edit) -> Result<ExitCode> {
    check_kind(&args.kind)?;
    let how = how(args.when)?;
    let mut code = ExitCode::SUCCESS;
    // One editor at a time.
    for node in fleet.nodes(&Insecure::default()).await? {
        let done = match node.client {
            Ok(client) => edit(&node.name, &client, how).await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            eprintln!("error from node {}: {}", node.name, chain(&error));
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

async fn edit(node: &str, client: &Client, how: Apply) -> Result<()> {
    let original = active(client).await?;
    let mut draft = Draft { node, original, refused: None };
    // Only its owner can read it: it holds the node's keys.
    let file = tempfile::Builder::new().prefix("keelctl-edit-").suffix(".yaml").tempfile().context("make a file to edit")?;
    loop {
        write(file.path(), &draft.page())?;
        if let Err(error) = open(file.path()).await {
            return Err(kept(error, &draft, file));
        }
        let edited = patches::read(file.path())?;
        match draft.take(&edited) {
            Next::Nothing => {
                eprintln!("{node}: nothing was changed");
                return Ok(());
            }
            Next::GivenUp => {
                let path = keep(file)?;
                bail!("the configuration was not changed; what you wrote is in {path}");
            }
            Next::Apply(text) => match client.apply(text.expose(), how).await {
                Ok(reply) => {
                    tell(node, reply);
                    return Ok(());
                }
                Err(error) => draft.refuse(text, &chain(&error.into())),
            },
        }
    }
}

/// The error of an editor, and where the text is, should something have been typed.
fn kept(error: anyhow::Error, draft: &Draft<'_>, file: NamedTempFile) -> anyhow::Error {
    let changed = patches::read(file.path()).is_ok_and(|text| !matches!(draft.take(&text), Next::Nothing));
    match changed.then(|| keep(file)) {
        Some(Ok(path)) => error.context(format!("the configuration was not changed; what you wrote is in {path}")),
        _ => error,
    }
}

/// The file stays where it is: its name is nobody else's, and only its owner can read it.
fn keep(file: NamedTempFile) -> Result<String> {
    let (_, path) = file.keep().context("keep what you wrote")?;
    Ok(path.display().to_string())
}

fn write(path: &Path, text: &Secret) -> Result<()> {
    let mut file =
        std::fs::OpenOptions::new().write(true).truncate(true).open(path).with_context(|| format!("write {}", path.display()))?;
    file.write_all(text.expose().as_bytes()).with_context(|| format!("write {}", path.display()))
}

/// Runs the user's editor and waits for it. The shell splits the variable: editors have arguments (`code --wait`).
async fn open(path: &Path) -> Result<()> {
    let set = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
    let editor = ["TALOS_EDITOR", "KUBE_EDITOR", "VISUAL", "EDITOR"].into_iter().find_map(set).unwrap_or_else(|| "vi".to_owned());
    let mut command = std::process::Command::new("sh");
    command.arg("-c").arg(format!("{editor} \"$1\"")).arg("keelctl").arg(path);
    let status = tokio::task::spawn_blocking(move || command.status()).await?.with_context(|| format!("start the editor {editor:?}"))?;
    if !status.success() {
        bail!("the editor {editor:?} failed ({status}); $TALOS_EDITOR or $EDITOR names another");
    }
    Ok(())
}

/// A configuration on its way from the node through the editor and back.
struct Draft<'a> {
    node: &'a str,
    original: Secret,
    /// The last text that the node did not take, and its reason.
    refused: Option<(Secret, String)>,
}

/// What follows from a text that comes back from the editor.
enum Next {
    /// It says what the node has already.
    Nothing,
    /// Empty, or saved as it was refused.
    GivenUp,
    Apply(Secret),
}

impl Draft<'_> {
    /// The text to edit, with instructions and the last reason on top.
    fn page(&self) -> Secret {
        let mut top = format!(
            "{MARK} The configuration of {}. Save it and leave the editor to apply it.\n\
             {MARK} An empty file, or one saved as it is, changes nothing. Lines that begin with {MARK} are taken out.\n",
            self.node
        );
        let text = match &self.refused {
            None => &self.original,
            Some((text, reason)) => {
                top.push_str(&format!("{MARK}\n{MARK} It was refused:\n"));
                reason.lines().for_each(|line| top.push_str(&format!("{MARK}   {line}\n")));
                text
            }
        };
        Secret::new(format!("{top}{}", text.expose()))
    }

    fn take(&self, edited: &Secret) -> Next {
        let kept: String = edited.expose().lines().filter(|line| !line.starts_with(MARK)).flat_map(|line| [line, "\n"]).collect();
        let text = Secret::new(kept);
        let before = self.refused.as_ref().map_or(&self.original, |(text, _)| text);
        let untouched = text.expose().trim_end() == before.expose().trim_end();
        match () {
            () if text.expose().trim().is_empty() => Next::GivenUp,
            () if untouched && self.refused.is_some() => Next::GivenUp,
            () if untouched || machine_config::same(self.original.expose(), text.expose()) => Next::Nothing,
            () => Next::Apply(text),
        }
    }

    fn refuse(&mut self, text: Secret, reason: &str) {
        self.refused = Some((text, reason.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "version: v1alpha1\nmachine:\n  type: worker\n";

    fn draft() -> Draft<'static> {
        Draft { node: "n", original: Secret::new(CONFIG), refused: None }
    }

    #[track_caller]
    fn check(draft: &Draft<'_>, edited: &str, wanted: &str) {
        let found = match draft.take(&Secret::new(edited)) {
            Next::Nothing => "nothing".to_owned(),
            Next::GivenUp => "given up".to_owned(),
            Next::Apply(text) => format!("apply {}", text.expose()),
        };
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_change_is_applied_and_no_change_is_not() {
        let draft = draft();
        let page = draft.page();
        assert!(page.expose().starts_with(MARK) && page.expose().ends_with(CONFIG));
        check(&draft, page.expose(), "nothing");
        check(&draft, "", "given up");
        check(&draft, "#~ x\n\n", "given up");
        // Other words for the same.
        check(&draft, "version: v1alpha1\nmachine: {type: worker}\n", "nothing");
        check(&draft, &page.expose().replace("worker", "controlplane"), "apply version: v1alpha1\nmachine:\n  type: controlplane\n");
        // Comments of the configuration are its own.
        check(&draft, "# mine\nversion: v1alpha1\nmachine:\n  type: init\n", "apply # mine\nversion: v1alpha1\nmachine:\n  type: init\n");
    }

    #[test]
    fn a_refusal_comes_back_with_its_reason_and_ends_with_the_same_text() {
        let mut draft = draft();
        draft.refuse(Secret::new("machine: {type: no}\n"), "line 1: no such type\nand more");
        let page = draft.page();
        assert!(page.expose().contains("#~   line 1: no such type\n#~   and more\nmachine: {type: no}\n"), "{}", page.expose());
        check(&draft, page.expose(), "given up");
        check(&draft, CONFIG, "nothing");
        check(&draft, "machine: {type: init}\n", "apply machine: {type: init}\n");
    }
}
