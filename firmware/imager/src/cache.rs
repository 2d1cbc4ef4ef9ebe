//! Results kept under `<cache>/<step>/<key>/`, where the key is the hash of all inputs.
//!
//! A result is made in a folder beside its final place and renamed there when it is whole, so that a build that was cut off leaves
//! nothing that a later one would take for a result.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::request::Error;
use crate::room;
use crate::step::{Step, file_error, make_folder};

/// Returns the folder of a cached result, making it first with `make` when there is none.
///
/// # Errors
/// Whatever `make` returns, and [`Error::File`].
pub fn get_or_make(step: &Step<'_>, cache: &Path, key: &str, make: impl FnOnce(&Path) -> Result<(), Error>) -> Result<PathBuf, Error> {
    let shelf = cache.join(step.name);
    let place = shelf.join(key);
    if place.is_dir() {
        room::used(&place);
        step.say(&format!("unchanged, from the cache ({})", &key[..12.min(key.len())]));
        return Ok(place);
    }
    // Process ids say nothing: each build may be the first process of its own name space.
    let _busy = lock(step, &shelf)?;
    if place.is_dir() {
        step.say("made by another build meanwhile");
        return Ok(place);
    }
    let draft = shelf.join(format!(".{key}"));
    remove(step.name, &draft)?;
    make_folder(step.name, &draft)?;
    match make(&draft) {
        Ok(()) => {}
        Err(error) => {
            // What is left would only cost space; the error at hand is the one to report.
            let _ = fs::remove_dir_all(&draft);
            return Err(error);
        }
    }
    fs::rename(&draft, &place).map_err(file_error(step.name, "publish", &place))?;
    Ok(place)
}

/// Waits until no other build makes something for `shelf`; held until the returned file is dropped.
///
/// # Errors
/// [`Error::File`].
pub fn lock(step: &Step<'_>, shelf: &Path) -> Result<File, Error> {
    make_folder(step.name, shelf)?;
    let path = shelf.join(".busy");
    let file = File::create(&path).map_err(file_error(step.name, "create", &path))?;
    if file.try_lock().is_err() {
        step.say("waiting for another build that makes the same kind of thing");
        file.lock().map_err(file_error(step.name, "lock", &path))?;
    }
    Ok(file)
}

/// Removes a folder that may not be there.
///
/// # Errors
/// [`Error::File`].
pub fn remove(step: &'static str, path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(file_error(step, "remove", path)),
    }
}
