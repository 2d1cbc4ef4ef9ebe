//! `docs/configuration.md` is made from the schema: this compares them, and writes the page with `KEELSON_WRITE=1`.

use std::{fmt::Write, fs, path::Path};

use machine_config::{DocumentReference, FieldReference, reference};

const HEAD: &str = "# Configuration\n\n\
    Every document and field that a configuration may have, and what this version acts on. Made from the schema:\n\
    `KEELSON_WRITE=1 cargo test -p machine-config --test docs` writes it anew.\n\n\
    A configuration is a stream of YAML documents: the main one (`machine:`, `cluster:`) and others, each with\n\
    `apiVersion: v1alpha1` and its `kind`. All that is listed is checked. What is not acted on is accepted, so that\n\
    configurations of the generation served can be used as they are, and named in a warning when it is applied.\n\n\
    In the last column: *required* where what holds it is there; *secret*: shown in no diff and no log; how a patch\n\
    treats it, where it does not follow its type (single values replace, sections merge, lists append).\n";

#[test]
fn the_page_is_what_the_schema_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = page();
    if std::env::var_os("KEELSON_WRITE").is_some() {
        fs::write(&path, &page).expect("written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/configuration.md is not what the schema says: KEELSON_WRITE=1 cargo test -p machine-config --test docs");
}

fn page() -> String {
    let documents = reference();
    let mut out = HEAD.to_owned();
    let acted: Vec<String> = documents.iter().filter(|document| document.acted).map(|document| format!("`{}`", title(document))).collect();
    writeln!(out, "\nDocuments that this version acts on: {}.", acted.join(", ")).expect("a String");
    for document in &documents {
        writeln!(out, "\n## {}\n", title(document)).expect("a String");
        if !document.acted {
            out.push_str("Checked; this version does not act on it.\n\n");
        }
        out.push_str("| field | type | acted on | |\n|---|---|---|---|\n");
        document.fields.iter().for_each(|field| row(field, &mut out));
    }
    out
}

fn title(document: &DocumentReference) -> &str {
    if document.kind.is_empty() { "Main document" } else { document.kind }
}

fn row(field: &FieldReference, out: &mut String) {
    let notes = [field.required.then(|| "required".to_owned()), field.secret.then(|| "secret".to_owned()), field.patched.clone()];
    let notes = notes.into_iter().flatten().collect::<Vec<_>>().join("; ");
    let acted = if field.acted { "yes" } else { "no" };
    writeln!(out, "| `{}` | {} | {acted} | {notes} |", field.path, field.kind).expect("a String");
}
