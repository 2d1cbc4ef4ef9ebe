//! Expressions about a link: the part of the Common Expression Language (<https://cel.dev>) that choosing links takes.
//!
//! Understood: `link.FIELD` with the fields of [`FIELDS`], texts, whole numbers, `true`, `false`; `==`, `!=`, `<`, `<=`, `>`,
//! `>=`, `in`, `&&`, `||`, `!`, brackets; `mac(ADDRESS)`, `glob(PATTERN, TEXT)`, `TEXT.startsWith(TEXT)`, `endsWith`, `contains`.
//! Anything else is a problem of the configuration, not an expression that is never true.

use super::glob;

/// What can be asked of a link.
pub const FIELDS: [&str; 11] =
    ["alt_names", "bus_path", "driver", "hardware_addr", "index", "kind", "link_state", "mtu", "name", "pci_id", "permanent_addr"];
/// Longest expression, bytes.
const LONGEST: usize = 4096;
/// Deepest nesting.
const DEEPEST: usize = 32;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Number(i64),
    /// Text.
    Text(String),
    /// A hardware address.
    Bytes(Vec<u8>),
    /// Texts.
    List(Vec<String>),
}

/// An expression that can be asked of links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    text: String,
    root: Term,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Value(Value),
    Field(&'static str),
    Not(Box<Self>),
    Both(Box<Self>, Box<Self>),
    Either(Box<Self>, Box<Self>),
    Compare(Comparison, Box<Self>, Box<Self>),
    Mac(Box<Self>),
    Glob(Box<Self>, Box<Self>),
    Method(Method, Box<Self>, Box<Self>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    AtMost,
    More,
    AtLeast,
    In,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    StartsWith,
    EndsWith,
    Contains,
}

impl Expression {
    /// Reads an expression; what is wrong with it, for people.
    ///
    /// # Errors
    /// The first thing that is not understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("an expression has at most {LONGEST} bytes"));
        }
        let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
        let root = parser.either()?;
        match parser.peek() {
            None => Ok(Self { text: text.to_owned(), root }),
            Some(token) => Err(format!("{token} is not expected here")),
        }
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is true of what `field` knows. Values that do not fit together make a comparison false.
    #[must_use]
    pub fn holds(&self, field: &dyn Fn(&str) -> Option<Value>) -> bool {
        self.root.value(field) == Some(Value::Bool(true))
    }
}

impl Term {
    fn value(&self, field: &dyn Fn(&str) -> Option<Value>) -> Option<Value> {
        let truth = |term: &Self| match term.value(field) {
            Some(Value::Bool(truth)) => Some(truth),
            _ => None,
        };
        let text = |term: &Self| match term.value(field) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        };
        Some(match self {
            Self::Value(value) => value.clone(),
            Self::Field(name) => field(name)?,
            Self::Not(term) => Value::Bool(!truth(term)?),
            Self::Both(one, other) => Value::Bool(truth(one)? && truth(other)?),
            Self::Either(one, other) => Value::Bool(truth(one) == Some(true) || truth(other)?),
            Self::Compare(how, one, other) => Value::Bool(compare(*how, &one.value(field)?, &other.value(field)?)),
            Self::Mac(term) => match term.value(field)? {
                Value::Bytes(bytes) => {
                    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                    Value::Text(pairs.join(":"))
                }
                text @ Value::Text(_) => text,
                _ => return None,
            },
            Self::Glob(pattern, term) => Value::Bool(glob(&text(pattern)?, &text(term)?)),
            Self::Method(method, term, argument) => {
                let (term, argument) = (text(term)?, text(argument)?);
                Value::Bool(match method {
                    Method::StartsWith => term.starts_with(&argument),
                    Method::EndsWith => term.ends_with(&argument),
                    Method::Contains => term.contains(&argument),
                })
            }
        })
    }
}

