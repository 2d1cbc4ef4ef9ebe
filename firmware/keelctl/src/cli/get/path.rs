//! Where the value of a column is: the JSONPath that definitions use (`{.status.ready}`, `{.aliases[:]}`, `{@}`).

use serde_yaml::Value;

/// The value as text; nothing for what is not there or cannot be understood.
pub fn find(path: &str, value: &Value) -> String {
    let Some(inner) = path.strip_prefix('{').and_then(|path| path.strip_suffix('}')) else { return path.to_owned() };
    let mut found = vec![value];
    let mut rest = inner.strip_prefix('@').or_else(|| inner.strip_prefix('$')).unwrap_or(inner);
    while !rest.is_empty() {
        let (step, left) = next(rest);
        found = found.into_iter().flat_map(|value| step.of(value)).collect();
        rest = left;
    }
    found.into_iter().map(text).collect::<Vec<_>>().join(" ")
}

enum Step<'a> {
    Name(&'a str),
    All,
    At(usize),
    Nothing,
}

/// The first step of a path, and what follows.
fn next(path: &str) -> (Step<'_>, &str) {
    if let Some(bracket) = path.strip_prefix('[') {
        let (inner, left) = bracket.split_once(']').unwrap_or((bracket, ""));
        let name = inner.strip_prefix(['\'', '"']).and_then(|inner| inner.strip_suffix(['\'', '"']));
        let step = match (name, inner) {
            (Some(name), _) => Step::Name(name),
            (None, ":" | "*") => Step::All,
            (None, number) => number.parse().map_or(Step::Nothing, Step::At),
        };
        return (step, left);
    }
    let path = path.strip_prefix('.').unwrap_or(path);
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (name, left) = path.split_at(end);
    // A step has at least one letter, so that every path ends.
    if name.is_empty() { (Step::Nothing, left.get(1..).unwrap_or_default()) } else { (Step::Name(name), left) }
}

impl Step<'_> {
    fn of<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        match self {
            Self::Name(name) => value.get(name).into_iter().collect(),
            Self::All => value.as_sequence().map(|items| items.iter().collect()).unwrap_or_default(),
            Self::At(index) => value.get(index).into_iter().collect(),
            Self::Nothing => Vec::new(),
        }
    }
}

/// As tables show it: texts bare, lists and tables as JSON.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found() {
        let value: Value = serde_yaml::from_str("a: {b: true, 'c.d': 7}\nlist: [x, y]\nnone: null\nt: 'a b'").expect("YAML");
        for (path, expect) in [
            ("{.a.b}", "true"),
            ("{.a['c.d']}", "7"),
            ("{.list}", "[\"x\",\"y\"]"),
            ("{.list[:]}", "x y"),
            ("{.list[*]}", "x y"),
            ("{.list[1]}", "y"),
            ("{.list[9]}", ""),
            ("{.list[x]}", ""),
            ("{.t}", "a b"),
            ("{.none}", ""),
            ("{.no.such}", ""),
            ("{.a.}", ""),
            ("{..}", ""),
            ("{.list[1}", "y"),
            ("plain", "plain"),
        ] {
            assert_eq!(find(path, &value), expect, "{path}");
        }
        assert_eq!(find("{@}", &Value::from("worker")), "worker");
    }
}
