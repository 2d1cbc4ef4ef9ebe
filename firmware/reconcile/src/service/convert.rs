//! Resources and queries on the wire.

use std::time::SystemTime;

use resource::{IdQuery, LabelQuery, LabelTerm, Metadata, Operation, Query, Resource};
use tonic::Status;
use wire::cosi;

/// Queries and terms that one call may have.
const MOST_TERMS: usize = 64;

/// A resource with both forms of what it says.
pub(super) fn resource(resource: &Resource) -> Result<cosi::Resource, Status> {
    let parts = resource.content().parts();
    let yaml_spec = parts.to_yaml().map_err(|error| {
        let key = &resource.metadata.key;
        Status::internal(format!("write {key} as YAML: {}", daemon::report(&error)))
    })?;
    let spec = cosi::Spec { proto_spec: parts.to_proto(), yaml_spec };
    Ok(cosi::Resource { metadata: Some(metadata(&resource.metadata)), spec: Some(spec) })
}

/// What stands for a resource that does not exist.
pub(super) fn tombstone(key: &resource::Key) -> cosi::Resource {
    let metadata = cosi::Metadata { version: "undefined".to_owned(), ..metadata(&Metadata::new(key.clone())) };
    let spec = cosi::Spec { proto_spec: Vec::new(), yaml_spec: "{}\n".to_owned() };
    cosi::Resource { metadata: Some(metadata), spec: Some(spec) }
}

fn metadata(metadata: &Metadata) -> cosi::Metadata {
    let time = |time: SystemTime| Some(prost_types::Timestamp::from(time));
    cosi::Metadata {
        namespace: metadata.key.namespace.as_ref().to_owned(),
        r#type: metadata.key.kind.as_ref().to_owned(),
        id: metadata.key.id.as_ref().to_owned(),
        version: metadata.version.to_string(),
        owner: metadata.owner.as_ref().to_owned(),
        phase: metadata.phase.as_str().to_owned(),
        created: time(metadata.created),
        updated: time(metadata.updated),
        finalizers: metadata.finalizers.iter().cloned().collect(),
        labels: metadata.labels.clone().into_iter().collect(),
        annotations: metadata.annotations.clone().into_iter().collect(),
    }
}

/// What is meant.
pub(crate) fn query(labels: &[cosi::LabelQuery], id: Option<&cosi::IdQuery>) -> Result<Query, Status> {
    if labels.iter().map(|query| query.terms.len().max(1)).sum::<usize>() > MOST_TERMS {
        return Err(Status::invalid_argument(format!("more than {MOST_TERMS} label terms in one query")));
    }
    let id = match id.map(|id| id.regexp.as_str()) {
        None | Some("") => None,
        Some(text) => Some(IdQuery::new(text).map_err(|error| Status::invalid_argument(daemon::report(&error).to_string()))?),
    };
    let labels = labels.iter().map(|query| Ok(LabelQuery { terms: query.terms.iter().map(term).collect::<Result<_, Status>>()? }));
    Ok(Query { labels: labels.collect::<Result<_, Status>>()?, id })
}

fn term(term: &cosi::LabelTerm) -> Result<LabelTerm, Status> {
    use cosi::label_term::Operation as Wire;
    let (operation, invert) = match Wire::try_from(term.op) {
        Ok(Wire::Exists) => (Operation::Exists, term.invert),
        Ok(Wire::NotExists) => (Operation::Exists, true),
        Ok(Wire::Equal) => (Operation::Equal, term.invert),
        Ok(Wire::In) => (Operation::In, term.invert),
        Ok(Wire::Lt) => (Operation::Less, term.invert),
        Ok(Wire::Lte) => (Operation::LessOrEqual, term.invert),
        Ok(Wire::LtNumeric) => (Operation::LessNumeric, term.invert),
        Ok(Wire::LteNumeric) => (Operation::LessOrEqualNumeric, term.invert),
        Err(_) => return Err(Status::unimplemented(format!("label query operator {} is not supported", term.op))),
    };
    if term.value.is_empty() && !matches!(operation, Operation::Exists | Operation::In) {
        return Err(Status::invalid_argument(format!("the query for label {:?} has no value to compare with", term.key)));
    }
    Ok(LabelTerm { key: term.key.clone(), operation, values: term.value.clone(), invert })
}