fn compare(how: Comparison, one: &Value, other: &Value) -> bool {
    let ordered = || match (one, other) {
        (Value::Number(one), Value::Number(other)) => Some(one.cmp(other)),
        (Value::Text(one), Value::Text(other)) => Some(one.cmp(other)),
        _ => None,
    };
    match how {
        Comparison::Equal => one == other,
        Comparison::Unequal => one != other,
        Comparison::Less => ordered().is_some_and(std::cmp::Ordering::is_lt),
        Comparison::AtMost => ordered().is_some_and(std::cmp::Ordering::is_le),
        Comparison::More => ordered().is_some_and(std::cmp::Ordering::is_gt),
        Comparison::AtLeast => ordered().is_some_and(std::cmp::Ordering::is_ge),
        Comparison::In => matches!((one, other), (Value::Text(one), Value::List(list)) if list.contains(one)),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Number(i64),
    Sign(&'static str),
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Word(word) => f.write_str(word),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Sign(sign) => f.write_str(sign),
        }
    }
}

/// Longer signs before those that they begin with.
const SIGNS: [&str; 14] = ["==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "(", ")", ",", ".", "-"];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(sign));
            sign.len()
        } else if first == '"' || first == '\'' {
            let (inside, length) = quoted(rest, first)?;
            tokens.push(Token::Text(inside));
            length
        } else if first.is_ascii_digit() {
            let length = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (digits, _) = rest.split_at(length);
            tokens.push(Token::Number(digits.parse().map_err(|_| format!("{digits} is too large a number"))?));
            length
        } else if first.is_ascii_alphabetic() || first == '_' {
            let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
            let (word, _) = rest.split_at(length);
            tokens.push(Token::Word(word.to_owned()));
            length
        } else {
            return Err(format!("{first:?} is not expected here"));
        };
        rest = rest.split_at(length).1.trim_start();
    }
    Ok(tokens)
}

/// What is between quotes, and how many bytes that takes with them.
fn quoted(text: &str, quote: char) -> Result<(String, usize), String> {
    let mut inside = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some((_, escaped @ ('\\' | '"' | '\''))) => inside.push(escaped),
                _ => return Err("only quotes and backslashes may follow a backslash".to_owned()),
            },
            _ if character == quote => return Ok((inside, at + quote.len_utf8())),
            _ => inside.push(character),
        }
    }
    Err("a quote is not closed".to_owned())
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

type Parsed = Result<Term, String>;

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.at += 1;
        token
    }

    fn accept(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(there)) if *there == sign);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), String> {
        if self.accept(sign) { Ok(()) } else { Err(format!("{sign:?} is missing")) }
    }

    fn either(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("brackets within more than {DEEPEST} others"));
        }
        let mut term = self.both()?;
        while self.accept("||") {
            term = Term::Either(Box::new(term), Box::new(self.both()?));
        }
        self.depth -= 1;
        Ok(term)
    }

    fn both(&mut self) -> Parsed {
        let mut term = self.comparison()?;
        while self.accept("&&") {
            term = Term::Both(Box::new(term), Box::new(self.comparison()?));
        }
        Ok(term)
    }

    fn comparison(&mut self) -> Parsed {
        let term = self.unary()?;
        let signs = [
            ("==", Comparison::Equal),
            ("!=", Comparison::Unequal),
            ("<=", Comparison::AtMost),
            (">=", Comparison::AtLeast),
            ("<", Comparison::Less),
            (">", Comparison::More),
        ];
        let how = signs.into_iter().find(|(sign, _)| self.accept(sign)).map(|(_, how)| how);
        let how = how.or_else(|| {
            let found = matches!(self.peek(), Some(Token::Word(word)) if word == "in");
            self.at += usize::from(found);
            found.then_some(Comparison::In)
        });
        match how {
            Some(how) => Ok(Term::Compare(how, Box::new(term), Box::new(self.unary()?))),
            None => Ok(term),
        }
    }

    fn unary(&mut self) -> Parsed {
        let mut turns = 0_usize;
        while self.accept("!") {
            turns += 1;
        }
        let term = self.methods()?;
        Ok(if turns % 2 == 1 { Term::Not(Box::new(term)) } else { term })
    }

    fn methods(&mut self) -> Parsed {
        let mut term = self.primary()?;
        while self.accept(".") {
            let method = match self.take() {
                Some(Token::Word(word)) if word == "startsWith" => Method::StartsWith,
                Some(Token::Word(word)) if word == "endsWith" => Method::EndsWith,
                Some(Token::Word(word)) if word == "contains" => Method::Contains,
                other => return Err(unknown(other, "startsWith, endsWith or contains")),
            };
            self.expect("(")?;
            let argument = self.either()?;
            self.expect(")")?;
            term = Term::Method(method, Box::new(term), Box::new(argument));
        }
        Ok(term)
    }

    fn primary(&mut self) -> Parsed {
        if self.accept("(") {
            let term = self.either()?;
            self.expect(")")?;
            return Ok(term);
        }
        if self.accept("-") {
            return match self.take() {
                Some(Token::Number(number)) => Ok(Term::Value(Value::Number(number.wrapping_neg()))),
                other => Err(unknown(other, "a number")),
            };
        }
        match self.take() {
            Some(Token::Text(text)) => Ok(Term::Value(Value::Text(text))),
            Some(Token::Number(number)) => Ok(Term::Value(Value::Number(number))),
            Some(Token::Word(word)) => match word.as_str() {
                "true" => Ok(Term::Value(Value::Bool(true))),
                "false" => Ok(Term::Value(Value::Bool(false))),
                "link" => self.field(),
                "mac" => {
                    self.expect("(")?;
                    let term = self.either()?;
                    self.expect(")")?;
                    Ok(Term::Mac(Box::new(term)))
                }
                "glob" => {
                    self.expect("(")?;
                    let pattern = self.either()?;
                    self.expect(",")?;
                    let term = self.either()?;
                    self.expect(")")?;
                    Ok(Term::Glob(Box::new(pattern), Box::new(term)))
                }
                _ => Err(format!("{word} is not known; link.FIELD, mac(..) and glob(..) are")),
            },
            other => Err(unknown(other, "a value")),
        }
    }

    fn field(&mut self) -> Parsed {
        self.expect(".")?;
        let word = self.take();
        let known = FIELDS.into_iter().find(|name| matches!(&word, Some(Token::Word(word)) if word == name));
        known.map(Term::Field).ok_or_else(|| unknown(word, &format!("a field of a link ({})", FIELDS.join(", "))))
    }
}

