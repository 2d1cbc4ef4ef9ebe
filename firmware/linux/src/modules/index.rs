//! From a name to files, in the order of loading.

use std::collections::{BTreeMap, BTreeSet};

/// Modules that one request may bring along; a list that names more is wrong.
const MOST: usize = 256;

/// What a name stands for.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted {
    /// These files, relative to the modules' folder, each after what it needs.
    Files(Vec<String>),
    /// Code that is part of the kernel.
    BuiltIn,
    /// Nothing.
    Unknown,
}

/// A module on disk.
#[derive(Debug, Default)]
struct Entry {
    path: String,
    /// Paths that must be loaded before, the nearest first (as `depmod` writes them).
    needs: Vec<String>,
    /// Names that are better there before and after.
    before: Vec<String>,
    after: Vec<String>,
}

/// The text files of a modules' folder.
#[derive(Debug, Default)]
pub struct Index {
    modules: BTreeMap<String, Entry>,
    aliases: Vec<(String, String)>,
    builtin: BTreeSet<String>,
}

impl Index {
    /// Reads `modules.dep`, `modules.alias`, `modules.softdep` and `modules.builtin`. Lines that make no sense are left out.
    #[must_use]
    pub fn parse(dep: &str, alias: &str, softdep: &str, builtin: &str) -> Self {
        let mut index = Self::default();
        for (path, needs) in dep.lines().filter_map(|line| line.split_once(':')) {
            let needs = needs.split_whitespace().map(str::to_owned).collect();
            index.modules.insert(name_of(path), Entry { path: path.to_owned(), needs, ..Entry::default() });
        }
        for line in alias.lines() {
            let mut words = line.split_whitespace();
            if let (Some("alias"), Some(pattern), Some(module)) = (words.next(), words.next(), words.next()) {
                index.aliases.push((normal(pattern), normal(module)));
            }
        }
        for line in softdep.lines() {
            index.add_softdep(line);
        }
        index.builtin.extend(builtin.lines().map(name_of));
        index
    }

    fn add_softdep(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let (Some("softdep"), Some(module)) = (words.next(), words.next()) else { return };
        let Some(entry) = self.modules.get_mut(&normal(module)) else { return };
        let mut list = None;
        for word in words {
            match (word, &mut list) {
                ("pre:", _) => list = Some(false),
                ("post:", _) => list = Some(true),
                (name, Some(false)) => entry.before.push(normal(name)),
                (name, Some(true)) => entry.after.push(normal(name)),
                (_, None) => {}
            }
        }
    }

    /// What `name`, a module's name or an alias as the kernel and uevents write it, stands for.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Wanted {
        let name = normal(name);
        let mut found = Vec::new();
        let known = self.collect(&name, &mut found, 0);
        match (known, found.is_empty()) {
            (_, false) => Wanted::Files(found),
            (true, true) => Wanted::BuiltIn,
            (false, true) => Wanted::Unknown,
        }
    }

    /// Adds the files for a name; whether it is known at all.
    fn collect(&self, name: &str, found: &mut Vec<String>, depth: usize) -> bool {
        // Soft dependencies may go in circles.
        if depth > 4 || found.len() > MOST {
            return true;
        }
        if let Some(entry) = self.modules.get(name) {
            self.add(entry, found, depth);
            return true;
        }
        if self.builtin.contains(name) {
            return true;
        }
        let mut known = false;
        for (_, module) in self.aliases.iter().filter(|(pattern, _)| matches(pattern.as_bytes(), name.as_bytes())) {
            if let Some(entry) = self.modules.get(module) {
                self.add(entry, found, depth);
                known = true;
            } else {
                known |= self.builtin.contains(module);
            }
        }
        known
    }

    fn add(&self, entry: &Entry, found: &mut Vec<String>, depth: usize) {
        if found.contains(&entry.path) {
            return;
        }
        for name in &entry.before {
            self.collect(name, found, depth + 1);
        }
        for path in entry.needs.iter().rev().chain([&entry.path]) {
            if !found.contains(path) {
                found.push(path.clone());
            }
        }
        for name in &entry.after {
            self.collect(name, found, depth + 1);
        }
    }
}

/// The files of a module by its own name, when neither it nor what it needs has soft dependencies; `None` sends the
/// caller to [`Index`].
pub(super) fn plain(dep: &str, softdep: &str, name: &str) -> Option<Vec<String>> {
    let name = normal(name);
    let (path, needs) = dep.lines().filter_map(|line| line.split_once(':')).find(|(path, _)| name_of(path) == name)?;
    let files: Vec<String> = needs.split_whitespace().rev().chain([path]).map(str::to_owned).collect();
    let soft = |file: &String| {
        let name = name_of(file);
        softdep.lines().filter_map(|line| line.split_whitespace().nth(1)).any(|module| normal(module) == name)
    };
    (!files.iter().any(soft)).then_some(files)
}

/// A module's name from its path: `kernel/fs/nfs-common.ko.zst` is `nfs_common`.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    normal(file.split('.').next().unwrap_or(file))
}

/// Dashes and underscores are the same in names; not so inside the brackets of a pattern, where a dash makes a range.
fn normal(name: &str) -> String {
    let mut inside = false;
    let one = |character| {
        inside = match character {
            '[' => true,
            ']' => false,
            _ => inside,
        };
        if character == '-' && !inside { '_' } else { character }
    };
    name.chars().map(one).collect()
}

