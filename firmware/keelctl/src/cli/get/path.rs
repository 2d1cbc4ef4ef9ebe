//! Where a value is: the JSONPath of definitions and of `-o jsonpath=` (`{.status.ready}`, `{.aliases[:]}`,
//! `{.list[?(@.name=="a")].value}`, `{..id}`, `{@}`).

use serde_yaml::Value;

/// How many values a path may find: `..` in what a node sent must not fill the memory.
const MAX_FOUND: usize = 100_000;

/// The value of a column as text; nothing for what is not there or cannot be understood.
pub fn find(path: &str, value: &Value) -> String {
    let Some(inner) = path.strip_prefix('{').and_then(|path| path.strip_suffix('}')) else { return path.to_owned() };
    select(inner, value).into_iter().map(text).collect::<Vec<_>>().join(" ")
}

/// The values that a path (without braces) leads to.
pub fn select<'v>(path: &str, value: &'v Value) -> Vec<&'v Value> {
    let mut found = vec![value];
    let mut rest = path.strip_prefix('@').or_else(|| path.strip_prefix('$')).unwrap_or(path);
    while !rest.is_empty() && !found.is_empty() {
        let (step, left) = next(rest);
        found = found.into_iter().flat_map(|value| step.of(value)).take(MAX_FOUND).collect();
        rest = left;
    }
    found
}

enum Step<'a> {
    Name(&'a str),
    All,
    At(i64),
    Slice(Option<i64>, Option<i64>),
    /// Those of a list whose value at a path compares so.
    Filter(&'a str, Test<'a>),
    /// This and everything below.
    Deep,
    Nothing,
}

enum Test<'a> {
    Is(&'a str),
    IsNot(&'a str),
    Exists,
}

/// The first step of a path, and what follows.
fn next(path: &str) -> (Step<'_>, &str) {
    if let Some(bracket) = path.strip_prefix('[') {
        let end = closing(bracket);
        let (inner, left) = (&bracket[..end], bracket[end..].strip_prefix(']').unwrap_or_default());
        return (inside(inner.trim()), left);
    }
    if path.starts_with("..") {
        // The second point begins the next step: `..id` is a `.id` anywhere.
        return (Step::Deep, path[1..].strip_prefix('.').filter(|rest| rest.starts_with('[')).unwrap_or(&path[1..]));
    }
    let path = path.strip_prefix('.').unwrap_or(path);
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (name, left) = path.split_at(end);
    match name {
        // A step has at least one letter, so that every path ends.
        "" if left.starts_with('[') => next(left),
        "" => (Step::Nothing, left.get(1..).unwrap_or_default()),
        "*" => (Step::All, left),
        name => (Step::Name(name), left),
    }
}

/// Where the bracket ends, quotes and inner brackets left alone; the end of the text when it does not.
fn closing(text: &str) -> usize {
    let (mut quote, mut depth) = (None, 0_u32);
    for (at, letter) in text.char_indices() {
        match (quote, letter) {
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            (Some(_), _) => {}
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return at,
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

fn inside(inner: &str) -> Step<'_> {
    if let Some(name) = quoted(inner) {
        return Step::Name(name);
    }
    if let Some(test) = inner.strip_prefix("?(").and_then(|test| test.strip_suffix(')')) {
        return filter(test.trim());
    }
    if inner == "*" {
        return Step::All;
    }
    let number = |text: &str| if text.trim().is_empty() { Some(None) } else { text.trim().parse().ok().map(Some) };
    match inner.split_once(':') {
        Some((from, to)) => match (number(from), number(to)) {
            (Some(from), Some(to)) => Step::Slice(from, to),
            _ => Step::Nothing,
        },
        None => inner.parse().map_or(Step::Nothing, Step::At),
    }
}

fn filter(test: &str) -> Step<'_> {
    for (sign, make) in [("==", Test::Is as fn(_) -> _), ("!=", Test::IsNot)] {
        if let Some((path, wanted)) = test.split_once(sign) {
            let wanted = wanted.trim();
            return Step::Filter(path.trim(), make(quoted(wanted).unwrap_or(wanted)));
        }
    }
    Step::Filter(test, Test::Exists)
}

fn quoted(text: &str) -> Option<&str> {
    ['\'', '"'].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
}

impl Step<'_> {
    fn of<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        match self {
            Self::Name(name) => value.get(name).into_iter().collect(),
            Self::All => children(value),
            Self::At(index) => {
                let list = value.as_sequence().map(Vec::as_slice).unwrap_or_default();
                usize::try_from(from_end(*index, list.len())).ok().and_then(|index| list.get(index)).into_iter().collect()
            }
            Self::Slice(from, to) => {
                let list = value.as_sequence().map(Vec::as_slice).unwrap_or_default();
                let bound = |given: Option<i64>, otherwise| {
                    given.map_or(otherwise, |given| usize::try_from(from_end(given, list.len())).unwrap_or_default().min(list.len()))
                };
                list.get(bound(*from, 0)..bound(*to, list.len())).unwrap_or_default().iter().collect()
            }
            Self::Filter(path, test) => {
                children(value).into_iter().filter(|child| test.holds(select(path, child).first().copied())).collect()
            }
            Self::Deep => {
                let mut all = vec![value];
                let mut at = 0;
                while let Some(next) = all.get(at).copied()
                    && all.len() < MAX_FOUND
                {
                    all.extend(children(next));
                    at += 1;
                }
                all
            }
            Self::Nothing => Vec::new(),
        }
    }
}

