//! The plain types, and those that the two forms disagree on.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::{self, Write},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;
use zeroize::Zeroizing;

use super::{Field, Form, Shape, Value};

macro_rules! plain {
    ($($type:ty as $name:literal: |$value:ident| $form:expr;)*) => {$(
        impl Value for $type {
            fn form(&self) -> Form<'_> {
                let $value = self;
                $form
            }

            fn shape() -> Shape {
                Shape::Plain($name)
            }
        }
    )*};
}

plain! {
    bool as "bool": |value| Form::Bool(*value);
    i32 as "int32": |value| Form::Signed(i64::from(*value));
    i64 as "int64": |value| Form::Signed(*value);
    u32 as "uint32": |value| Form::Unsigned(u64::from(*value));
    u64 as "uint64": |value| Form::Unsigned(*value);
    f64 as "double": |value| Form::Float(*value);
    String as "string": |value| Form::Text(Cow::Borrowed(value));
    Duration as "duration": |value| both(duration(*value), duration_text(*value));
    SocketAddr as "address and port": |value| both(
        Form::Message(vec![part(1, octets(value.ip())), part(2, Form::Unsigned(u64::from(value.port())))]),
        value.to_string(),
    );
}

impl<T: Value> Value for Vec<T> {
    fn form(&self) -> Form<'_> {
        Form::List(self.iter().map(Value::form).collect())
    }

    fn shape() -> Shape {
        Shape::List(Box::new(T::shape()))
    }
}

impl<T: Value> Value for BTreeMap<String, T> {
    fn form(&self) -> Form<'_> {
        Form::Map(self.iter().map(|(key, value)| (key.as_str(), value.form())).collect())
    }

    fn shape() -> Shape {
        Shape::Map(Box::new(T::shape()))
    }
}

impl<T: Value> Value for Option<T> {
    fn form(&self) -> Form<'_> {
        match self {
            Some(value) => value.form(),
            None => T::absent(),
        }
    }

    fn shape() -> Shape {
        T::shape()
    }
}

/// `common.NetIP`.
impl Value for IpAddr {
    fn form(&self) -> Form<'_> {
        both(Form::Message(vec![part(1, octets(*self))]), self.to_string())
    }

    fn absent() -> Form<'static> {
        both(Form::Absent, String::new())
    }

    fn shape() -> Shape {
        Shape::Plain("address")
    }
}

/// `common.NetIPPrefix`.
impl Value for IpNet {
    fn form(&self) -> Form<'_> {
        let length = Form::Unsigned(u64::from(self.prefix_len()));
        both(Form::Message(vec![part(1, octets(self.addr())), part(2, length)]), self.to_string())
    }

    fn absent() -> Form<'static> {
        both(Form::Absent, String::new())
    }

    fn shape() -> Shape {
        Shape::Plain("prefix")
    }
}

/// A link's address: bytes, and hexadecimal with colons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HardwareAddress(pub Vec<u8>);

impl Value for HardwareAddress {
    fn form(&self) -> Form<'_> {
        let mut text = String::new();
        for (at, byte) in self.0.iter().enumerate() {
            let colon = if at == 0 { "" } else { ":" };
            _ = write!(text, "{colon}{byte:02x}"); // a String takes everything
        }
        both(Form::Bytes(Cow::Borrowed(&self.0)), text)
    }

    fn shape() -> Shape {
        Shape::Plain("hardware address")
    }
}

/// Text that is shown to administrators only: wiped when it is dropped, never in `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretText(pub Zeroizing<String>);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl Value for SecretText {
    fn form(&self) -> Form<'_> {
        Form::Text(Cow::Borrowed(&self.0))
    }

    fn shape() -> Shape {
        Shape::Plain("string")
    }
}

/// A span of time that may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanoseconds(pub i64);

