//! ELF files must find their interpreter and libraries inside the image.

use std::fs;
use std::path::{Path, PathBuf};

use object::elf::{DT_NEEDED, DT_RUNPATH, ET_EXEC, FileHeader64, PT_INTERP};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};
use object::{Endianness, StringTable};

use crate::board::Arch;
use crate::checks::resolve;
use crate::digest;
use crate::request::Error;

const STEP: &str = "rootfs";

/// What an ELF file asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// The loader, for programs.
    pub interpreter: Option<String>,
    /// Libraries by name.
    pub libraries: Vec<String>,
    /// Folders it brings along to look in.
    pub run_path: Vec<String>,
    /// The machine it is for.
    pub machine: u16,
    /// A program that wants to be at one address, known to everybody.
    pub fixed: bool,
}

/// What keeps a program from being one that needs no other file and may be anywhere in memory; empty when nothing does.
#[must_use]
pub fn not_alone(wants: &Wants) -> Vec<String> {
    let mut problems: Vec<String> = wants.interpreter.iter().map(|loader| format!("needs the loader {loader}")).collect();
    problems.extend(wants.libraries.iter().map(|library| format!("needs the library {library}")));
    if wants.fixed {
        problems.push("is at a fixed address".to_owned());
    }
    problems
}

/// Checks every ELF file below `tree` but kernel modules; every problem found, sorted.
///
/// # Errors
/// [`Error::File`].
pub fn check(tree: &Path, arch: Arch) -> Result<Vec<String>, Error> {
    let mut problems = Vec::new();
    for path in digest::walk(STEP, tree)? {
        let name = path.strip_prefix(tree).unwrap_or(&path);
        if path.is_symlink() || !path.is_file() || name.starts_with("usr/lib/modules") {
            continue;
        }
        let data = fs::read(&path).map_err(|source| Error::File { step: STEP, action: "read", path: path.clone(), source })?;
        if !data.starts_with(b"\x7fELF") {
            continue;
        }
        let found = match wants(&data) {
            Ok(wants) => missing(tree, name, &wants, arch),
            Err(error) => vec![format!("not a 64-bit ELF file that can be read ({error})")],
        };
        problems.extend(found.into_iter().map(|problem| format!("/{}: {problem}", name.display())));
    }
    Ok(problems)
}

fn missing(tree: &Path, name: &Path, wants: &Wants, arch: Arch) -> Vec<String> {
    let mut problems = Vec::new();
    let machine = match arch {
        Arch::X86_64 => object::elf::EM_X86_64,
        Arch::Arm64 => object::elf::EM_AARCH64,
    };
    if wants.machine != machine {
        problems.push(format!("is not for {arch}"));
    }
    if let Some(interpreter) = &wants.interpreter
        && resolve(tree, Path::new(interpreter)).is_none()
    {
        problems.push(format!("needs the loader {interpreter}, which is not in the image"));
    }
    let multiarch = match arch {
        Arch::X86_64 => "usr/lib/x86_64-linux-gnu",
        Arch::Arm64 => "usr/lib/aarch64-linux-gnu",
    };
    let origin = name.parent().unwrap_or(Path::new("")).to_string_lossy();
    let own = wants.run_path.iter().map(|path| PathBuf::from(path.replace("$ORIGIN", &format!("/{origin}"))));
    let folders: Vec<PathBuf> = own.chain([multiarch, "usr/lib", "usr/lib64"].map(PathBuf::from)).collect();
    for library in &wants.libraries {
        if !folders.iter().any(|folder| resolve(tree, &folder.join(library)).is_some()) {
            problems.push(format!("needs the library {library}, which is not in the image"));
        }
    }
    problems
}

/// Reads what `data` asks for.
///
/// # Errors
/// The reader's words when it is no 64-bit ELF file.
pub fn wants(data: &[u8]) -> Result<Wants, object::read::Error> {
    let header = FileHeader64::<Endianness>::parse(data)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, data)?;
    let mut wants = Wants { machine: header.e_machine(endian), fixed: header.e_type(endian) == ET_EXEC, ..Wants::default() };
    for segment in segments {
        if segment.p_type(endian) == PT_INTERP
            && let Ok(bytes) = segment.data(endian, data)
        {
            let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
            wants.interpreter = Some(String::from_utf8_lossy(text).into_owned());
        }
    }
    let sections = header.sections(endian, data)?;
    let Some((entries, strings)) = sections.dynamic(endian, data)? else { return Ok(wants) };
    let strings: StringTable<'_> = sections.strings(endian, data, strings)?;
    for entry in entries {
        let text = || entry.string(endian, strings).map(|text| String::from_utf8_lossy(text).into_owned());
        match entry.tag32(endian) {
            Some(DT_NEEDED) => wants.libraries.push(text()?),
            Some(DT_RUNPATH) => wants.run_path.extend(text()?.split(':').map(str::to_owned)),
            _ => {}
        }
    }
    Ok(wants)
}

#[cfg(test)]
mod tests {
    use super::{Wants, missing, not_alone, wants};
    use crate::board::Arch;
    use std::fs;
    use std::path::Path;

    #[test]
    fn the_test_itself_wants_a_c_library() {
        let own = fs::read(std::env::current_exe().expect("a path")).expect("readable");
        let found = wants(&own).expect("an ELF file");
        assert!(found.interpreter.is_some());
        assert!(found.libraries.iter().any(|name| name == "libc.so.6"), "{found:?}");
        assert!(wants(b"\x7fELFbroken").is_err());
    }

    #[test]
    fn a_program_alone_needs_nothing_and_may_be_anywhere() {
        assert!(not_alone(&Wants::default()).is_empty());
        let own = fs::read(std::env::current_exe().expect("a path")).expect("readable");
        assert!(not_alone(&wants(&own).expect("an ELF file")).iter().any(|problem| problem == "needs the library libc.so.6"));
        assert_eq!(not_alone(&Wants { fixed: true, ..Wants::default() }), ["is at a fixed address"]);
    }

    #[track_caller]
    fn check(there: &[&str], libraries: &[&str], run_path: &[&str], expected: &[&str]) {
        let folder = tempfile::tempdir().expect("a folder");
        for name in there {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            fs::write(path, "").expect("a file");
        }
        let wants = Wants {
            interpreter: Some("/usr/lib64/ld.so".to_owned()),
            libraries: libraries.iter().map(|name| (*name).to_owned()).collect(),
            run_path: run_path.iter().map(|name| (*name).to_owned()).collect(),
            machine: object::elf::EM_X86_64,
            fixed: false,
        };
        assert_eq!(missing(folder.path(), Path::new("usr/bin/x"), &wants, Arch::X86_64), expected);
    }

    #[test]
    fn libraries_and_loader_are_looked_for_in_the_image() {
        check(&["usr/lib64/ld.so", "usr/lib/x86_64-linux-gnu/liba.so"], &["liba.so"], &[], &[]);
        check(&["usr/bin/x", "usr/lib64/ld.so", "usr/lib/own/liba.so"], &["liba.so"], &["$ORIGIN/../lib/own"], &[]);
        check(&["usr/lib/liba.so"], &["liba.so"], &[], &["needs the loader /usr/lib64/ld.so, which is not in the image"]);
        check(&["usr/lib64/ld.so"], &["liba.so"], &[], &["needs the library liba.so, which is not in the image"]);
    }
}
