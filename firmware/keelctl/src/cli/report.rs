//! Results as an aligned table, JSON or YAML.

use std::{borrow::Cow, fmt::Write};

use anyhow::Result;
use serde_json::{Map, Value};

use super::args::Format;

/// A value with the text that tables show.
#[derive(Clone, Debug)]
pub struct Cell {
    value: Value,
    shown: String,
}

impl Cell {
    /// A value that tables show differently (bytes as MiB).
    pub fn shown(value: impl Into<Value>, shown: impl Into<String>) -> Self {
        Self { value: value.into(), shown: shown.into() }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::shown(text, text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::shown(text.clone(), text)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::shown(number, number.to_string())
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::shown(number, number.to_string())
    }
}

impl From<bool> for Cell {
    fn from(flag: bool) -> Self {
        Self::shown(flag, if flag { "yes" } else { "no" })
    }
}

/// Rows under named columns.
#[derive(Clone, Debug)]
pub struct Report {
    columns: Cow<'static, [&'static str]>,
    rows: Vec<Vec<Cell>>,
}

impl Report {
    pub const fn new(columns: &'static [&'static str]) -> Self {
        Self { columns: Cow::Borrowed(columns), rows: Vec::new() }
    }

    /// With columns that depend on what was asked for.
    pub const fn with_columns(columns: Vec<&'static str>) -> Self {
        Self { columns: Cow::Owned(columns), rows: Vec::new() }
    }

    /// Adds a row; it should have as many cells as there are columns.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Prints it.
    pub fn print(&self, format: Format) -> Result<()> {
        print!("{}", self.render(format)?);
        Ok(())
    }

    /// The text to print.
    pub fn render(&self, format: Format) -> Result<String> {
        Ok(match format {
            Format::Table => self.table(),
            Format::Json => serde_json::to_string_pretty(&self.objects())? + "\n",
            Format::Yaml => serde_yaml::to_string(&self.objects())?,
        })
    }

    /// Objects whose keys are the column names in lower case with underscores.
    fn objects(&self) -> Vec<Value> {
        let key = |column: &str| column.to_lowercase().replace([' ', '-', '/'], "_").replace(['(', ')'], "");
        let object = |row: &Vec<Cell>| {
            let pairs = self.columns.iter().zip(row).map(|(column, cell)| (key(column), cell.value.clone()));
            Value::Object(pairs.collect::<Map<_, _>>())
        };
        self.rows.iter().map(object).collect()
    }

    fn table(&self) -> String {
        let mut widths: Vec<usize> = self.columns.iter().map(|column| column.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.shown.chars().count());
            }
        }
        let mut out = String::new();
        line(&mut out, self.columns.iter().copied(), &widths);
        for row in &self.rows {
            line(&mut out, row.iter().map(|cell| cell.shown.as_str()), &widths);
        }
        out
    }
}

/// Cells three spaces apart, without spaces at the end. Control characters in a cell would break the table: dots.
pub fn line<'a, 'w>(out: &mut String, cells: impl Iterator<Item = &'a str>, widths: impl IntoIterator<Item = &'w usize>) {
    let mut text = String::new();
    for (cell, width) in cells.zip(widths) {
        let clean: String = cell.chars().map(|c| if c.is_control() { '.' } else { c }).collect();
        let _ = write!(text, "{clean:width$}   ");
    }
    out.push_str(text.trim_end());
    out.push('\n');
}

/// A number of bytes as people read it: `512 MiB`, `3.2 GiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if value < 10.0 && value.fract() > 0.05 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Report {
        let mut report = Report::new(&["NODE", "SIZE", "MOUNTED ON"]);
        report.row(["a".into(), Cell::shown(512_u64 << 20, bytes(512 << 20)), "/var".into()]);
        report.row(["node-2.lan".into(), Cell::shown(7_u64, "7 B"), "/a\nb".into()]);
        report
    }

    #[test]
    fn tables_are_aligned_and_stay_tables() {
        let expected = "NODE         SIZE      MOUNTED ON\na            512 MiB   /var\nnode-2.lan   7 B       /a.b\n";
        assert_eq!(sample().render(Format::Table).expect("text"), expected);
    }

    #[test]
    fn machines_get_numbers_and_keys() {
        let json: Value = serde_json::from_str(&sample().render(Format::Json).expect("text")).expect("json");
        assert_eq!(json[0]["size"], 512 << 20);
        assert_eq!(json[1]["mounted_on"], "/a\nb");
        assert!(sample().render(Format::Yaml).expect("text").contains("node: node-2.lan"));
        assert_eq!(Report::new(&["NODE"]).render(Format::Json).expect("text"), "[]\n");
    }

    #[test]
    fn sizes_are_short() {
        for (count, wanted) in [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (10 << 30, "10 GiB")] {
            assert_eq!(bytes(count), wanted);
        }
    }
}
