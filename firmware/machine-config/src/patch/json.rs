//! JSON patches: operations after RFC 6902 on one document, at places after RFC 6901.

use crate::{
    Problems, scalar,
    tree::{Entry, Kind, MAX_BYTES, MAX_DEPTH, MAX_NODES, Node},
};

/// Most operations of a patch.
const MAX_OPERATIONS: usize = 10_000;

/// One operation, with the line it is on.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    line: usize,
    number: usize,
    /// The place as it was written, for people.
    path: String,
    action: Action,
}

/// Keys and indexes from the root to a place.
type Place = Vec<String>;

#[derive(Clone, Debug)]
enum Action {
    Add(Place, Node),
    Remove(Place),
    Replace(Place, Node),
    Move { from: Place, to: Place },
    Copy { from: Place, to: Place },
    Test(Place, Node),
}

/// Reads the operations; those that are not right are problems and left out.
pub(super) fn read(nodes: &[Node], problems: &mut Problems) -> Vec<Operation> {
    let items = nodes.first().map_or(&[][..], Node::items);
    if items.len() > MAX_OPERATIONS {
        problems.add(0, "", format!("there are {} operations; at most {MAX_OPERATIONS} are taken", items.len()));
        return Vec::new();
    }
    let read = |(at, item): (usize, &Node)| match operation(item, at) {
        Ok(operation) => Some(operation),
        Err(text) => {
            problems.add(item.line, format!("[{at}]"), text);
            None
        }
    };
    items.iter().enumerate().filter_map(read).collect()
}

fn operation(item: &Node, number: usize) -> Result<Operation, String> {
    let text = |key: &str| match item.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value.kind) {
        Some(Kind::Scalar { text, .. }) => Ok(text.as_str()),
        Some(_) => Err(format!("{key} must be text")),
        None => Err(format!("an operation of a JSON patch needs {key}")),
    };
    let value = || match item.entries().iter().find(|entry| entry.key == "value") {
        Some(entry) => Ok(entry.value.clone()),
        None => Err("this operation needs a value".to_owned()),
    };
    let name = text("op")?;
    let path = text("path")?;
    let to = place(path)?;
    let action = match name {
        "add" => Action::Add(to, value()?),
        "remove" => Action::Remove(to),
        "replace" => Action::Replace(to, value()?),
        "move" => Action::Move { from: place(text("from")?)?, to },
        "copy" => Action::Copy { from: place(text("from")?)?, to },
        "test" => Action::Test(to, value()?),
        other => {
            let other: String = other.chars().take(40).collect();
            return Err(format!("{other:?} is no operation: there are add, remove, replace, move, copy and test"));
        }
    };
    Ok(Operation { line: item.line, number, path: path.chars().take(200).collect(), action })
}

/// The parts of a pointer such as `/machine/network/hostname`.
fn place(pointer: &str) -> Result<Place, String> {
    let Some(rest) = pointer.strip_prefix('/') else {
        return if pointer.is_empty() { Ok(Place::new()) } else { Err("a path starts with a slash (/machine/type)".into()) };
    };
    let place: Place = rest.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect();
    if place.len() > MAX_DEPTH { Err(format!("the path is deeper than {MAX_DEPTH} levels")) } else { Ok(place) }
}

/// Carries the operations out in order; the first that fails ends it.
pub(super) fn apply(root: &mut Node, operations: &[Operation]) -> Result<(), Problems> {
    let mut size = Size::of(root);
    for Operation { line, number, path, action } in operations {
        if let Err(text) = act(root, action, &mut size) {
            let mut problems = Problems::default();
            problems.add(*line, format!("[{number}] {path}"), text);
            return Err(problems);
        }
    }
    Ok(())
}

fn act(root: &mut Node, action: &Action, size: &mut Size) -> Result<(), String> {
    match action {
        Action::Add(to, value) => add(root, to, value.clone(), size),
        Action::Remove(place) => remove(root, place).map(drop),
        Action::Replace(place, value) => {
            let target = find_mut(root, place)?;
            size.add(place, value)?;
            *target = value.clone();
            Ok(())
        }
        Action::Move { from, to } => {
            if to.len() > from.len() && to.starts_with(from) {
                return Err("a value cannot be moved into itself".into());
            }
            let value = remove(root, from)?;
            add(root, to, value, size)
        }
        Action::Copy { from, to } => {
            let value = find_mut(root, from)?.clone();
            add(root, to, value, size)
        }
        Action::Test(place, value) => {
            if equal(find_mut(root, place)?, value) {
                Ok(())
            } else {
                Err("the test found another value".into())
            }
        }
    }
}