impl From<Duration> for Nanoseconds {
    fn from(span: Duration) -> Self {
        Self(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl Value for Nanoseconds {
    fn form(&self) -> Form<'_> {
        let sign = if self.0 < 0 { "-" } else { "" };
        let text = format!("{sign}{}", duration_text(Duration::from_nanos(self.0.unsigned_abs())));
        // Seconds and the rest have the same sign.
        let (seconds, nanos) = (Form::Signed(self.0 / 1_000_000_000), Form::Signed(self.0 % 1_000_000_000));
        both(Form::Message(vec![part(1, seconds), part(2, nanos)]), text)
    }

    fn shape() -> Shape {
        Shape::Plain("duration")
    }
}

/// Flags: a number, and the names of those that are set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bits {
    /// The number.
    pub bits: u32,
    /// Every flag that has a name, in the order in which they are named.
    pub names: &'static [(u32, &'static str)],
    /// What stands between names.
    pub between: &'static str,
}

impl Value for Bits {
    fn form(&self) -> Form<'_> {
        let set = self.names.iter().filter(|(bit, _)| self.bits & bit == *bit).map(|(_, name)| *name);
        both(Form::Unsigned(u64::from(self.bits)), set.collect::<Vec<_>>().join(self.between))
    }

    fn shape() -> Shape {
        Shape::Plain("flags")
    }
}

/// A number that somebody else gives names to, the kernel for one: some numbers have none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Code {
    /// The number.
    pub number: u32,
    /// Every number that has a name.
    pub names: &'static [(u32, &'static str)],
    /// What the numbers stand for, for those without a name: `RouteProtocol(75)`; empty: they are names themselves.
    pub kind: &'static str,
}

impl Code {
    /// Its name, or what stands for one.
    #[must_use]
    pub fn name(&self) -> Cow<'static, str> {
        let known = self.names.iter().find(|(number, _)| *number == self.number);
        match (known, self.kind) {
            (Some((_, name)), _) => Cow::Borrowed(*name),
            (None, "") => Cow::Owned(self.number.to_string()),
            (None, kind) => Cow::Owned(format!("{kind}({})", self.number)),
        }
    }
}

impl Value for Code {
    fn form(&self) -> Form<'_> {
        Form::Choice { number: self.number.cast_signed(), name: self.name() }
    }

    fn shape() -> Shape {
        Shape::Plain("name, or number without one")
    }
}

fn both<'a>(proto: Form<'a>, yaml: impl Into<Cow<'a, str>>) -> Form<'a> {
    Form::Both { proto: Box::new(proto), yaml: Box::new(Form::Text(yaml.into())) }
}

/// A field that only protobuf sees.
const fn part(number: u32, form: Form<'_>) -> Field<'_> {
    Field { number, name: "", omit_empty: false, form }
}

fn octets(address: IpAddr) -> Form<'static> {
    Form::Bytes(Cow::Owned(match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }))
}

/// `google.protobuf.Duration`.
fn duration(value: Duration) -> Form<'static> {
    let (seconds, nanos) = (Form::Unsigned(value.as_secs()), Form::Unsigned(u64::from(value.subsec_nanos())));
    Form::Message(vec![part(1, seconds), part(2, nanos)])
}

/// As the clients' language writes durations: `1h2m3.5s`, `250ms`, `0s`.
fn duration_text(value: Duration) -> String {
    let (unit, name) = match value.as_nanos() {
        0 => return "0s".to_owned(),
        1..1_000 => (1, "ns"),
        1_000..1_000_000 => (1_000, "µs"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let (hours, minutes) = (value.as_secs() / 3600, value.as_secs() / 60 % 60);
    let rest = if unit == 1_000_000_000 { value.as_nanos() % 60_000_000_000 } else { value.as_nanos() };
    let mut text = String::new();
    if hours > 0 {
        _ = write!(text, "{hours}h"); // a String takes everything, here and below
    }
    if hours > 0 || minutes > 0 {
        _ = write!(text, "{minutes}m");
    }
    _ = write!(text, "{}", rest / unit);
    let fraction = rest % unit;
    if fraction > 0 {
        let digits = unit.ilog10() as usize;
        let fraction = format!("{fraction:0digits$}");
        _ = write!(text, ".{}", fraction.trim_end_matches('0'));
    }
    text + name
}
