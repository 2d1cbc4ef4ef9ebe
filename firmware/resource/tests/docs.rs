//! `docs/resources.md` is made from the code: this compares them, and writes the page with `KEELSON_WRITE=1`.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use resource::{
    Registered, Shape,
    kinds::{self, NAMESPACES},
};

const HEAD: &str = "# Resources\n\n\
    What a node knows about itself, as `keelctl get` and `talosctl get` read it. Made from the code: \
    `KEELSON_WRITE=1 cargo test -p resource --test docs`\nwrites it anew. A type is here as soon as something fills it.\n";

#[test]
fn the_page_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/resources.md");
    let page = page();
    if std::env::var_os("KEELSON_WRITE").is_some() {
        fs::write(&path, &page).expect("written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/resources.md is not what the code says: KEELSON_WRITE=1 cargo test -p resource --test docs");
}

fn page() -> String {
    let mut by_namespace: BTreeMap<&str, Vec<&Registered>> = BTreeMap::new();
    kinds::all().for_each(|kind| by_namespace.entry(kind.definition.namespace).or_default().push(kind));
    let mut out = HEAD.to_owned();
    for (namespace, mut kinds) in by_namespace {
        let about = NAMESPACES.iter().find(|(name, _)| *name == namespace).map_or("", |(_, about)| about);
        writeln!(out, "\n## Namespace `{namespace}`\n\n{about}").expect("a String");
        kinds.sort_by_key(|kind| kind.definition.kind);
        kinds.into_iter().for_each(|kind| describe(kind, &mut out));
    }
    out
}

fn describe(Registered { definition, shape }: &Registered, out: &mut String) {
    let code = |words: Vec<String>| words.into_iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    writeln!(out, "\n### {}\n\nNames: {}.", definition.kind, code(definition.names().all)).expect("a String");
    if definition.sensitive {
        out.push_str("For administrators only.\n");
    }
    if !definition.columns.is_empty() {
        let columns = definition.columns.iter().map(|column| format!("{} {}", column.name, column.path)).collect();
        writeln!(out, "Columns: {}.", code(columns)).expect("a String");
    }
    match shape() {
        Shape::Message(_, fields) => {
            out.push_str("\n| field | type | number |\n|---|---|---|\n");
            rows("", &fields, out);
        }
        other => writeln!(out, "In YAML: {}.", name(&other)).expect("a String"),
    }
}

/// The fields of a message and of those within it.
fn rows(prefix: &str, fields: &[resource::FieldShape], out: &mut String) {
    for field in fields {
        // A message without a name: its fields are those of the outer one.
        if let ("", Shape::Message(_, inner)) = (field.name, &field.shape) {
            rows(prefix, inner, out);
            continue;
        }
        writeln!(out, "| `{prefix}{}` | {} | {} |", field.name, name(&field.shape), field.number).expect("a String");
        match &field.shape {
            Shape::Message(_, inner) => rows(&format!("{prefix}{}.", field.name), inner, out),
            Shape::List(item) => {
                if let Shape::Message(_, inner) = &**item {
                    rows(&format!("{prefix}{}[].", field.name), inner, out);
                }
            }
            _ => {}
        }
    }
}

fn name(shape: &Shape) -> String {
    match shape {
        Shape::Plain(name) => (*name).to_owned(),
        Shape::List(item) => format!("list of {}", name(item)),
        Shape::Map(item) => format!("table of {}", name(item)),
        Shape::Choice(_, names) => {
            let names: Vec<_> = names.iter().map(|name| if name.is_empty() { "(empty)".to_owned() } else { format!("`{name}`") }).collect();
            format!("one of {}", names.join(", "))
        }
        Shape::Message(name, _) => (*name).to_owned(),
    }
}
