//! Who needs whom, by position; refuses what cannot work.

use std::collections::HashMap;

use crate::{Condition, Id, Spec};

/// Most services of a node; also the bound of the walk below.
pub const MAX_SERVICES: usize = 128;
/// Longest name of a service, bytes.
const MAX_NAME: usize = 64;

/// These services cannot be supervised together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the objects in the message")]
pub enum GraphError {
    #[error("{id:?} is no name for a service: 1 to {MAX_NAME} of a-z, 0-9, - and _")]
    Name { id: Id },
    #[error("service {id:?} is there twice")]
    Twice { id: Id },
    #[error("service {id:?} needs service {unknown:?}, which is not there")]
    UnknownService { id: Id, unknown: Id },
    #[error("service {id:?} waits for the condition {unknown:?}, which is not there")]
    UnknownCondition { id: Id, unknown: Id },
    /// From a service back to itself.
    #[error("services need each other: {}", path.join(" -> "))]
    Circle { path: Vec<Id> },
    #[error("{count} services, at most {MAX_SERVICES}")]
    TooMany { count: usize },
    #[error("the node is going down: no new services")]
    GoingDown,
}

/// A service's neighbours, by position in the list it was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Links {
    /// Have to be up before it starts.
    pub(crate) depends: Vec<usize>,
    /// Stop before it.
    pub(crate) dependants: Vec<usize>,
    /// Conditions that have to be met before it starts.
    pub(crate) conditions: Vec<usize>,
}

/// The neighbours of each of `specs`, in their order.
pub(crate) fn links<'a>(specs: impl Iterator<Item = &'a Spec>, conditions: &[Condition]) -> Result<Vec<Links>, GraphError> {
    let specs: Vec<&Spec> = specs.collect();
    if specs.len() > MAX_SERVICES {
        return Err(GraphError::TooMany { count: specs.len() });
    }
    let mut places = HashMap::new();
    for (place, spec) in specs.iter().enumerate() {
        if !is_name(&spec.id) {
            return Err(GraphError::Name { id: Id::clone(&spec.id) });
        }
        if places.insert(&spec.id, place).is_some() {
            return Err(GraphError::Twice { id: Id::clone(&spec.id) });
        }
    }
    let mut links = vec![Links::default(); specs.len()];
    for (place, spec) in specs.iter().enumerate() {
        let unknown = |unknown: &Id| GraphError::UnknownService { id: Id::clone(&spec.id), unknown: Id::clone(unknown) };
        let find = |id: &Id| places.get(id).copied().ok_or_else(|| unknown(id));
        let depends = spec.depends.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        let outlived_by = spec.stops_before.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        for needed in depends.iter().chain(&outlived_by) {
            if let Some(needed) = links.get_mut(*needed) {
                needed.dependants.push(place);
            }
        }
        let find = |name: &Id| {
            let found = conditions.iter().position(|condition| condition.name == *name);
            found.ok_or_else(|| GraphError::UnknownCondition { id: Id::clone(&spec.id), unknown: Id::clone(name) })
        };
        let conditions = spec.conditions.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        if let Some(own) = links.get_mut(place) {
            own.depends = depends;
            own.conditions = conditions;
        }
    }
    match circle(&specs, &places) {
        Some(path) => Err(GraphError::Circle { path }),
        None => Ok(links),
    }
}

fn is_name(id: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    (1..=MAX_NAME).contains(&id.len()) && id.bytes().all(known)
}

/// A way from a service back to itself, if there is one.
fn circle(specs: &[&Spec], places: &HashMap<&Id, usize>) -> Option<Vec<Id>> {
    let mut done = vec![false; specs.len()];
    (0..specs.len()).find_map(|start| walk(start, specs, places, &mut done, &mut Vec::new()))
}

/// Depth first. `path` leads to `place`; `done` are those from which no circle can be reached.
fn walk(place: usize, specs: &[&Spec], places: &HashMap<&Id, usize>, done: &mut [bool], path: &mut Vec<usize>) -> Option<Vec<Id>> {
    let name = |place: &usize| specs.get(*place).map(|spec| Id::clone(&spec.id));
    if let Some(first) = path.iter().position(|seen| *seen == place) {
        return Some(path.iter().skip(first).chain([&place]).filter_map(name).collect());
    }
    if done.get(place).copied().unwrap_or(true) {
        return None;
    }
    path.push(place);
    let spec = specs.get(place)?;
    let next = spec.depends.iter().chain(&spec.stops_before).filter_map(|id| places.get(id).copied());
    for next in next {
        if let Some(found) = walk(next, specs, places, done, path) {
            return Some(found);
        }
    }
    path.pop();
    if let Some(done) = done.get_mut(place) {
        *done = true;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    /// `a: b c, b:` reads "a depends on b and c, b on nothing"; `!` in front of a name is `stops_before`, `?` a condition.
    #[track_caller]
    fn check(text: &str, wanted: Result<&[&[usize]], &str>) {
        let specs: Vec<Spec> = text.split(", ").filter_map(|service| service.split_once(':')).map(read).collect();
        let conditions = [Condition { name: "time".into(), description: "time sync".into() }];
        let found = links(specs.iter(), &conditions);
        match wanted {
            Ok(dependants) => {
                let found: Vec<Vec<usize>> = found.expect("sound").into_iter().map(|links| links.dependants).collect();
                assert_eq!(found, dependants, "{text}");
            }
            Err(message) => assert_eq!(found.expect_err("refused").to_string(), message, "{text}"),
        }
    }

    fn read((id, needs): (&str, &str)) -> Spec {
        let mut spec = Spec::new(id, Kind::Task);
        for need in needs.split_whitespace() {
            match (need.strip_prefix('!'), need.strip_prefix('?')) {
                (Some(id), _) => spec.stops_before.push(id.into()),
                (_, Some(name)) => spec.conditions.push(name.into()),
                _ => spec.depends.push(need.into()),
            }
        }
        spec
    }

    #[test]
    fn graphs() {
        check("a:, b: a, c: a b, d: !a ?time", Ok(&[&[1, 2, 3], &[2], &[], &[]]));
        check("a: b, b: c, c: a", Err("services need each other: a -> b -> c -> a"));
        check("x: a, a: b, b: c, c: !a", Err("services need each other: a -> b -> c -> a"));
        check("a: a", Err("services need each other: a -> a"));
        check("a: b", Err("service \"a\" needs service \"b\", which is not there"));
        check("a: ?moon", Err("service \"a\" waits for the condition \"moon\", which is not there"));
        check("a:, a:", Err("service \"a\" is there twice"));
        check("A:", Err("\"A\" is no name for a service: 1 to 64 of a-z, 0-9, - and _"));
        check(":", Err("\"\" is no name for a service: 1 to 64 of a-z, 0-9, - and _"));
    }

    #[test]
    fn a_chain_of_all_services_is_walked_and_one_more_is_too_many() {
        let chain = |count: usize| {
            let spec = |n: usize| read((&format!("s{n}"), &n.checked_sub(1).map(|n| format!("s{n}")).unwrap_or_default()));
            (0..count).rev().map(spec).collect::<Vec<_>>()
        };
        assert!(links(chain(MAX_SERVICES).iter(), &[]).is_ok());
        assert_eq!(links(chain(MAX_SERVICES + 1).iter(), &[]), Err(GraphError::TooMany { count: 129 }));
    }
}
