//! The chain: every line carries the hash of the line before and its own, so that no line can be changed, taken out, put in
//! or moved without a trace.
//!
//! A line ends with `"chain":{"previous":"P","hash":"H"}}}`. `H` is the SHA-256, in lower-case hexadecimal, of the line's bytes
//! up to and without `,"hash":"`; `P` is the `H` of the line before, 64 zeros in the first line of a chain. `metadata.uid` is the
//! chain's random name, a hyphen and `metadata.sequence`, which grows by one.

use std::io::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use ztsa_proto::jws::random_id;

/// A SHA-256 in lower-case hexadecimal.
pub(super) type Hash = String;

/// The characters of a hash.
const HEX: usize = 64;
const BEFORE_PREVIOUS: &[u8] = b"\"chain\":{\"previous\":\"";
const BEFORE_HASH: &[u8] = b",\"hash\":\"";
const END: &[u8] = b"\"}}}";

/// Where a chain stands: its last line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The chain's random name.
    pub(super) chain: String,
    /// The number of the last line; 0 when there is none.
    pub(super) sequence: u64,
    /// The hash of the last line.
    pub(super) hash: Hash,
}

/// A line that was read, and whose hash is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) previous: Hash,
    /// Where the chain stands with it.
    pub(super) head: Head,
    /// What sort of event it is.
    pub(super) code: String,
    /// The signature, in a checkpoint.
    pub(super) checkpoint: Option<String>,
    /// The lines that nothing shows the gateway to have written, in an event about that.
    pub(super) unvouched: Option<Range>,
}

/// Lines from one to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Range {
    pub(super) from: u64,
    pub(super) to: u64,
}

/// Why a line is no link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error("it is not an event of this log")]
    Foreign,
    #[error("its content is not what its hash was made of: it was changed")]
    Changed,
}

impl Head {
    /// Begins a chain.
    pub(super) fn new() -> Self {
        Self { chain: random_id(), sequence: 0, hash: "0".repeat(HEX) }
    }

    /// Writes an event as the chain's next line, with its newline, and moves on to it.
    pub(super) fn seal(&mut self, mut event: Map<String, Value>, logged: u64, out: &mut Vec<u8>) {
        let sequence = self.sequence.saturating_add(1);
        if let Some(metadata) = event.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("uid".to_owned(), json!(format!("{}-{sequence}", self.chain)));
            metadata.insert("sequence".to_owned(), json!(sequence));
            metadata.insert("logged_time".to_owned(), json!(logged));
        }
        let unmapped = match event.remove("unmapped") {
            Some(Value::Object(members)) => members,
            _ => Map::new(),
        };
        let start = out.len();
        open(&event, out);
        out.extend_from_slice(b",\"unmapped\":");
        open(&unmapped, out);
        if !unmapped.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(BEFORE_PREVIOUS);
        out.extend_from_slice(self.hash.as_bytes());
        out.push(b'"');
        self.hash = hash(out.get(start..).unwrap_or_default());
        self.sequence = sequence;
        out.extend_from_slice(BEFORE_HASH);
        out.extend_from_slice(self.hash.as_bytes());
        out.extend_from_slice(END);
        out.push(b'\n');
    }
}

impl Link {
    /// Reads a line, without its newline, and checks its hash.
    pub(super) fn read(line: &[u8]) -> Result<Link, Broken> {
        let (body, stated) = split(line).ok_or(Broken::Foreign)?;
        if hash(body) != stated {
            return Err(Broken::Changed);
        }
        Self::of(line, body, stated).ok_or(Broken::Foreign)
    }

    /// Reads a line without checking its hash: where the chain stands by the line's own word.
    pub(super) fn trusting(line: &[u8]) -> Option<Link> {
        let (body, stated) = split(line)?;
        Self::of(line, body, stated)
    }

    /// Where the chain stood before it, by its own word.
    pub(super) fn before(&self) -> Head {
        let sequence = self.head.sequence.saturating_sub(1);
        Head { chain: self.head.chain.clone(), sequence, hash: self.previous.clone() }
    }

