//! What of `docs/api-coverage.md` this node can tell: callers, and whether a method is there. The suite `coverage` tells the rest, on a
//! booted node.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use qemu::coverage::{PAGE, Row, read, write};

/// Compares the page with what was seen. With `KEELSON_WRITE=1` rows that are missing or not true become what was seen here.
pub fn compare(seen: &[Row]) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(PAGE);
    let page = fs::read_to_string(&path).unwrap_or_default();
    let rows = read(&page)?;
    let mended: Vec<Row> = seen.iter().map(|seen| rows.iter().find(|row| agrees(row, seen)).unwrap_or(seen).clone()).collect();
    if std::env::var_os("KEELSON_WRITE").is_some() {
        fs::write(&path, write(&mended)).with_context(|| format!("write {PAGE}"))?;
        return Ok(());
    }
    let wrong: Vec<&str> = seen.iter().filter(|seen| !rows.iter().any(|row| agrees(row, seen))).map(|row| row.method.path).collect();
    ensure!(wrong.is_empty(), "rows of {PAGE} that are missing or not true: {wrong:?}\nKEELSON_WRITE=1 cargo test -p apid --test roles");
    ensure!(rows.len() == seen.len(), "{PAGE} has {} rows for {} methods", rows.len(), seen.len());
    Ok(())
}

/// A method that is there may answer otherwise on a booted node; one that is not says the same sentence everywhere.
fn agrees(row: &Row, seen: &Row) -> bool {
    let answers = row.answer == seen.answer || row.answer.is_there() && seen.answer.is_there();
    (row.method.path, &row.who, row.open, &row.about) == (seen.method.path, &seen.who, seen.open, &seen.about) && answers
}
