//! What a gateway asks for: check ids, some with parameters.

use serde::{Deserialize, Serialize};

use crate::text::printable;

/// Asks for one check.
///
/// In JSON it is the id alone, or an object with the id and what the check needs; unknown members are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Form", into = "Form")]
pub struct Wanted {
    /// The check, such as `disk.root` or `file.agent`.
    pub id: String,
    /// Where a `file` or `process` is looked for.
    pub path: Paths,
    /// Whether the SHA-256 of a `file` is asked for.
    pub hash: bool,
    /// The SHA-256 of a `ca`'s certificate, in hexadecimal digits.
    pub sha256: Option<String>,
    /// The programs that `edr` looks for.
    pub products: Vec<Product>,
}

/// Names a file on each operating system; on one that has none, the question does not arise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paths {
    /// On Linux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linux: Option<String>,
    /// On macOS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macos: Option<String>,
    /// On Windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<String>,
}

/// Names a product that protects devices, and its processes on any operating system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Its name.
    pub name: String,
    /// The names of its processes; one of them running is enough.
    pub processes: Vec<String>,
}

impl Wanted {
    /// Says in words what the check looks for, where it has a parameter.
    #[must_use]
    pub fn parameter(&self, family: &str) -> Option<String> {
        let path = self
            .path
            .on(family)
            .map(|path| if self.hash { format!("{path} and its SHA-256") } else { path.to_owned() });
        let thumbprint = self.sha256.as_ref().map(|digest| format!("SHA-256 {digest}"));
        let products = || {
            let names: Vec<&str> = self.products.iter().map(|product| product.name.as_str()).collect();
            (!names.is_empty()).then(|| format!("one of {}", names.join(", ")))
        };
        path.or(thumbprint).or_else(products).map(|text| printable(&text, 500))
    }
}

/// The header with which the answer to a client that follows events says what is asked for now, as [`fingerprint`] has it.
pub const FINGERPRINT: &str = "ztsa-posture";

/// Tells one list of wanted checks from another: the first half of the SHA-256 of its JSON, as hexadecimal digits.
#[must_use]
pub fn fingerprint(wanted: &[Wanted]) -> String {
    // names, paths and digests always write
    let json = serde_json::to_vec(wanted).unwrap_or_default();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &json);
    digest.as_ref().iter().take(16).fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

impl Paths {
    /// Gives the path on an operating system: `linux`, `macos` or `windows`.
    #[must_use]
    pub fn on(&self, family: &str) -> Option<&str> {
        match family {
            "linux" => self.linux.as_deref(),
            "macos" => self.macos.as_deref(),
            "windows" => self.windows.as_deref(),
            _ => None,
        }
    }
}

impl From<&str> for Wanted {
    fn from(id: &str) -> Self {
        Self { id: id.to_owned(), ..Self::default() }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Id(String),
    Full {
        id: String,
        #[serde(flatten)]
        path: Paths,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        hash: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        products: Vec<Product>,
    },
}

impl From<Form> for Wanted {
    fn from(form: Form) -> Self {
        match form {
            Form::Id(id) => Self { id, ..Self::default() },
            Form::Full { id, path, hash, sha256, products } => Self { id, path, hash, sha256, products },
        }
    }
}

impl From<Wanted> for Form {
    fn from(wanted: Wanted) -> Self {
        let plain = Wanted { id: wanted.id.clone(), ..Wanted::default() };
        if wanted == plain {
            return Self::Id(wanted.id);
        }
        let Wanted { id, path, hash, sha256, products } = wanted;
        Self::Full { id, path, hash, sha256, products }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_id_stands_alone_and_parameters_beside_it() {
        let list: Vec<Wanted> = serde_json::from_value(json!([
            "disk.root",
            {"id": "file.agent", "linux": "/etc/agent.conf", "hash": true, "later": 1},
            {"id": "ca.corp", "sha256": "ab"},
            {"id": "edr", "products": [{"name": "falcon", "processes": ["falcon-sensor"]}]},
        ]))
        .unwrap();
        assert_eq!(list[0], Wanted::from("disk.root"));
        assert_eq!(list[1].path.on("linux"), Some("/etc/agent.conf"));
        assert_eq!((list[1].path.on("windows"), list[1].path.on("plan9")), (None, None));
        assert_eq!(list[1].parameter("linux").as_deref(), Some("/etc/agent.conf and its SHA-256"));
        assert_eq!(list[3].parameter("linux").as_deref(), Some("one of falcon"));
        assert_eq!(list[0].parameter("linux"), None);
        let text = serde_json::to_value(&list).unwrap();
        assert_eq!(text[0], "disk.root");
        assert_eq!(serde_json::from_value::<Vec<Wanted>>(text).unwrap(), list);
    }
}
