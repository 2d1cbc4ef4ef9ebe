//! `DiskUsage`: the lengths of files, summed up by directory.

use std::{collections::HashSet, os::unix::fs::MetadataExt, path::PathBuf, vec};

use futures_util::{StreamExt, TryStreamExt, stream};
use tonic::Status;
use wire::machine::{DiskUsageInfo, DiskUsageRequest};

use super::{
    super::{Context, Replies, streams::until_stop},
    absolute, is_kernel_memory, plain,
    walk::{Found, Walk},
};

/// Entries looked at in one go on a thread that may block.
const BATCH: usize = 256;
/// Most trees in one request.
const MOST_PATHS: usize = 64;
/// Files with several names that are remembered, so as to count them once; what comes after them counts with each name.
const MOST_LINKS: usize = 1 << 18;

/// Rules: reference, behaviour (c) "Details of file, process and container calls"; it answers for the first path only.
pub(in super::super) async fn usage(context: &Context, request: DiskUsageRequest) -> Result<Replies<DiskUsageInfo>, Status> {
    if request.paths.is_empty() || request.paths.len() > MOST_PATHS {
        return Err(Status::invalid_argument(format!("{} paths: between 1 and {MOST_PATHS} are possible", request.paths.len())));
    }
    let wanted = Wanted::of(&request);
    let paths: Vec<PathBuf> = request.paths.iter().map(|path| absolute(path)).collect();
    let blocking = context.blocking.clone();
    let batches = stream::try_unfold(Some(Trees::new(paths, wanted)), move |trees| {
        let blocking = blocking.clone();
        async move {
            let Some(mut trees) = trees else { return Ok(None) };
            let job = move || {
                let mut told = Vec::new();
                let more = trees.go_on(BATCH, &mut told);
                (told, more.then_some(trees))
            };
            let (told, trees): (Vec<DiskUsageInfo>, _) = blocking.run(job).await?;
            Ok::<_, Status>(Some((stream::iter(told).map(Ok), trees)))
        }
    });
    Ok(until_stop(context, batches.try_flatten()))
}

/// What of it is told; all of it is counted.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    /// Levels, the root's among them.
    levels: usize,
    /// Files too, not only directories.
    files: bool,
    /// Positive: of at least this many bytes; negative: of at most so many.
    threshold: i64,
}

impl Wanted {
    fn of(request: &DiskUsageRequest) -> Self {
        let levels = usize::try_from(request.recursion_depth).ok().filter(|levels| *levels > 0).unwrap_or(usize::MAX);
        Self { levels, files: request.all, threshold: request.threshold }
    }

    /// Whether a thing of this size is told; what was asked for by its name is told even if it is a file.
    fn includes(&self, level: usize, size: u64, directory: bool) -> bool {
        let limit = self.threshold.unsigned_abs();
        let fits = match self.threshold.signum() {
            1 => size >= limit,
            -1 => size <= limit,
            _ => true,
        };
        fits && level < self.levels && (directory || self.files || level == 0)
    }
}

/// Something in a tree.
#[derive(Debug)]
struct Item {
    name: String,
    relative: String,
    /// Levels below the root.
    level: usize,
    size: u64,
    directory: bool,
    error: String,
}

/// Sums up a tree whose directories come before what is in them.
#[derive(Debug)]
struct Tally {
    wanted: Wanted,
    /// Directories that are not complete, the innermost last.
    open: Vec<Item>,
}

impl Tally {
    const fn new(wanted: Wanted) -> Self {
        Self { wanted, open: Vec::new() }
    }

    /// The next thing of the walk. What is complete with it goes out: directories after what is in them.
    fn add(&mut self, item: Item, told: &mut Vec<DiskUsageInfo>) {
        while self.open.last().is_some_and(|open| open.level >= item.level) {
            self.close(told);
        }
        self.open.push(item);
        if self.open.last().is_some_and(|item| !item.directory) {
            self.close(told);
        }
    }

    /// There is no more.
    fn end(&mut self, told: &mut Vec<DiskUsageInfo>) {
        while !self.open.is_empty() {
            self.close(told);
        }
    }

