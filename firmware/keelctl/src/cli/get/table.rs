//! Resources as a table that can grow.

use anyhow::{Context as _, Result};
use wire::cosi::Resource;

use super::{super::report::line, definition::Definition, path, yaml};

/// The cells of a resource.
#[derive(Debug)]
pub struct Row(Vec<String>);

impl Row {
    /// `mark` says what happened to it, for a watch.
    pub fn new(node: &str, mark: &str, definition: &Definition, resource: &Resource) -> Result<Self> {
        let metadata = resource.metadata.clone().unwrap_or_default();
        let spec = serde_yaml::from_str(yaml(resource)).with_context(|| format!("read what {} says", metadata.id))?;
        let first = [node, mark, &metadata.namespace, &definition.display_type, &metadata.id, &metadata.version].map(str::to_owned);
        let more = definition.print_columns.iter().map(|column| path::find(&column.json_path, &spec));
        Ok(Self(first.into_iter().chain(more).collect()))
    }
}

/// Columns that never get narrower, so that a watch stays readable.
#[derive(Debug)]
pub struct Table {
    /// Titles, until they are printed.
    titles: Option<Vec<String>>,
    widths: Vec<usize>,
    /// The second column says what happened.
    marks: bool,
}

impl Table {
    pub fn new(definition: &Definition, marks: bool) -> Self {
        let first = ["NODE", "*", "NAMESPACE", "TYPE", "ID", "VERSION"].map(str::to_owned);
        let titles: Vec<String> =
            first.into_iter().chain(definition.print_columns.iter().map(|column| column.name.to_uppercase())).collect();
        Self { widths: titles.iter().map(|title| title.chars().count()).collect(), titles: Some(titles), marks }
    }

    /// The rows, the first time with titles.
    pub fn render(&mut self, rows: &[Row]) -> String {
        for Row(cells) in rows {
            for (width, cell) in self.widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut out = String::new();
        if let Some(titles) = self.titles.take() {
            self.line(&titles, &mut out);
        }
        rows.iter().for_each(|Row(cells)| self.line(cells, &mut out));
        out
    }

    fn line(&self, cells: &[String], out: &mut String) {
        let shown = |at: &usize| *at != 1 || self.marks;
        let cells = cells.iter().enumerate().filter(|(at, _)| shown(at)).map(|(_, cell)| cell.as_str());
        let widths = self.widths.iter().enumerate().filter(|(at, _)| shown(at)).map(|(_, width)| width);
        line(out, cells, widths);
    }
}

#[cfg(test)]
mod tests {
    use wire::cosi::{Metadata, Spec};

    use super::*;

    fn resource(id: &str, yaml_spec: &str) -> Resource {
        let metadata = Metadata { namespace: "runtime".into(), id: id.into(), version: "3".into(), ..Metadata::default() };
        Resource { metadata: Some(metadata), spec: Some(Spec { proto_spec: vec![], yaml_spec: yaml_spec.into() }) }
    }

    #[test]
    fn tables_have_the_columns_of_their_type() {
        let definition =
            Definition::parse("displayType: Service\nprintColumns: [{name: Running, jsonPath: '{.running}'}]").expect("a definition");
        let row = |mark, id, yaml| Row::new("10.0.0.1", mark, &definition, &resource(id, yaml)).expect("a row");
        let rows = [row("", "apid", "running: true"), row("", "etcd\n", "running: false")];
        let expect = "NODE       NAMESPACE   TYPE      ID      VERSION   RUNNING\n\
                      10.0.0.1   runtime     Service   apid    3         true\n\
                      10.0.0.1   runtime     Service   etcd.   3         false\n";
        assert_eq!(Table::new(&definition, false).render(&rows), expect);
        let mut watched = Table::new(&definition, true);
        let first = watched.render(&[row("+", "apid", "running: true")]);
        assert_eq!(first.lines().last(), Some("10.0.0.1   +   runtime     Service   apid   3         true"));
        assert_eq!(watched.render(&[row("-", "apid", "{}")]), "10.0.0.1   -   runtime     Service   apid   3\n");
        assert!(Row::new("n", "", &definition, &resource("x", "a: [")).is_err());
    }
}
