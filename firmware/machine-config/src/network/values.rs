//! Single values that several documents have.

use std::time::Duration;

use super::{DeviceSelector, MAIN_TABLE};
use crate::{
    take::{Taker, flag, number, text},
    tree::Node,
};

/// Names of the tables that have one (`linux/rtnetlink.h`).
const TABLES: [(&str, u32); 4] = [("unspec", 0), ("default", 253), ("main", MAIN_TABLE), ("local", 255)];

impl Taker {
    /// A table of routes: a number or one of the names; the main one when none is given.
    pub(super) fn table(&mut self, node: Option<&Node>, path: &str) -> u32 {
        let Some((node, word)) = node.and_then(|node| Some((node, node.text().filter(|word| !word.is_empty())?))) else {
            return MAIN_TABLE;
        };
        let named = TABLES.iter().find(|(name, _)| *name == word).map(|(_, number)| *number);
        named.or_else(|| word.parse().ok()).unwrap_or_else(|| {
            self.problems.add(node.line, path, "this must be the number of a table, or main, local, default");
            MAIN_TABLE
        })
    }

    /// A number up to `most`; `None` when none is given.
    pub(super) fn bounded(&mut self, node: Option<&Node>, path: &str, least: u32, most: u32) -> Option<u32> {
        let node = node?;
        let found = number(Some(node)).filter(|value| (least..=most).contains(value));
        if found.is_none() {
            self.problems.add(node.line, path, format!("this must be a number from {least} to {most}"));
        }
        found
    }

    /// A hardware address of Ethernet.
    pub(super) fn mac(&mut self, node: Option<&Node>, path: &str) -> Option<[u8; 6]> {
        let node = node?;
        let word = node.text().filter(|word| !word.is_empty())?;
        let bytes: Option<[u8; 6]> = hex_bytes(word).and_then(|bytes| bytes.try_into().ok());
        if bytes.is_none() {
            self.problems.add(node.line, path, "this must be a hardware address of six bytes (aa:bb:cc:dd:ee:ff)");
        }
        bytes
    }

    /// Of the older settings.
    pub(super) fn selector(&mut self, node: &Node, path: &str) -> DeviceSelector {
        let pattern = |key: &str| text(node.get(key));
        let selector = DeviceSelector {
            name: String::new(),
            bus_path: pattern("busPath"),
            hardware_addr: pattern("hardwareAddr"),
            permanent_addr: pattern("permanentAddr"),
            pci_id: pattern("pciID"),
            driver: pattern("driver"),
            physical: flag(node.get("physical")),
        };
        if selector.is_empty() {
            self.problems.add(node.line, path, "this must say something about the links that are meant");
        }
        selector
    }
}

/// Bytes as pairs of hexadecimal digits with `:` or `-` between.
pub(super) fn hex_bytes(word: &str) -> Option<Vec<u8>> {
    let pair = |pair: &str| (pair.len() == 2).then(|| u8::from_str_radix(pair, 16).ok()).flatten();
    word.split([':', '-']).map(pair).collect()
}

/// A span of time; what is none was reported by the check of types. Negative ones are none.
pub(super) fn span(node: Option<&Node>) -> Option<Duration> {
    let word = node?.text()?;
    if let Ok(seconds) = word.parse::<u64>() {
        // A bare number counts nanoseconds.
        return Some(Duration::from_nanos(seconds));
    }
    let mut rest = word.strip_prefix('+').unwrap_or(word);
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (count, after) = rest.split_at(digits);
        let (unit, seconds) =
            [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("μs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)]
                .into_iter()
                .find(|(unit, _)| after.starts_with(unit))?;
        let part = Duration::try_from_secs_f64(count.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = after.get(unit.len()..)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Kind;

    #[test]
    fn spans() {
        for (word, wanted) in [
            ("25s", Some(Duration::from_secs(25))),
            ("1m30s", Some(Duration::from_secs(90))),
            ("1.5h", Some(Duration::from_secs(5400))),
            ("250ms", Some(Duration::from_millis(250))),
            ("-3s", None),
            ("s", None),
        ] {
            let node = Node { line: 1, kind: Kind::Scalar { text: word.to_owned().into(), plain: true } };
            assert_eq!(span(Some(&node)), wanted, "{word}");
        }
        assert_eq!(hex_bytes("00:ff-1A"), Some(vec![0, 255, 26]));
        assert_eq!(hex_bytes("0:ff"), None);
    }
}