    fn of(line: &[u8], body: &[u8], stated: &str) -> Option<Link> {
        let rest = body.strip_suffix(b"\"")?;
        let (rest, previous) = rest.split_at_checked(rest.len().checked_sub(HEX)?)?;
        rest.ends_with(BEFORE_PREVIOUS).then_some(())?;
        let Line { metadata, unmapped } = serde_json::from_slice(line).ok()?;
        let chain = metadata.uid.strip_suffix(&format!("-{}", metadata.sequence))?.to_owned();
        let head = Head { chain, sequence: metadata.sequence, hash: stated.to_owned() };
        let previous = std::str::from_utf8(previous).ok()?.to_owned();
        let Unmapped { checkpoint, unvouched } = unmapped;
        Some(Link { previous, head, code: metadata.event_code, checkpoint, unvouched })
    }
}

/// The hash of some bytes.
pub(super) fn hash(bytes: &[u8]) -> Hash {
    hex(digest(&SHA256, bytes).as_ref())
}

/// Writes bytes in lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(HEX);
    for byte in bytes {
        // a vector takes every byte
        let _ = write!(text, "{byte:02x}");
    }
    String::from_utf8(text).unwrap_or_default()
}

/// Takes a line apart: what was hashed, and the hash.
fn split(line: &[u8]) -> Option<(&[u8], &str)> {
    let rest = line.strip_suffix(END)?;
    let (rest, stated) = rest.split_at_checked(rest.len().checked_sub(HEX)?)?;
    let body = rest.strip_suffix(BEFORE_HASH)?;
    Some((body, std::str::from_utf8(stated).ok()?))
}

/// Writes an object without its last brace.
fn open(members: &Map<String, Value>, out: &mut Vec<u8>) {
    let start = out.len();
    // texts and numbers always can be written
    if serde_json::to_writer(&mut *out, members).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"{}");
    }
    out.pop();
}

#[derive(Deserialize)]
struct Line {
    metadata: Metadata,
    unmapped: Unmapped,
}

#[derive(Deserialize)]
struct Metadata {
    uid: String,
    sequence: u64,
    #[serde(default)]
    event_code: String,
}

#[derive(Deserialize)]
struct Unmapped {
    checkpoint: Option<String>,
    unvouched: Option<Range>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> Map<String, Value> {
        let Value::Object(event) =
            json!({"message": text, "metadata": {"event_code": "end"}, "unmapped": {"shadow": [text]}})
        else {
            unreachable!()
        };
        event
    }

    #[test]
    fn a_line_reads_back_as_the_link_that_it_was_written_as() {
        let mut head = Head::new();
        let first = head.clone();
        let mut out = Vec::new();
        head.seal(event("a \"b\" \n ü"), 7, &mut out);
        let after = head.clone();
        head.seal(Map::from_iter([("metadata".to_owned(), json!({}))]), 8, &mut out);
        let lines: Vec<&[u8]> = out.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n').collect();
        let [one, two] = lines.as_slice() else { panic!("{}", lines.len()) };
        let link = Link::read(one).unwrap();
        assert_eq!((link.previous, link.head, link.code.as_str()), (first.hash, after.clone(), "end"));
        assert_eq!((after.sequence, Link::read(two).unwrap().previous), (1, after.hash.clone()));
        assert_eq!(Link::read(two).unwrap().head, head);
        // as the documentation tells others to do it
        let text = std::str::from_utf8(one).unwrap();
        let (hashed, _) = text.rsplit_once(",\"hash\":\"").unwrap();
        assert_eq!(hash(hashed.as_bytes()), after.hash);
        let value: Value = serde_json::from_slice(one).unwrap();
        assert_eq!(value["unmapped"]["chain"]["hash"], after.hash);
        assert_eq!((&value["metadata"]["sequence"], &value["metadata"]["logged_time"]), (&json!(1), &json!(7)));
        assert_eq!(value["unmapped"]["shadow"], json!(["a \"b\" \n ü"]));
    }

    #[test]
    fn other_lines_are_none() {
        for line in ["", "{}", "{\"a\":1}", &format!("{{\"chain\":{{\"hash\":\"{}\"}}}}", "0".repeat(64))] {
            assert_eq!(Link::read(line.as_bytes()), Err(Broken::Foreign), "{line}");
        }
    }
}
