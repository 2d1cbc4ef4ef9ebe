//! Which resources are meant.

use regex_lite::{Regex, RegexBuilder};

use crate::Metadata;

/// Largest compiled expression, bytes: clients send them.
const EXPRESSION_LIMIT: usize = 64 << 10;

/// A query that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// Not a regular expression, or too large a one.
    #[error("the id expression {text:?} cannot be used")]
    Expression {
        /// As sent.
        text: String,
        /// Cause.
        source: regex_lite::Error,
    },
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The label is there.
    Exists,
    /// It has the one value.
    Equal,
    /// It has one of the values.
    In,
    /// It sorts before the value.
    Less,
    /// It sorts before the value or is it.
    LessOrEqual,
    /// It is a smaller number; numbers may have units (`2Gi`).
    LessNumeric,
    /// It is a smaller number or the same.
    LessOrEqualNumeric,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelTerm {
    /// Name of the label.
    pub key: String,
    /// How it is compared.
    pub operation: Operation,
    /// What with.
    pub values: Vec<String>,
    /// The condition must not hold.
    pub invert: bool,
}

/// Conditions that all must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelQuery {
    /// The conditions.
    pub terms: Vec<LabelTerm>,
}

/// An expression that an id must contain a match of.
#[derive(Clone, Debug)]
pub struct IdQuery(Regex);

/// Which resources of a type are meant; the default means all.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// One of these must hold, when there are any.
    pub labels: Vec<LabelQuery>,
    /// And this.
    pub id: Option<IdQuery>,
}

impl Query {
    /// Whether this one is meant.
    #[must_use]
    pub fn matches(&self, metadata: &Metadata) -> bool {
        let labels = self.labels.is_empty() || self.labels.iter().any(|query| query.matches(metadata));
        labels && self.id.as_ref().is_none_or(|query| query.matches(metadata))
    }
}

impl IdQuery {
    /// From the expression's text.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn new(text: &str) -> Result<Self, QueryError> {
        let built = RegexBuilder::new(text).size_limit(EXPRESSION_LIMIT).build();
        built.map(Self).map_err(|source| QueryError::Expression { text: text.to_owned(), source })
    }

    fn matches(&self, metadata: &Metadata) -> bool {
        self.0.is_match(&metadata.key.id)
    }
}

impl LabelQuery {
    fn matches(&self, metadata: &Metadata) -> bool {
        self.terms.iter().all(|term| term.holds(metadata) != term.invert)
    }
}

impl LabelTerm {
    /// Without `invert`. A label that is not there is neither equal to nor less than anything.
    fn holds(&self, metadata: &Metadata) -> bool {
        let Some(value) = metadata.labels.get(&self.key) else { return false };
        let first = self.values.first();
        let number = |compare: fn(&f64, &f64) -> bool| match (numeric(value), first.and_then(|first| numeric(first))) {
            (Some(value), Some(limit)) => compare(&value, &limit),
            _ => false,
        };
        match self.operation {
            Operation::Exists => true,
            Operation::Equal => first == Some(value),
            Operation::In => self.values.contains(value),
            Operation::Less => first.is_some_and(|limit| value < limit),
            Operation::LessOrEqual => first.is_some_and(|limit| value <= limit),
            Operation::LessNumeric => number(f64::lt),
            Operation::LessOrEqualNumeric => number(f64::le),
        }
    }
}

/// A number with a unit of bytes, if any: `3`, `1.5k`, `2 GiB`.
fn numeric(text: &str) -> Option<f64> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let number: f64 = digits.trim().parse().ok().filter(|number: &f64| number.is_finite())?;
    let unit = unit.trim_end_matches(['b', 'B']);
    let (letter, base) = match unit.strip_suffix('i') {
        Some(letter) => (letter, 1024.0_f64),
        None => (unit, 1000.0),
    };
    let power = match letter {
        "" => 0,
        "k" | "K" => 1,
        "m" | "M" => 2,
        "g" | "G" => 3,
        "t" | "T" => 4,
        "p" | "P" => 5,
        _ => return None,
    };
    Some(number * base.powi(power))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;

    fn labelled(labels: &[(&str, &str)]) -> Metadata {
        let mut metadata = Metadata::new(Key::new("n", "k", "eth0"));
        metadata.labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        metadata
    }

    #[track_caller]
    fn check(operation: Operation, values: &[&str], expect: [bool; 3]) {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        for (labels, expect) in [&[("a", "5")][..], &[("a", "10")], &[("b", "5")]].into_iter().zip(expect) {
            let term = LabelTerm { key: "a".into(), operation, values: values.clone(), invert: false };
            let inverted = LabelTerm { invert: true, ..term.clone() };
            for (term, expect) in [(term, expect), (inverted, !expect)] {
                let query = Query { labels: vec![LabelQuery { terms: vec![term] }], id: None };
                assert_eq!(query.matches(&labelled(labels)), expect, "{operation:?} {labels:?}");
            }
        }
    }

    #[test]
    fn labels_are_compared() {
        check(Operation::Exists, &[], [true, true, false]);
        check(Operation::Equal, &["5"], [true, false, false]);
        check(Operation::In, &["5", "10"], [true, true, false]);
        check(Operation::Less, &["5"], [false, true, false]);
        check(Operation::LessOrEqual, &["5"], [true, true, false]);
        check(Operation::LessNumeric, &["10"], [true, false, false]);
        check(Operation::LessOrEqualNumeric, &["10"], [true, true, false]);
        check(Operation::LessNumeric, &["1k"], [true, true, false]);
        check(Operation::LessNumeric, &["many"], [false, false, false]);
        check(Operation::Equal, &[], [false, false, false]);
    }

    #[test]
    fn one_query_is_enough_and_all_its_terms_are_needed() {
        let term = |key: &str| LabelTerm { key: key.into(), operation: Operation::Exists, values: vec![], invert: false };
        let both = LabelQuery { terms: vec![term("a"), term("b")] };
        let other = LabelQuery { terms: vec![term("c")] };
        let query = Query { labels: vec![both, other], id: None };
        for (labels, expect) in [(&[("a", "")][..], false), (&[("a", ""), ("b", "")], true), (&[("c", "")], true), (&[], false)] {
            assert_eq!(query.matches(&labelled(labels)), expect, "{labels:?}");
        }
    }

    #[test]
    fn ids_by_expression() {
        for (text, expect) in [("eth", true), ("^th", false), ("^eth[0-9]$", true), ("", true)] {
            let query = Query { labels: vec![], id: Some(IdQuery::new(text).unwrap()) };
            assert_eq!(query.matches(&labelled(&[])), expect, "{text}");
        }
        assert!(IdQuery::new("(").is_err());
        assert!(IdQuery::new("(((a{100}){100}){100}){100}").is_err());
    }

    #[test]
    fn numbers_have_units() {
        for (text, expect) in
            [("3", Some(3.0)), ("1.5k", Some(1500.0)), ("2 GiB", Some(2147483648.0)), ("x", None), ("1x", None), ("inf", None)]
        {
            assert_eq!(numeric(text), expect, "{text}");
        }
    }
}
