//! `-o jsonpath=TEMPLATE`: text with paths in braces, as kubectl reads it.
//!
//! `{.metadata.id}`, `{range .spec.addresses[*]}{@}{"\n"}{end}`; see [`super::get::path`] for what a path can say.

use serde_yaml::Value;

use super::get::path;

/// Deepest nesting of ranges.
const MAX_DEPTH: usize = 16;

/// A template that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Path(String),
    /// Once for each value of a path.
    Range(String, Vec<Piece>),
}

impl Template {
    pub fn parse(text: &str) -> Result<Self, String> {
        // A path alone needs no braces.
        if !text.contains('{') && text.starts_with(['.', '$', '@']) {
            return Ok(Self(vec![Piece::Path(text.to_owned())]));
        }
        let mut open: Vec<(String, Vec<Piece>)> = vec![(String::new(), Vec::new())];
        let mut rest = text;
        while !rest.is_empty() {
            let (before, after) = rest.split_once('{').map_or((rest, None), |(before, after)| (before, Some(after)));
            let level = open.len();
            let Some((_, pieces)) = open.last_mut() else { break };
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let Some(after) = after else { break };
            let end = closing(after).ok_or("a brace is not closed")?;
            let inner = after[..end].trim();
            rest = &after[end + 1..];
            if let Some(literal) = inner.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
                pieces.push(Piece::Text(unescape(literal)));
            } else if let Some(path) = inner.strip_prefix("range ") {
                if level > MAX_DEPTH {
                    return Err("ranges are nested too deep".into());
                }
                open.push((path.trim().to_owned(), Vec::new()));
            } else if inner == "end" {
                let (path, body) = open.pop().filter(|_| level > 1).ok_or("{end} without {range}")?;
                if let Some((_, outer)) = open.last_mut() {
                    outer.push(Piece::Range(path, body));
                }
            } else if inner.is_empty() {
                return Err("{} names nothing".into());
            } else {
                pieces.push(Piece::Path(inner.to_owned()));
            }
        }
        match (open.pop(), open.is_empty()) {
            (Some((_, pieces)), true) => Ok(Self(pieces)),
            _ => Err("{range} without {end}".into()),
        }
    }

    /// What it says of a value.
    pub fn render(&self, value: &Value) -> String {
        let mut out = String::new();
        render(&self.0, value, &mut out);
        out
    }
}

fn render(pieces: &[Piece], value: &Value, out: &mut String) {
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Path(path) => out.push_str(&path::select(path, value).into_iter().map(path::text).collect::<Vec<_>>().join(" ")),
            Piece::Range(path, body) => path::select(path, value).into_iter().for_each(|value| render(body, value, out)),
        }
    }
}

/// Where the brace ends, outside of quotes.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    text.char_indices().find_map(|(at, letter)| {
        match (quote, letter) {
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            (None, '}') => return Some(at),
            _ => {}
        }
        None
    })
}

fn unescape(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\t", "\t")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn templates_are_filled_in() {
        let value: Value = serde_yaml::from_str("metadata: {id: eth0}\nspec: {up: true, list: [{a: 1}, {a: 2}]}").expect("YAML");
        for (template, wanted) in [
            ("{.metadata.id}", "eth0"),
            (".metadata.id", "eth0"),
            ("id={.metadata.id} up={.spec.up}", "id=eth0 up=true"),
            ("{range .spec.list[*]}{.a}{\"\\n\"}{end}.", "1\n2\n."),
            ("{.spec.list[?(@.a==\"2\")].a}", "2"),
            ("{.spec.none}", ""),
            ("plain", "plain"),
            ("", ""),
        ] {
            assert_eq!(Template::parse(template).map(|template| template.render(&value)), Ok(wanted.to_owned()), "{template}");
        }
        for (template, wanted) in
            [("{.a", "not closed"), ("{range .a}", "without {end}"), ("{end}", "without {range}"), ("{}", "names nothing")]
        {
            assert!(Template::parse(template).is_err_and(|error| error.contains(wanted)), "{template}");
        }
    }

    proptest! {
        #[test]
        fn any_template_is_read_or_refused(text in "([{}\"'. a@]|\\{range |\\{end\\}){0,40}") {
            if let Ok(template) = Template::parse(&text) {
                template.render(&Value::from("x"));
            }
        }
    }
}
