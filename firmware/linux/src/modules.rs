//! Kernel modules: which files a name stands for, and handing them to the kernel.
//!
//! [`Index`] is pure and reads the text files that `depmod` makes (modprobe's manual, depmod.d(5)). [`load`] hands over
//! the file as it is: the kernel unpacks it and LoadPin sees where it comes from.

mod index;

use std::{
    ffi::CString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

pub use index::{Index, Wanted};
use nix::{
    errno::Errno,
    kmod::{ModuleInitFlags, finit_module},
};

/// `MODULE_INIT_COMPRESSED_FILE` of `linux/module.h`.
const COMPRESSED: u32 = 4;

/// A module could not be found or loaded.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the object and the cause of the operation in the message")]
pub enum ModuleError {
    #[error("read the list of modules {path}")]
    List { path: PathBuf, source: io::Error },
    #[error("no module answers to {name}")]
    Unknown { name: String },
    #[error("open module {path}")]
    Open { path: PathBuf, source: io::Error },
    #[error("load module {path}")]
    Load { path: PathBuf, source: io::Error },
}

/// The modules of one kernel on disk.
#[derive(Debug)]
pub struct Modules {
    folder: PathBuf,
}

impl Modules {
    /// Those of the running kernel.
    ///
    /// # Errors
    /// [`ModuleError::List`].
    pub fn of_this_kernel() -> Result<Self, ModuleError> {
        let path = Path::new("/proc/sys/kernel/osrelease");
        let release = fs::read_to_string(path).map_err(|source| ModuleError::List { path: path.into(), source })?;
        Ok(Self { folder: Path::new("/usr/lib/modules").join(release.trim()) })
    }

    /// The files that a name stands for. The list of aliases is ten times as long as the others together: a module's own
    /// name is found without it.
    ///
    /// # Errors
    /// [`ModuleError::List`].
    pub fn find(&self, name: &str) -> Result<Wanted, ModuleError> {
        let read = |list: &str| {
            let path = self.folder.join(list);
            fs::read_to_string(&path).map_err(|source| ModuleError::List { path, source })
        };
        let (dep, softdep) = (read("modules.dep")?, read("modules.softdep")?);
        if let Some(files) = index::plain(&dep, &softdep, name) {
            return Ok(Wanted::Files(files));
        }
        Ok(Index::parse(&dep, &read("modules.alias")?, &softdep, &read("modules.builtin")?).resolve(name))
    }

    /// Loads every module that `name` (a module's or an alias) stands for, what it needs first. Gives how many files the
    /// kernel took; those that are loaded or built in already are none.
    ///
    /// # Errors
    /// [`ModuleError::List`]; [`ModuleError::Unknown`]; [`ModuleError::Open`], [`ModuleError::Load`] of the first file that
    /// failed.
    pub fn load(&self, name: &str) -> Result<usize, ModuleError> {
        self.load_each(name, |_| "").map(|taken| taken.len())
    }

    /// The same with parameters (`name=value`, space between) for the module of that very name, not for what it needs. `false` when it
    /// was loaded or built in already: then the parameters had no effect.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_with(&self, name: &str, parameters: &str) -> Result<bool, ModuleError> {
        let is_own = |file: &Path| own_name(file) == name.replace('-', "_");
        let taken = self.load_each(name, |file| if is_own(file) { parameters } else { "" })?;
        Ok(taken.iter().any(|file| is_own(file)))
    }

    /// The files that the kernel took.
    fn load_each<'a>(&self, name: &str, parameters: impl Fn(&Path) -> &'a str) -> Result<Vec<PathBuf>, ModuleError> {
        let files = match self.find(name)? {
            Wanted::Files(files) => files,
            Wanted::BuiltIn => return Ok(Vec::new()),
            Wanted::Unknown => return Err(ModuleError::Unknown { name: name.to_owned() }),
        };
        let mut taken = Vec::new();
        for file in files {
            let path = self.folder.join(file);
            if load(&path, parameters(&path))? {
                taken.push(path);
            }
        }
        Ok(taken)
    }
}

/// The name of the module in a file: dashes are underscores for the kernel.
fn own_name(file: &Path) -> String {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.split('.').next().unwrap_or(name).replace('-', "_")
}

/// Loads one module file with its parameters (`name=value`, space between); `false` when it is loaded already.
///
/// # Errors
/// [`ModuleError::Open`], [`ModuleError::Load`].
pub fn load(path: &Path, parameters: &str) -> Result<bool, ModuleError> {
    let file = File::open(path).map_err(|source| ModuleError::Open { path: path.into(), source })?;
    let failed = |source| ModuleError::Load { path: path.into(), source };
    let parameters = CString::new(parameters).map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    let packed = path.extension().is_some_and(|extension| extension != "ko");
    let flags = if packed { ModuleInitFlags::from_bits_retain(COMPRESSED) } else { ModuleInitFlags::empty() };
    match finit_module(&file, &parameters, flags) {
        Ok(()) => Ok(true),
        Err(Errno::EEXIST) => Ok(false),
        Err(errno) => Err(failed(errno.into())),
    }
}

/// Whether the kernel takes modules from one file system only, and refuses others (LoadPin, enforced).
#[must_use]
pub fn pinned() -> bool {
    fs::read_to_string("/proc/sys/kernel/loadpin/enforce").is_ok_and(|text| text.trim() == "1")
}
