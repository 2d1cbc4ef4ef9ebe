//! `ls` and `read`.

use std::{io::Write, process::ExitCode};

use anyhow::{Context as _, Result};
use wire::machine::{FileInfo, ListRequest, list_request::Type};

use crate::client::{Client, next, next_data};

use super::{
    args::{self, FileType, Insecure},
    chain,
    nodes::{Fleet, each},
    report::{Cell, Report, bytes},
};

pub async fn read(fleet: &Fleet, args: &args::Read) -> Result<ExitCode> {
    let (name, client) = fleet.one("read").await?;
    let failed = || format!("read {} of node {name}", args.path);
    let mut stream = client.read(&args.path).await.with_context(failed)?;
    let mut out = std::io::stdout().lock();
    while let Some(piece) = next_data("Read", &mut stream).await.with_context(failed)? {
        out.write_all(&piece).context("print the file")?;
    }
    out.flush().context("print the file")?;
    Ok(ExitCode::SUCCESS)
}

pub async fn list(fleet: &Fleet, args: args::Ls) -> Result<ExitCode> {
    let request = ListRequest {
        root: args.path.clone(),
        recurse: args.recurse || args.depth > 1,
        recursion_depth: args.depth,
        types: args.types.iter().map(|kind| wire_type(*kind).into()).collect(),
        report_xattrs: args.long,
    };
    let nodes = fleet.nodes(&Insecure::default()).await?;
    let request = &request;
    let call = async |_, client: Client| {
        let mut stream = client.list(request.clone()).await?;
        let mut files = Vec::new();
        // What came before an error is shown; the error then counts for the node.
        let end = loop {
            match next("List", &mut stream).await {
                Ok(Some(file)) => files.push(file),
                Ok(None) => break None,
                Err(error) => break Some(error.into()),
            }
        };
        match end {
            Some(error) if files.is_empty() => Err(error),
            end => Ok((files, end)),
        }
    };
    let (replies, mut code) = each(nodes, call).await;
    let mut report = Report::new(if args.long { LONG } else { &["NODE", "NAME"] });
    for (node, (files, end)) in replies {
        for file in files {
            if !file.error.is_empty() {
                eprintln!("{node}: {}: {}", file.name, file.error);
                code = ExitCode::FAILURE;
                continue;
            }
            if args.long {
                report.row(long(&node, file, args.humanize))
            } else {
                report.row([node.clone().into(), file.relative_name.into()])
            }
        }
        if let Some(error) = end {
            eprintln!("error from node {node}: {}", chain(&error));
            code = ExitCode::FAILURE;
        }
    }
    report.print(args.output.output)?;
    Ok(code)
}

const LONG: &[&str] = &["NODE", "MODE", "UID", "GID", "SIZE(B)", "LASTMOD", "LABEL", "NAME"];

const fn wire_type(kind: FileType) -> Type {
    match kind {
        FileType::F => Type::Regular,
        FileType::D => Type::Directory,
        FileType::L => Type::Symlink,
    }
}

fn long(node: &str, file: FileInfo, humanize: bool) -> [Cell; 8] {
    let size = if humanize { Cell::shown(file.size, bytes(file.size.unsigned_abs())) } else { file.size.into() };
    let label = file.xattrs.iter().find(|xattr| xattr.name == "security.selinux");
    let label = label.map(|label| String::from_utf8_lossy(&label.data).trim_end_matches('\0').to_owned());
    let time = jiff::Timestamp::from_second(file.modified).map(|time| time.strftime("%Y-%m-%d %H:%M:%S").to_string());
    let name = if file.link.is_empty() { file.relative_name } else { format!("{} -> {}", file.relative_name, file.link) };
    [
        node.into(),
        mode(file.mode).into(),
        u64::from(file.uid).into(),
        u64::from(file.gid).into(),
        size,
        time.unwrap_or_default().into(),
        label.unwrap_or_default().into(),
        name.into(),
    ]
}

/// A mode word of the wire as letters. Its high bits are the API's own (31 folder, 27 link, 26 device, 25 pipe,
/// 24 socket, 23 set-uid, 22 set-gid, 21 character device, 20 sticky), the low nine the usual ones.
fn mode(word: u32) -> String {
    const KINDS: [(u32, char); 13] = [
        (31, 'd'),
        (30, 'a'),
        (29, 'l'),
        (28, 'T'),
        (27, 'L'),
        (26, 'D'),
        (25, 'p'),
        (24, 'S'),
        (23, 'u'),
        (22, 'g'),
        (21, 'c'),
        (20, 't'),
        (19, '?'),
    ];
    let mut text: String = KINDS.iter().filter(|(bit, _)| word >> bit & 1 == 1).map(|(_, letter)| *letter).collect();
    if text.is_empty() {
        text.push('-');
    }
    text.extend("rwxrwxrwx".chars().enumerate().map(|(at, letter)| if word >> (8 - at) & 1 == 1 { letter } else { '-' }));
    text
}

#[cfg(test)]
mod tests {
    use super::mode;

    #[test]
    fn modes_read_as_usual() {
        for (word, wanted) in [
            (0o644, "-rw-r--r--"),
            (1 << 31 | 0o755, "drwxr-xr-x"),
            (1 << 27 | 0o777, "Lrwxrwxrwx"),
            (1 << 26 | 1 << 21 | 0o600, "Dcrw-------"),
            (1 << 31 | 1 << 20 | 0o777, "dtrwxrwxrwx"),
        ] {
            assert_eq!(mode(word), wanted);
        }
    }
}
