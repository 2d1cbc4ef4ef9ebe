//! User data: a configuration, the way to one, or something for another system. Pure.

use fetch::Url;

/// First line of a document that is for another system.
const CLOUD_CONFIG: &str = "#cloud-config";
/// Beginning of a document that names others.
const INCLUDE: &str = "#include";

/// What user data is.
#[derive(Clone, PartialEq, Eq)]
pub enum Document {
    /// A configuration, not looked into. A secret.
    Config(String),
    /// Where a configuration is.
    Include(Url),
    /// Nothing that is for this system.
    Foreign,
}

impl Document {
    /// Tells one from the other by the first line.
    ///
    /// # Errors
    /// What is wrong with a document that names others.
    pub fn read(text: String) -> Result<Self, String> {
        let first = text.lines().next().unwrap_or_default().trim_end();
        if first == CLOUD_CONFIG || text.trim().is_empty() {
            return Ok(Self::Foreign);
        }
        let Some(rest) = first.strip_prefix(INCLUDE).filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace)) else {
            return Ok(Self::Config(text));
        };
        let later = text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut urls = Some(rest.trim()).filter(|url| !url.is_empty()).into_iter().chain(later);
        match (urls.next(), urls.next()) {
            (Some(url), None) => Url::parse(url).map(Self::Include).map_err(|error| format!("#include: {error}")),
            (None, _) => Err("#include names no URL".to_owned()),
            (Some(_), Some(_)) => Err("#include names several URLs; a configuration is one document".to_owned()),
        }
    }
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Config(text) => write!(f, "Config({} bytes)", text.len()),
            Self::Include(url) => write!(f, "Include({url})"),
            Self::Foreign => f.write_str("Foreign"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, wanted: Result<Document, &str>) {
        let found = Document::read(text.to_owned());
        assert_eq!(found.as_ref().map_err(String::as_str), wanted.as_ref().map_err(|error| *error), "{text:?}");
    }

    #[test]
    fn kinds() {
        let url = || Ok(Document::Include(Url::parse("http://a/b").unwrap()));
        check("machine: {}\n", Ok(Document::Config("machine: {}\n".into())));
        check("# a comment\nmachine: {}\n", Ok(Document::Config("# a comment\nmachine: {}\n".into())));
        check("#includes\nmachine: {}\n", Ok(Document::Config("#includes\nmachine: {}\n".into())));
        for foreign in ["#cloud-config\nusers: []\n", "#cloud-config \r\n", "", " \n"] {
            check(foreign, Ok(Document::Foreign));
        }
        check("#include http://a/b\n", url());
        check("#include\n# here\n  http://a/b\r\n", url());
        check("#include\n", Err("#include names no URL"));
        check("#include http://a/\nhttp://b/\n", Err("#include names several URLs; a configuration is one document"));
        check("#include x\n", Err("#include: it is not of the form http://HOST/PATH"));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(#include|#cloud-config)?\\PC{0,60}") {
            let _ = Document::read(text);
        }
    }
}
