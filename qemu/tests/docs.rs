//! `docs/api-coverage.md` has a row for each method; with `KEELSON_WRITE=1` it is written from what the suite `coverage` last saw.

use std::{fs, path::Path};

use qemu::coverage;
use wire::methods::METHODS;

#[test]
fn every_method_has_its_row() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = project.join(coverage::PAGE);
    if std::env::var_os("KEELSON_WRITE").is_some() {
        let seen = coverage::seen(qemu::Arch::X86_64.board());
        let text = fs::read_to_string(&seen).unwrap_or_else(|error| panic!("{}: {error}: run the suite `coverage` first", seen.display()));
        let rows = coverage::read(&text).expect("what the suite wrote");
        fs::write(&page, coverage::write(&rows)).expect("written");
    }
    let rows = coverage::read(&fs::read_to_string(&page).expect("readable")).expect("rows");
    let named: Vec<&str> = rows.iter().map(|row| row.method.path).collect();
    let wanted: Vec<&str> = METHODS.iter().map(|method| method.path).collect();
    assert_eq!(named, wanted, "KEELSON_WRITE=1 cargo test -p apid --test roles");
    assert!(fs::read_to_string(&page).expect("readable") == coverage::write(&rows), "{} is not as it is written", coverage::PAGE);
}
