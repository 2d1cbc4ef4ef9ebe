//! Which shape a generated configuration has.

use std::{fmt, str::FromStr};

/// Version of the contract between client and node, `1.9` to `1.14`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contract {
    minor: u8,
}

impl Contract {
    /// The oldest that configurations are made for.
    pub const OLDEST: Self = Self { minor: 9 };
    /// The one of this version.
    pub const CURRENT: Self = Self { minor: 14 };

    /// Host name and registry mirrors in documents; flags that went without saying are gone (1.12).
    pub(super) const fn has_network_documents(self) -> bool {
        self.minor >= 12
    }

    /// The nodes' encrypted network in a document, no empty network section (1.13).
    pub(super) const fn has_kubespan_document(self) -> bool {
        self.minor >= 13
    }

    /// Kubernetes, discovery, installation and resolver in documents (1.14).
    pub(super) const fn has_all_documents(self) -> bool {
        self.minor >= 14
    }
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.minor)
    }
}

/// A version that no configuration can be made for.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no version of the contract: configurations can be made for v{oldest} to v{current}", oldest = Contract::OLDEST, current = Contract::CURRENT)]
pub struct ContractError(String);

impl FromStr for Contract {
    type Err = ContractError;

    /// `v1.12`, `1.12`, or with more behind it (`v1.12.3`).
    fn from_str(text: &str) -> Result<Self, ContractError> {
        let minor = text.strip_prefix('v').unwrap_or(text).strip_prefix("1.").and_then(|rest| rest.split('.').next());
        let contract = minor.and_then(|minor| minor.parse().ok()).map(|minor| Self { minor });
        let known = contract.filter(|contract| (Self::OLDEST..=Self::CURRENT).contains(contract));
        known.ok_or_else(|| ContractError(text.chars().take(40).collect()))
    }
}