impl Test<'_> {
    fn holds(&self, found: Option<&Value>) -> bool {
        match self {
            Self::Is(wanted) => found.is_some_and(|found| text(found) == *wanted),
            Self::IsNot(wanted) => found.is_none_or(|found| text(found) != *wanted),
            Self::Exists => found.is_some(),
        }
    }
}

const fn from_end(index: i64, len: usize) -> i64 {
    if index < 0 { index.saturating_add(len as i64) } else { index }
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Sequence(items) => items.iter().collect(),
        Value::Mapping(entries) => entries.values().collect(),
        _ => Vec::new(),
    }
}

/// As tables show it: texts bare, lists and tables as JSON.
pub fn text(value: &Value) -> String {
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_found() {
        let text = "a: {b: true, 'c.d': 7, id: 1}\nlist: [x, y]\nnone: null\nt: 'a b'\nid: 2\n\
                    items: [{name: one, value: 1}, {name: 'two]', value: 2, more: yes}]";
        let value: Value = serde_yaml::from_str(text).expect("YAML");
        for (path, expect) in [
            ("{.a.b}", "true"),
            ("{.a['c.d']}", "7"),
            ("{$.a.b}", "true"),
            ("{.list}", "[\"x\",\"y\"]"),
            ("{.list[:]}", "x y"),
            ("{.list[*]}", "x y"),
            ("{.list[1]}", "y"),
            ("{.list[-1]}", "y"),
            ("{.list[-3]}", ""),
            ("{.list[1:]}", "y"),
            ("{.list[:1]}", "x"),
            ("{.list[9:]}", ""),
            ("{.list[1:0]}", ""),
            ("{.list[9]}", ""),
            ("{.list[x]}", ""),
            ("{.items[*].name}", "one two]"),
            ("{.items[?(@.name==\"two]\")].value}", "2"),
            ("{.items[?(@.value != 2)].name}", "one"),
            ("{.items[?(@.more)].name}", "two]"),
            ("{..id}", "2 1"),
            ("{.a.*}", "true 7 1"),
            ("{.t}", "a b"),
            ("{.none}", ""),
            ("{.no.such}", ""),
            ("{.a.}", ""),
            ("{.list[1}", "y"),
            ("plain", "plain"),
        ] {
            assert_eq!(find(path, &value), expect, "{path}");
        }
        assert_eq!(find("{@}", &Value::from("worker")), "worker");
    }

    proptest! {
        /// Definitions come from nodes: any path ends, and finds something or nothing.
        #[test]
        fn any_path_ends(path in "[.\\[\\]'\"?()@a-c0-9:*=! -]{0,40}") {
            let value: Value = serde_yaml::from_str("a: [b, {c: [1, 2]}]\nb: {a: c}").expect("YAML");
            find(&format!("{{{path}}}"), &value);
        }
    }
}
