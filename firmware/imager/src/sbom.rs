//! `sbom.spdx.json`: what the image is made of, in SPDX 2.3: Debian packages from the lock, crates, the kernel.

use serde_json::{Value, json};

use crate::crates::Crate;
use crate::lock::Package;
use crate::manifest::Manifest;

/// Builds the document; the same inputs give the same text.
#[must_use]
pub fn document(manifest: &Manifest, packages: &[Package], crates: &[Crate], kernel_version: &str, created: &str) -> String {
    let name = format!("keelson-{}-{}", manifest.version, manifest.board);
    let mut parts = vec![kernel(kernel_version)];
    parts.extend(packages.iter().map(debian));
    parts.extend(crates.iter().map(rust));
    let mut relations = vec![json!({
        "spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-image"
    })];
    relations.extend(
        parts
            .iter()
            .map(|part| json!({"spdxElementId": "SPDXRef-image", "relationshipType": "CONTAINS", "relatedSpdxElement": part["SPDXID"]})),
    );
    let image = json!({
        "SPDXID": "SPDXRef-image", "name": name, "versionInfo": manifest.version, "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false, "primaryPackagePurpose": "OPERATING-SYSTEM",
        "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
    });
    let document = json!({
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": name,
        // A name, not an address: it only has to be this image's own.
        "documentNamespace": format!("urn:uuid:{}", layout::Uuid::new_v5(&crate::NAMESPACE, format!("sbom {}", manifest.root_hash).as_bytes())),
        "creationInfo": {"created": created, "creators": [format!("Tool: keelson-imager-{}", manifest.version)]},
        "packages": std::iter::once(image).chain(parts).collect::<Vec<_>>(),
        "relationships": relations,
    });
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

fn kernel(version: &str) -> Value {
    part(
        "linux",
        "linux",
        version,
        "GPL-2.0-only WITH Linux-syscall-note",
        None,
        &format!("pkg:deb/debian/linux-source-6.12@{}", escape(version)),
    )
}

fn debian(package: &Package) -> Value {
    let purl = format!("pkg:deb/debian/{}@{}?arch={}", escape(&package.name), escape(&package.version), package.arch);
    part("deb", &package.name, &package.version, "NOASSERTION", Some(&package.sha256), &purl)
}

fn rust(one: &Crate) -> Value {
    let licence = one.licence.as_deref().unwrap_or("NOASSERTION").replace('/', " OR ");
    let purl = format!("pkg:cargo/{}@{}", escape(&one.name), escape(&one.version));
    part("crate", &one.name, &one.version, &licence, one.sha256.as_deref(), &purl)
}

fn part(kind: &str, name: &str, version: &str, licence: &str, sha256: Option<&str>, purl: &str) -> Value {
    let mut value = json!({
        "SPDXID": format!("SPDXRef-{}", identifier(&format!("{kind}-{name}-{version}"))), "name": name, "versionInfo": version,
        "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION", "licenseDeclared": licence, "copyrightText": "NOASSERTION",
        "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}],
    });
    if let Some(sha256) = sha256 {
        value["checksums"] = json!([{"algorithm": "SHA256", "checksumValue": sha256}]);
    }
    value
}

/// SPDX identifiers take letters, digits, `.` and `-`.
fn identifier(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect()
}

/// What stands for itself in a package URL is kept, the rest is percent-encoded.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{escape, identifier};

    #[test]
    fn names_are_made_fit() {
        assert_eq!(escape("1:2.41+b1"), "1%3A2.41%2Bb1");
        assert_eq!(identifier("deb-libc6-2.41-12+deb13u4"), "deb-libc6-2.41-12-deb13u4");
    }
}
