//! YAML, through serde.

use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};

use super::{Field, Form};

impl Serialize for Form<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent => to.serialize_unit(),
            Self::Bool(value) => to.serialize_bool(*value),
            Self::Signed(value) => to.serialize_i64(*value),
            Self::Unsigned(value) => to.serialize_u64(*value),
            Self::Float(value) => to.serialize_f64(*value),
            Self::Text(text) => to.serialize_str(text),
            Self::Bytes(bytes) => bytes.as_ref().serialize(to),
            Self::Choice { name, .. } => to.serialize_str(name),
            Self::List(items) => {
                let mut list = to.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Self::Map(entries) => {
                let mut map = to.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
            Self::Message(fields) => {
                let mut map = to.serialize_map(None)?;
                members(fields, &mut map)?;
                map.end()
            }
            Self::Both { yaml, .. } => yaml.serialize(to),
        }
    }
}

/// The fields of a message; one without a name brings its own fields along.
fn members<M: SerializeMap>(fields: &[Field<'_>], map: &mut M) -> Result<(), M::Error> {
    let shown = |field: &&Field<'_>| !(field.omit_empty && field.form.is_zero());
    fields.iter().filter(shown).try_for_each(|field| match (field.name, &field.form) {
        ("", Form::Message(inner)) => members(inner, map),
        (name, form) => map.serialize_entry(name, form),
    })
}