fn unknown(found: Option<Token>, wanted: &str) -> String {
    match found {
        Some(token) => format!("{token} is not {wanted}"),
        None => format!("{wanted} is missing at the end"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn link(name: &str) -> Option<Value> {
        Some(match name {
            "driver" => Value::Text("virtio_net".into()),
            "permanent_addr" => Value::Bytes(vec![0, 0x1a, 0x2b, 3, 4, 5]),
            "alt_names" => Value::List(vec!["enp0s2".into()]),
            "mtu" => Value::Number(1500),
            "link_state" => Value::Bool(true),
            _ => return None,
        })
    }

    #[test]
    fn expressions_of_the_clients_handbook_and_others() {
        for (text, wanted) in [
            ("link.driver == \"virtio_net\"", true),
            ("link.driver == 'e1000'", false),
            ("mac(link.permanent_addr) == \"00:1a:2b:03:04:05\"", true),
            ("glob(\"00:1a:2b:*\", mac(link.permanent_addr))", true),
            ("!(link.mtu < 1500) && link.link_state", true),
            ("link.driver.startsWith('virtio') && !link.driver.endsWith('blk') || false", true),
            ("'enp0s2' in link.alt_names", true),
            ("link.mtu == 'text'", false),
            ("link.kind == ''", false),
            ("true", true),
            ("'a'", false),
        ] {
            assert_eq!(Expression::parse(text).unwrap().holds(&link), wanted, "{text}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, wanted) in [
            ("link.colour == 'red'", "colour is not a field of a link"),
            ("disk.size > 1", "disk is not known"),
            ("(true", "\")\" is missing"),
            ("'a", "a quote is not closed"),
            ("true true", "true is not expected here"),
            ("link.name.matches('a')", "matches is not startsWith, endsWith or contains"),
            ("", "a value is missing at the end"),
            (&"(".repeat(100), "brackets within more than 32 others"),
        ] {
            let problem = Expression::parse(text).unwrap_err();
            assert!(problem.contains(wanted), "{text}: {problem}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in "([a-z.()!&|=<>'\", -]|link|mac|glob|in){0,60}") {
            if let Ok(expression) = Expression::parse(&text) {
                let _ = expression.holds(&link);
            }
        }
    }
}
