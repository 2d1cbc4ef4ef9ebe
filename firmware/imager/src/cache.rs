//! Results kept under `<cache>/<step>/<key>/`, where the key is the hash of all inputs.
//!
//! A result is made in a folder beside its final place and renamed there when it is whole, so that a build that was cut off leaves
//! nothing that a later one would take for a result.

use std::fs;
use std::path::{Path, PathBuf};

use crate::request::Error;
use crate::step::{Step, file_error, make_folder};

/// Returns the folder of a cached result, making it first with `make` when there is none.
///
/// # Errors
/// Whatever `make` returns, and [`Error::File`].
pub fn get_or_make(
    step: &Step<'_>,
    cache: &Path,
    key: &str,
    make: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<PathBuf, Error> {
    let shelf = cache.join(step.name);
    let place = shelf.join(key);
    if place.is_dir() {
        step.say(&format!("unchanged, from the cache ({})", &key[..12.min(key.len())]));
        return Ok(place);
    }
    let draft = shelf.join(format!(".{key}.{}", std::process::id()));
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
    match fs::rename(&draft, &place) {
        Ok(()) => Ok(place),
        // Another build made the same meanwhile: same inputs, same bytes.
        Err(_) if place.is_dir() => {
            remove(step.name, &draft)?;
            Ok(place)
        }
        Err(source) => Err(Error::File { step: step.name, action: "publish", path: place, source }),
    }
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
