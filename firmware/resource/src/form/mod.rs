//! What a value looks like to those who do not know its type.
//!
//! Clients read a resource in two forms: protobuf with numbered fields, and YAML with named ones. Both are made from one
//! [`Form`], so they cannot differ, and no code for either is generated a type.
//!
//! - [`Form`], [`Field`]: a value taken apart;
//! - [`Value`]: what can be taken apart; implemented here for the plain types, by [`message!`](crate::message) and
//!   [`choice!`](crate::choice) for ours;
//! - `proto`, `yaml`: the two forms as bytes and text.

mod message;
mod plain;
mod proto;
mod yaml;

use std::borrow::Cow;

pub use plain::{Bits, Code, HardwareAddress, Nanoseconds, SecretText};

/// A value taken apart.
#[derive(Clone, Debug, PartialEq)]
pub enum Form<'a> {
    /// Nothing: no field in protobuf, `null` in YAML.
    Absent,
    /// `bool`.
    Bool(bool),
    /// `int32`, `int64`.
    Signed(i64),
    /// `uint32`, `uint64`.
    Unsigned(u64),
    /// `double`.
    Float(f64),
    /// `string`.
    Text(Cow<'a, str>),
    /// `bytes`; in YAML a list of numbers.
    Bytes(Cow<'a, [u8]>),
    /// A member of an `enum`; in YAML its name.
    Choice {
        /// Its number.
        number: i32,
        /// Its name.
        name: Cow<'a, str>,
    },
    /// `repeated`.
    List(Vec<Form<'a>>),
    /// `map<string, …>`.
    Map(Vec<(&'a str, Form<'a>)>),
    /// A message.
    Message(Vec<Field<'a>>),
    /// A value that the two forms disagree on (an address: bytes in the one, text in the other).
    Both {
        /// In protobuf.
        proto: Box<Form<'a>>,
        /// In YAML.
        yaml: Box<Form<'a>>,
    },
}

/// A field of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Field<'a> {
    /// Its number in protobuf.
    pub number: u32,
    /// Its name in YAML; empty for a message whose fields are those of the outer one.
    pub name: &'static str,
    /// It is left out of the YAML when it has its type's zero value.
    pub omit_empty: bool,
    /// Its value.
    pub form: Form<'a>,
}

/// What can be taken apart.
pub trait Value {
    /// Its parts.
    fn form(&self) -> Form<'_>;

    /// What stands for none of it ([`Option`]).
    #[must_use]
    fn absent() -> Form<'static>
    where
        Self: Sized,
    {
        Form::Absent
    }

    /// Its type, for people.
    #[must_use]
    fn shape() -> Shape
    where
        Self: Sized;
}

/// A type, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One that needs no explanation (`string`).
    Plain(&'static str),
    /// A list of it.
    List(Box<Shape>),
    /// A table of it.
    Map(Box<Shape>),
    /// One of these names.
    Choice(&'static str, &'static [&'static str]),
    /// A message: its name and its fields.
    Message(&'static str, Vec<FieldShape>),
}

/// A field of a message, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldShape {
    /// Its number in protobuf.
    pub number: u32,
    /// Its name in YAML.
    pub name: &'static str,
    /// Its type.
    pub shape: Shape,
}

impl Form<'_> {
    /// Whether YAML leaves it out where the zero value is left out.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        match self {
            Self::Absent => true,
            Self::Bool(value) => !value,
            Self::Signed(value) => *value == 0,
            Self::Unsigned(value) => *value == 0,
            Self::Float(value) => *value == 0.0,
            Self::Text(value) => value.is_empty(),
            Self::Bytes(value) => value.is_empty(),
            Self::Choice { number, .. } => *number == 0,
            Self::List(items) => items.is_empty(),
            Self::Map(entries) => entries.is_empty(),
            Self::Message(fields) => fields.iter().all(|field| field.form.is_zero()),
            Self::Both { proto, yaml } => proto.is_zero() || yaml.is_zero(),
        }
    }

    /// The protobuf form of a message; of anything else nothing.
    #[must_use]
    pub fn to_proto(&self) -> Vec<u8> {
        proto::encode(self)
    }

    /// The YAML form, one document without indentation.
    ///
    /// # Errors
    /// What YAML has no form for.
    pub fn to_yaml(&self) -> Result<String, serde_yaml::Error> {
        serde_yaml::to_string(self)
    }
}

#[cfg(test)]
mod tests;
