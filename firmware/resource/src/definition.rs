//! What clients must know of a type of resources to find it and to print it.

/// A column of the table that generic clients print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its title.
    pub name: &'static str,
    /// Where its value is in the YAML form (JSONPath in braces).
    pub path: &'static str,
}

/// What clients must know of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Full name (`Hostnames.net.talos.dev`): plural, a dot, where it belongs.
    pub kind: &'static str,
    /// Namespace that is meant when a client names none.
    pub namespace: &'static str,
    /// Short names beside those that follow from the full one.
    pub aliases: &'static [&'static str],
    /// Columns after namespace, type, id and version.
    pub columns: &'static [Column],
    /// For administrators only.
    pub sensitive: bool,
    /// Values may be hundreds of kilobytes, and clients set them.
    pub large: bool,
}

/// The names by which clients find a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Singular, as tables show it.
    pub display: String,
    /// Short names, the given ones first.
    pub aliases: Vec<String>,
    /// Everything that a client may type, lower case.
    pub all: Vec<String>,
}

impl Definition {
    /// The id of its resource definition.
    #[must_use]
    pub fn id(&self) -> String {
        self.kind.to_lowercase()
    }

    /// All names of it; how they follow from the full one is the rule of the resource API that clients speak (COSI).
    #[must_use]
    pub fn names(&self) -> Names {
        let (plural, suffix) = self.kind.split_once('.').unwrap_or((self.kind, ""));
        let display = singular(plural);
        let mut aliases: Vec<String> = self.aliases.iter().map(|alias| (*alias).to_owned()).collect();
        aliases.push(display.to_lowercase());
        let capitals: String = plural.chars().filter(char::is_ascii_uppercase).collect();
        if capitals.len() > 1 {
            aliases.push(capitals.to_lowercase());
            if !capitals.ends_with('S') {
                aliases.push(format!("{}s", capitals.to_lowercase()));
            }
        }
        let mut all = vec![plural.to_lowercase()];
        let cuts = suffix.match_indices('.').filter_map(|(at, _)| suffix.get(..at));
        all.extend(cuts.map(|prefix| format!("{}.{prefix}", plural.to_lowercase())));
        all.extend(aliases.iter().cloned());
        Names { display, aliases, all }
    }
}

/// Of the plural that a full name begins with.
fn singular(plural: &str) -> String {
    if let Some(stem) = plural.strip_suffix("ies") {
        return format!("{stem}y");
    }
    let hissing = ["sses", "shes", "ches", "xes", "uses"].iter().any(|end| plural.ends_with(end)) && !plural.ends_with("Caches");
    plural.strip_suffix(if hissing { "es" } else { "s" }).unwrap_or(plural).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: &'static str, aliases: &'static [&'static str], display: &str, short: &str, all: &str) {
        let names = Definition { kind, namespace: "n", aliases, columns: &[], sensitive: false, large: false }.names();
        assert_eq!((names.display.as_str(), names.aliases.join(" ").as_str(), names.all.join(" ").as_str()), (display, short, all));
    }

    #[test]
    fn names_follow_from_the_full_one() {
        check(
            "HostnameStatuses.net.talos.dev",
            &["hostname"],
            "HostnameStatus",
            "hostname hostnamestatus hs",
            "hostnamestatuses hostnamestatuses.net hostnamestatuses.net.talos hostname hostnamestatus hs",
        );
        check("Disks.block.talos.dev", &[], "Disk", "disk", "disks disks.block disks.block.talos disk");
        check(
            "NodeAddresses.net.talos.dev",
            &[],
            "NodeAddress",
            "nodeaddress na nas",
            "nodeaddresses nodeaddresses.net nodeaddresses.net.talos nodeaddress na nas",
        );
        check("BootedEntries.talos.dev", &[], "BootedEntry", "bootedentry be bes", "bootedentries bootedentries.talos bootedentry be bes");
    }

    #[test]
    fn plurals_have_singulars() {
        for (plural, expect) in [
            ("DNSResolveCaches", "DNSResolveCache"),
            ("LinkRefreshes", "LinkRefresh"),
            ("SystemInformations", "SystemInformation"),
            ("Identities", "Identity"),
            ("SecurityStates", "SecurityState"),
            ("HardwareAddresses", "HardwareAddress"),
            ("Infos", "Info"),
            ("KubePrismStatuses", "KubePrismStatus"),
        ] {
            assert_eq!(singular(plural), expect);
        }
    }
}
