//! `completion`: what a shell needs to complete this program's arguments.

use std::{io, process::ExitCode};

use anyhow::{Context as _, Result};
use clap_complete::Shell as Target;

use super::{
    args::{Completion, Shell},
    help,
};

pub fn run(args: &Completion) -> Result<ExitCode> {
    io::Write::write_all(&mut io::stdout(), &script(args.shell)).context("print the completion")?;
    Ok(ExitCode::SUCCESS)
}

fn script(shell: Shell) -> Vec<u8> {
    let shell = match shell {
        Shell::Bash => Target::Bash,
        Shell::Fish => Target::Fish,
        Shell::Zsh => Target::Zsh,
    };
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut help::command(), "keelctl", &mut text);
    text
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, process::Command};

    use super::*;

    #[test]
    fn every_shell_learns_verbs_and_flags() {
        for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
            let text = String::from_utf8(script(shell)).expect("text");
            for word in ["keelctl", "apply-config", "talosconfig", "system-labels-to-wipe", "remove-member"] {
                assert!(text.contains(word), "{shell:?} has no {word}");
            }
        }
    }

    /// bash is what every host of these tests has.
    #[test]
    fn bash_understands_its_script() {
        let mut file = tempfile::NamedTempFile::new().expect("file");
        file.write_all(&script(Shell::Bash)).expect("written");
        file.write_all(b"\nCOMP_WORDS=(keelctl reb) COMP_CWORD=1\n_keelctl keelctl reb keelctl\necho \"${COMPREPLY[@]}\"\n")
            .expect("written");
        let output = Command::new("bash").arg(file.path()).output().expect("bash runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "reboot", "{}", String::from_utf8_lossy(&output.stderr));
    }
}
