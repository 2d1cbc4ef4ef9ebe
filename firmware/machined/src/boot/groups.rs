//! What each control group is granted and allowed. Pure: the files to write.

/// Bytes.
const MIB: u64 = 1 << 20;

/// What a group is granted and allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory that is never taken away, MiB.
    min: u64,
    /// Memory that is taken away only when everybody is short, MiB.
    low: u64,
    /// Memory that it may have, MiB; `None` for as much as there is.
    max: Option<u64>,
    /// Thousandths of a processor that it is to have when all want more.
    millicores: u64,
    /// Its memory may be swapped out. Not where secrets are.
    swap: bool,
}

/// By name below the root. Processors and the ceiling of apid are the reference's (behaviour (c)); memory is granted by what our
/// programs use, which is a fraction of that. What pods are granted comes with the services that run them.
pub const GROUPS: &[(&str, Limits)] = &[
    ("init", Limits { min: 24, low: 48, max: None, millicores: 2000, swap: false }),
    ("system", Limits { min: 24, low: 96, max: None, millicores: 1500, swap: true }),
    ("system/apid", Limits { min: 8, low: 16, max: Some(128), millicores: 500, swap: false }),
    ("system/trustd", Limits { min: 4, low: 8, max: Some(128), millicores: 250, swap: false }),
    ("system/dnsd", Limits { min: 0, low: 8, max: Some(32), millicores: 250, swap: true }),
    ("podruntime", Limits { min: 0, low: 0, max: None, millicores: 4000, swap: true }),
];

impl Limits {
    /// The group's files with their contents, on a machine with so many processors.
    #[must_use]
    pub fn files(&self, processors: u64) -> Vec<(&'static str, String)> {
        let mut files = vec![
            ("memory.min", (self.min * MIB).to_string()),
            ("memory.low", (self.low * MIB).to_string()),
            ("memory.max", self.max.map_or_else(|| "max".to_owned(), |max| (max * MIB).to_string())),
            ("cpu.weight", weight(self.millicores.min(processors.max(1) * 1000)).to_string()),
        ];
        if !self.swap {
            files.push(("memory.swap.max", "0".to_owned()));
        }
        files
    }
}

/// The kernel's weight for thousandths of a processor, as container runtimes convert their shares (OCI runtime specification,
/// cgroup v2): from 1 to 10,000.
fn weight(millicores: u64) -> u64 {
    let shares = (millicores * 1024 / 1000).clamp(2, 262_144);
    1 + (shares - 2) * 9999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_container_runtimes() {
        for (millicores, expect) in [(0, 1), (2, 1), (100, 4), (500, 20), (1000, 39), (2000, 79), (4000, 157), (1_000_000, 10_000)] {
            assert_eq!(weight(millicores), expect, "{millicores}");
        }
    }

    #[test]
    fn a_group_has_a_line_for_each_limit() {
        let limits = Limits { min: 8, low: 16, max: Some(128), millicores: 4000, swap: false };
        let expect = [
            ("memory.min", "8388608"),
            ("memory.low", "16777216"),
            ("memory.max", "134217728"),
            ("cpu.weight", "79"),
            ("memory.swap.max", "0"),
        ];
        let files = limits.files(2);
        assert_eq!(files.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>(), expect);
        let open = Limits { max: None, swap: true, ..limits };
        assert_eq!(open.files(8).iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["8388608", "16777216", "max", "157"]);
    }

    #[test]
    fn parents_come_first_and_grant_what_their_children_ask_for() {
        for (at, (name, limits)) in GROUPS.iter().enumerate() {
            let Some((parent, _)) = name.rsplit_once('/') else { continue };
            let (place, (_, above)) = GROUPS.iter().enumerate().find(|(_, (known, _))| *known == parent).expect("a parent");
            assert!(place < at && above.min >= limits.min && above.low >= limits.low, "{name}");
        }
    }
}