fn add(root: &mut Node, place: &[String], value: Node, size: &mut Size) -> Result<(), String> {
    size.add(place, &value)?;
    let Some((key, parent)) = place.split_last() else {
        *root = value;
        return Ok(());
    };
    let line = value.line;
    match &mut find_mut(root, parent)?.kind {
        Kind::Map(entries) => match entries.iter_mut().find(|entry| entry.key == *key) {
            Some(entry) => entry.value = value,
            None => entries.push(Entry { key: key.clone(), line, value }),
        },
        Kind::List(items) if key == "-" => items.push(value),
        Kind::List(items) => match index(key) {
            Some(at) if at <= items.len() => items.insert(at, value),
            _ => return Err(format!("the list has {} elements, and {key:?} is no place for another", items.len())),
        },
        Kind::Scalar { .. } => return Err("what should hold it is a single value".into()),
    }
    Ok(())
}

fn remove(root: &mut Node, place: &[String]) -> Result<Node, String> {
    let (key, parent) = place.split_last().ok_or("the whole document cannot be taken away")?;
    match &mut find_mut(root, parent)?.kind {
        Kind::Map(entries) => {
            let at = entries.iter().position(|entry| entry.key == *key).ok_or_else(|| missing(key))?;
            Ok(entries.remove(at).value)
        }
        Kind::List(items) => match index(key).filter(|at| *at < items.len()) {
            Some(at) => Ok(items.remove(at)),
            None => Err(missing(key)),
        },
        Kind::Scalar { .. } => Err(missing(key)),
    }
}

fn find_mut<'a>(root: &'a mut Node, place: &[String]) -> Result<&'a mut Node, String> {
    let mut node = root;
    for key in place {
        node = match &mut node.kind {
            Kind::Map(entries) => entries.iter_mut().find(|entry| entry.key == *key).map(|entry| &mut entry.value),
            Kind::List(items) => index(key).and_then(|at| items.get_mut(at)),
            Kind::Scalar { .. } => None,
        }
        .ok_or_else(|| missing(key))?;
    }
    Ok(node)
}

fn missing(key: &str) -> String {
    format!("there is no {:?}", key.chars().take(80).collect::<String>())
}

/// An index without sign and leading zeros.
fn index(key: &str) -> Option<usize> {
    let right = key == "0" || !key.starts_with('0') && key.bytes().all(|byte| byte.is_ascii_digit());
    if right { key.parse().ok() } else { None }
}

/// Whether two values are the same for a program: `yes` and `true` are, `1` and `"1"` are not.
pub(crate) fn equal(left: &Node, right: &Node) -> bool {
    match (&left.kind, &right.kind) {
        (Kind::List(left), Kind::List(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right))
        }
        (Kind::Map(left), Kind::Map(right)) => {
            let same =
                |entry: &Entry| right.iter().find(|other| other.key == entry.key).is_some_and(|other| equal(&entry.value, &other.value));
            left.len() == right.len() && left.iter().all(same)
        }
        (Kind::Scalar { text: left, plain: left_plain }, Kind::Scalar { text: right, plain: right_plain }) => {
            meaning(left, *left_plain) == meaning(right, *right_plain)
        }
        _ => false,
    }
}

#[derive(PartialEq)]
enum Meaning<'a> {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(&'a str),
}

fn meaning(text: &str, plain: bool) -> Meaning<'_> {
    if !plain {
        return Meaning::Text(text);
    }
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Meaning::Null;
    }
    if let Some(flag) = scalar::boolean(text) {
        return Meaning::Bool(flag);
    }
    if let Some(number) = scalar::integer(text) {
        return Meaning::Integer(number);
    }
    match text.replace('_', "").parse::<f64>() {
        Ok(number) if scalar::is_float(text) => Meaning::Float(number),
        _ => Meaning::Text(text),
    }
}

/// How much a document holds at most: copies of copies would otherwise fill the memory. What is taken away is not
/// subtracted.
struct Size {
    nodes: usize,
    bytes: usize,
}

impl Size {
    fn of(node: &Node) -> Self {
        let mut size = Self { nodes: 0, bytes: 0 };
        size.count(node);
        size
    }

    /// Counts a value that is put at a place. Returns an error when it would be too much or too deep.
    fn add(&mut self, place: &[String], value: &Node) -> Result<(), String> {
        self.count(value);
        if self.nodes > MAX_NODES || self.bytes > MAX_BYTES {
            return Err("the document grows too large (is something copied again and again?)".into());
        }
        if place.len() + depth(value) > MAX_DEPTH {
            return Err(format!("the document would be nested deeper than {MAX_DEPTH} levels"));
        }
        Ok(())
    }

    fn count(&mut self, node: &Node) {
        self.nodes += 1;
        match &node.kind {
            Kind::Scalar { text, .. } => self.bytes += text.len(),
            Kind::List(items) => items.iter().for_each(|item| self.count(item)),
            Kind::Map(entries) => {
                for entry in entries {
                    self.bytes += entry.key.len();
                    self.count(&entry.value);
                }
            }
        }
    }
}

/// Levels of lists and sections.
fn depth(node: &Node) -> usize {
    let below = node.items().iter().chain(node.entries().iter().map(|entry| &entry.value)).map(depth).max();
    match node.kind {
        Kind::Scalar { .. } => 0,
        Kind::List(_) | Kind::Map(_) => 1 + below.unwrap_or(0),
    }
}