    fn close(&mut self, told: &mut Vec<DiskUsageInfo>) {
        let Some(item) = self.open.pop() else { return };
        if let Some(parent) = self.open.last_mut() {
            parent.size = parent.size.saturating_add(item.size);
        }
        // What could not be looked at is always told.
        if !item.error.is_empty() || self.wanted.includes(item.level, item.size, item.directory) {
            let size = i64::try_from(item.size).unwrap_or(i64::MAX);
            told.push(DiskUsageInfo { metadata: None, name: item.name, size, error: item.error, relative_name: item.relative });
        }
    }
}

/// The trees asked for, one after the other.
struct Trees {
    paths: vec::IntoIter<PathBuf>,
    wanted: Wanted,
    tree: Option<Tree>,
}

/// A tree under way.
struct Tree {
    walk: Walk,
    tally: Tally,
    /// Device and number of files with several names that were counted.
    links: HashSet<(u64, u64)>,
}

impl Trees {
    fn new(paths: Vec<PathBuf>, wanted: Wanted) -> Self {
        Self { paths: paths.into_iter(), wanted, tree: None }
    }

    /// Looks at so many entries; whether there are more.
    fn go_on(&mut self, entries: usize, told: &mut Vec<DiskUsageInfo>) -> bool {
        for _ in 0..entries {
            let Some(tree) = &mut self.tree else {
                let Some(path) = self.paths.next() else { return false };
                self.begin(path, told);
                continue;
            };
            match tree.walk.next() {
                Some(found) => {
                    let item = tree.item(found);
                    tree.tally.add(item, told);
                }
                None => {
                    tree.tally.end(told);
                    self.tree = None;
                }
            }
        }
        true
    }

    fn begin(&mut self, path: PathBuf, told: &mut Vec<DiskUsageInfo>) {
        match Walk::new(&path, usize::MAX) {
            Ok(walk) => self.tree = Some(Tree { walk, tally: Tally::new(self.wanted), links: HashSet::new() }),
            Err(error) => {
                let error = plain("lstat", &path, &error);
                let name = path.to_string_lossy().into_owned();
                told.push(DiskUsageInfo { name, error, relative_name: ".".to_owned(), ..DiskUsageInfo::default() });
            }
        }
    }
}

impl Tree {
    fn item(&mut self, found: Found) -> Item {
        let (size, directory, error) = match &found.state {
            Err((what, error)) => (0, false, plain(what, &found.path, error)),
            Ok(meta) => {
                let again = !meta.is_dir() && meta.nlink() > 1 && !self.first_name((meta.dev(), meta.ino()));
                let nothing = again || is_kernel_memory(&found.path);
                (if nothing { 0 } else { meta.size() }, meta.is_dir(), String::new())
            }
        };
        Item {
            name: found.path.to_string_lossy().into_owned(),
            relative: found.relative.to_string_lossy().into_owned(),
            level: found.level,
            size,
            directory,
            error,
        }
    }

    fn first_name(&mut self, file: (u64, u64)) -> bool {
        !self.links.contains(&file) && (self.links.len() >= MOST_LINKS || self.links.insert(file))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, path::Path};

    use proptest::prelude::*;

    use super::*;

    const ALL: Wanted = Wanted { levels: usize::MAX, files: true, threshold: 0 };

    /// `relative size directory?` in the order of a walk; what is told as `relative=size`.
    #[track_caller]
    fn check(wanted: Wanted, items: &[(&str, u64, bool)], expect: &str) {
        let (mut tally, mut told) = (Tally::new(wanted), Vec::new());
        for (relative, size, directory) in items {
            let level = if *relative == "." { 0 } else { relative.split('/').count() };
            let relative = (*relative).to_owned();
            let item = Item { name: String::new(), relative, level, size: *size, directory: *directory, error: String::new() };
            tally.add(item, &mut told);
        }
        tally.end(&mut told);
        let told: Vec<String> = told.iter().map(|info| format!("{}={}", info.relative_name, info.size)).collect();
        assert_eq!(told.join(" "), expect, "{wanted:?}");
    }