/// Shell patterns as `fnmatch` reads them: `*`, `?`, `[abc]`, `[a-c]`. Each `*` is tried at most once a place, so that
/// time grows with the product of both lengths and not beyond.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry = None;
    loop {
        let step = match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
                continue;
            }
            None if t == text.len() => return true,
            None => None,
            Some(_) => text.get(t).and_then(|byte| one(pattern.get(p..).unwrap_or_default(), *byte)),
        };
        match (step, retry) {
            (Some(width), _) => {
                p += width;
                t += 1;
            }
            (None, Some((after, from))) if from < text.len() => {
                retry = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
            (None, _) => return false,
        }
    }
}

/// How many bytes of the pattern stand for this byte; `None` when it does not fit.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', rest @ ..] => {
            let end = rest.iter().position(|other| *other == b']')?;
            let mut set = rest.get(..end)?;
            let mut fits = false;
            while let Some((&first, tail)) = set.split_first() {
                if let [b'-', last, after @ ..] = tail {
                    fits |= (first..=*last).contains(&byte);
                    set = after;
                } else {
                    fits |= first == byte;
                    set = tail;
                }
            }
            fits.then_some(end + 2)
        }
        [other, ..] if *other == byte => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/fs/ext4/ext4.ko.zst: kernel/fs/jbd2/jbd2.ko.zst kernel/lib/crc16.ko.zst\n\
        kernel/fs/jbd2/jbd2.ko.zst: kernel/lib/crc16.ko.zst\nkernel/lib/crc16.ko.zst:\n\
        kernel/net/nf-x.ko:\nkernel/a.ko:\nkernel/b.ko:\n";
    const ALIAS: &str = "# comment\nalias fs-ext4 ext4\nalias pci:v00008086d0000100[0-3]sv*sd*bc*sc*i* nf-x\n\
        alias of:N*T*Cone,two* crc16\nalias of:N*T*Cone* nf-x\nalias there virtio_net\n";
    const SOFT: &str = "softdep nf-x pre: a nothing post: b\nsoftdep a pre: b\nsoftdep b pre: a\n";

    #[track_caller]
    fn check(name: &str, wanted: &[&str]) {
        if let Some(files) = plain(DEP, SOFT, name) {
            assert_eq!(files, wanted, "{name}, the short way");
        }
        let index = Index::parse(DEP, ALIAS, SOFT, "kernel/drivers/net/virtio_net.ko\n");
        match index.resolve(name) {
            Wanted::Files(files) => assert_eq!(files, wanted, "{name}"),
            other => assert_eq!((wanted, &other), ([].as_slice(), &other), "{name}"),
        }
    }

    #[test]
    fn files_come_after_what_they_need() {
        let ext4 = ["kernel/lib/crc16.ko.zst", "kernel/fs/jbd2/jbd2.ko.zst", "kernel/fs/ext4/ext4.ko.zst"];
        check("ext4", &ext4);
        assert!(plain(DEP, SOFT, "ext4").is_some(), "found by its name");
        assert_eq!((plain(DEP, SOFT, "nf-x"), plain(DEP, SOFT, "fs-ext4")), (None, None), "soft dependencies; an alias");
        check("fs-ext4", &ext4);
        check("fs_ext4", &ext4);
        // circles end
        check("nf_x", &["kernel/b.ko", "kernel/a.ko", "kernel/net/nf-x.ko"]);
        check("pci:v00008086d00001002sv00001AF4sd00001100bc02sc00i00", &["kernel/b.ko", "kernel/a.ko", "kernel/net/nf-x.ko"]);
        check("pci:v00008086d00001004sv00001AF4sd00001100bc02sc00i00", &[]);
        // several modules for one device
        check("of:NaT(null)Cone,two", &["kernel/lib/crc16.ko.zst", "kernel/b.ko", "kernel/a.ko", "kernel/net/nf-x.ko"]);
    }

    #[test]
    fn built_in_and_unknown_are_not_the_same() {
        let index = Index::parse(DEP, ALIAS, SOFT, "kernel/drivers/net/virtio_net.ko\n");
        for name in ["virtio-net", "virtio_net", "there"] {
            assert_eq!(index.resolve(name), Wanted::BuiltIn, "{name}");
        }
        for name in ["", "*", "ext", "net-pf-99"] {
            assert_eq!(index.resolve(name), Wanted::Unknown, "{name}");
        }
        assert_eq!(Index::parse("rubbish", "alias x", "softdep", "").resolve("rubbish"), Wanted::Unknown);
    }

    #[test]
    fn patterns() {
        for (pattern, text, wanted) in [
            ("*", "", true),
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "aXbXb", false),
            ("a?c", "abc", true),
            ("a?", "a", false),
            ("[a-c]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("[ac]", "c", true),
            ("[a", "a", false),
            ("", "", true),
            ("", "a", false),
            ("a*", "b", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), wanted, "{pattern} {text}");
        }
        // would take for ever with naive backtracking
        assert!(!matches(("a*".repeat(40) + "c").as_bytes(), "a".repeat(400).as_bytes()));
    }
}
