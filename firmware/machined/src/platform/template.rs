//! A URL with gaps that only the machine can fill: `${uuid}`, `${serial}`, `${mac}`, `${hostname}`, `${code}`. Pure.

use fetch::{Url, UrlError};

/// Longest text.
const LONGEST: usize = 4096;

/// What a gap is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variable {
    /// UUID of the machine, from its firmware.
    Uuid,
    /// Serial number of the machine, from its firmware.
    Serial,
    /// Hardware address of the first network card.
    Mac,
    /// Host name.
    Hostname,
    /// The value of META's key 11, which whoever installs the machine may set.
    Code,
}

impl Variable {
    const ALL: [(&'static str, Self); 5] =
        [("uuid", Self::Uuid), ("serial", Self::Serial), ("mac", Self::Mac), ("hostname", Self::Hostname), ("code", Self::Code)];

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, variable)| *variable == self).map_or("", |(name, _)| name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Gap(Variable),
}

/// A URL that may have gaps in its path and query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

impl Template {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("it has more than {LONGEST} bytes"));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or("there is no } for a ${")?;
            let known = Variable::ALL.iter().find(|(known, _)| *known == name);
            let (_, variable) = known.ok_or_else(|| {
                let name: String = name.chars().take(40).collect();
                format!("${{{name}}} is not known (uuid, serial, mac, hostname and code are)")
            })?;
            parts.extend([Part::Text(before.to_owned()), Part::Gap(*variable)]);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        let template = Self(parts);
        // With the gaps filled in two ways the server is the same: none is in the server's name.
        let filled = |with: &str| template.fill(&|_| with.to_owned()).map_err(|error| error.to_string());
        if filled("a")?.join("/") != filled("b")?.join("/") {
            return Err("gaps may be in the path and in the query only".to_owned());
        }
        Ok(template)
    }

    /// What is needed to fill it, each once, in order.
    #[must_use]
    pub fn needs(&self) -> Vec<Variable> {
        let gaps = self.0.iter().filter_map(|part| if let Part::Gap(variable) = part { Some(*variable) } else { None });
        let mut needs: Vec<Variable> = gaps.collect();
        needs.sort();
        needs.dedup();
        needs
    }

    /// The URL with the gaps filled; what is special in a URL is escaped.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn fill(&self, value: &dyn Fn(Variable) -> String) -> Result<Url, UrlError> {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Gap(variable) => escaped(&value(*variable)),
        });
        Url::parse(&parts.collect::<String>())
    }
}

/// RFC 3986: unreserved characters stay, and the colon of hardware addresses, which paths and queries may have.
fn escaped(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
    value.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(variable: Variable) -> String {
        match variable {
            Variable::Uuid => "4c4c4544-0051",
            Variable::Serial => "VM 0815/&?ü",
            Variable::Mac => "52:54:00:12:34:56",
            Variable::Hostname => "n1.lab",
            Variable::Code => "c",
        }
        .to_owned()
    }

    #[track_caller]
    fn check(text: &str, needs: &[Variable], wanted: &str) {
        let template = Template::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(template.needs(), needs, "{text}");
        assert_eq!(template.fill(&value), Url::parse(wanted), "{text}");
    }

    #[test]
    fn gaps() {
        check("http://a/b", &[], "http://a/b");
        check(
            "https://a:81/${serial}?mac=${mac}&u=${uuid}&m=${mac}",
            &[Variable::Uuid, Variable::Serial, Variable::Mac],
            "https://a:81/VM%200815%2F%26%3F%C3%BC?mac=52:54:00:12:34:56&u=4c4c4544-0051&m=52:54:00:12:34:56",
        );
        check("http://a/${hostname}.yaml?${code}", &[Variable::Hostname, Variable::Code], "http://a/n1.lab.yaml?c");
    }

    #[test]
    fn mistakes() {
        for (text, wanted) in [
            ("http://a/${uuid", "no }"),
            ("http://a/${UUID}", "${UUID} is not known"),
            ("http://${hostname}/", "path and in the query only"),
            ("http://a:8${code}/", "not of the form"),
            ("ftp://a/", "only http"),
            ("metal_iso", "not of the form"),
        ] {
            let error = Template::parse(text).expect_err(text);
            assert!(error.contains(wanted), "{text}: {error}");
        }
        assert!(Template::parse(&format!("http://a/{}", "b".repeat(LONGEST))).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(http://a/)?(\\$\\{)?[a-z]{0,8}\\PC{0,40}") {
            let _ = Template::parse(&text);
        }

        #[test]
        fn a_value_stays_in_its_gap(serial in "\\PC{0,40}") {
            let url = Template::parse("http://a/b?s=${serial}&end").unwrap().fill(&|_| serial.clone());
            prop_assert!(url.is_ok_and(|url| url.to_string() == "http://a/b?..."));
        }
    }
}