    #[test]
    fn directories_come_after_what_is_in_them() {
        let tree =
            [(".", 10, true), ("a", 1, false), ("b", 10, true), ("b/c", 10, true), ("b/c/d", 5, false), ("b/e", 2, false), ("z", 3, false)];
        check(ALL, &tree, "a=1 b/c/d=5 b/c=15 b/e=2 b=27 z=3 .=41");
        check(Wanted { files: false, ..ALL }, &tree, "b/c=15 b=27 .=41");
        check(Wanted { levels: 1, ..ALL }, &tree, ".=41");
        check(Wanted { levels: 2, ..ALL }, &tree, "a=1 b=27 z=3 .=41");
        check(Wanted { threshold: 5, ..ALL }, &tree, "b/c/d=5 b/c=15 b=27 .=41");
        check(Wanted { threshold: -5, ..ALL }, &tree, "a=1 b/c/d=5 b/e=2 z=3");
        check(Wanted { files: false, ..ALL }, &[("f", 7, false)], "");
        check(Wanted { files: false, ..ALL }, &[(".", 7, false)], ".=7");
        check(ALL, &[], "");
    }

    #[test]
    fn requests_are_understood() {
        for (depth, levels) in [(0, usize::MAX), (-1, usize::MAX), (1, 1), (4, 4)] {
            let request = DiskUsageRequest { recursion_depth: depth, ..DiskUsageRequest::default() };
            assert_eq!(Wanted::of(&request).levels, levels, "{depth}");
        }
    }

    fn told(paths: &[&Path]) -> Vec<DiskUsageInfo> {
        let mut trees = Trees::new(paths.iter().map(|path| path.to_path_buf()).collect(), ALL);
        let mut told = Vec::new();
        while trees.go_on(3, &mut told) {}
        told
    }

    #[test]
    fn trees_are_summed_up_and_files_with_two_names_count_once() {
        let root = tempfile::tempdir().expect("folder");
        fs::create_dir(root.path().join("b")).expect("folder");
        fs::write(root.path().join("a"), [0; 1000]).expect("written");
        fs::hard_link(root.path().join("a"), root.path().join("b/same")).expect("linked");
        fs::write(root.path().join("b/own"), [0; 24]).expect("written");
        let folders: u64 = ["", "b"].iter().map(|name| root.path().join(name).metadata().expect("there").len()).sum();
        let missing = root.path().join("none");
        let told = told(&[root.path(), &missing, Path::new("/proc/version")]);
        let sizes: BTreeMap<&str, i64> = told.iter().take(5).map(|info| (info.relative_name.as_str(), info.size)).collect();
        assert_eq!((sizes["a"], sizes["b/same"], sizes["b/own"]), (1000, 0, 24));
        assert_eq!(sizes["."], i64::try_from(folders).expect("small") + 1024);
        assert_eq!(told[5].error, format!("lstat {}: no such file or directory", missing.display()));
        assert_eq!((told[6].relative_name.as_str(), told[6].size, told.len()), ("version", 0, 7));
    }

    proptest! {
        /// Whatever comes, the roots told sum up to all that was added.
        #[test]
        fn nothing_is_lost(items in prop::collection::vec((0_usize..6, 0_u64..1000, any::<bool>()), 0..60)) {
            let (mut tally, mut told) = (Tally::new(Wanted { levels: 1, ..ALL }), Vec::new());
            let total: u64 = items.iter().map(|(_, size, _)| size).sum();
            // Levels as a walk has them: at most one more than that of the directory before.
            let mut deepest = 0;
            let mut roots = 0;
            for (level, size, directory) in items {
                let level = level.min(deepest);
                deepest = if directory { level + 1 } else { level };
                roots += usize::from(level == 0);
                let item = Item { name: String::new(), relative: String::new(), level, size, directory, error: String::new() };
                tally.add(item, &mut told);
            }
            tally.end(&mut told);
            prop_assert_eq!(told.len(), roots);
            prop_assert_eq!(told.iter().map(|info| info.size).sum::<i64>(), i64::try_from(total).expect("small"));
        }
    }
}
