//! Protobuf, as far as writing it goes (<https://protobuf.dev/programming-guides/encoding/>).

use prost::encoding::{WireType, encode_key, encode_varint};

use super::Form;

/// The fields of a message.
pub(super) fn encode(form: &Form<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message(form, &mut out);
    out
}

fn message(form: &Form<'_>, out: &mut Vec<u8>) {
    match form {
        Form::Message(fields) => fields.iter().for_each(|part| field(part.number, &part.form, out)),
        Form::Both { proto, .. } => message(proto, out),
        _ => {}
    }
}

/// A field; one that has its type's zero value is not written.
fn field(number: u32, form: &Form<'_>, out: &mut Vec<u8>) {
    match form {
        Form::Both { proto, .. } => field(number, proto, out),
        Form::List(items) => list(number, items, out),
        Form::Map(entries) => entries.iter().for_each(|(key, value)| entry(number, key, value, out)),
        Form::Message(_) => item(number, form, out),
        _ if form.is_zero() => {}
        _ => item(number, form, out),
    }
}

/// An item of a list or a field, whatever its value.
fn item(number: u32, form: &Form<'_>, out: &mut Vec<u8>) {
    if let Some(value) = varint(form) {
        encode_key(number, WireType::Varint, out);
        return encode_varint(value, out);
    }
    match form {
        Form::Float(value) => {
            encode_key(number, WireType::SixtyFourBit, out);
            out.extend(value.to_le_bytes());
        }
        Form::Text(text) => delimited(number, text.as_bytes(), out),
        Form::Bytes(bytes) => delimited(number, bytes, out),
        Form::Message(_) => delimited(number, &encode(form), out),
        Form::Both { proto, .. } => item(number, proto, out),
        // Protobuf has no lists of lists, and nothing in a list is absent.
        _ => {}
    }
}

/// Numbers are packed into one field, everything else is a field each.
fn list(number: u32, items: &[Form<'_>], out: &mut Vec<u8>) {
    let mut packed = Vec::new();
    for form in items {
        match (varint(form), form) {
            (Some(value), _) => encode_varint(value, &mut packed),
            (None, Form::Float(value)) => packed.extend(value.to_le_bytes()),
            _ => item(number, form, out),
        }
    }
    if !packed.is_empty() {
        delimited(number, &packed, out);
    }
}

fn entry(number: u32, key: &str, value: &Form<'_>, out: &mut Vec<u8>) {
    let mut pair = Vec::new();
    delimited(1, key.as_bytes(), &mut pair);
    item(2, value, &mut pair);
    delimited(number, &pair, out);
}

fn delimited(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(u64::try_from(bytes.len()).unwrap_or(u64::MAX), out);
    out.extend(bytes);
}

/// The number of what is written as one; negative ones in two's complement of 64 bits.
fn varint(form: &Form<'_>) -> Option<u64> {
    match form {
        Form::Bool(value) => Some(u64::from(*value)),
        Form::Signed(value) => Some(value.cast_unsigned()),
        Form::Unsigned(value) => Some(*value),
        Form::Choice { number, .. } => Some(i64::from(*number).cast_unsigned()),
        _ => None,
    }
}
