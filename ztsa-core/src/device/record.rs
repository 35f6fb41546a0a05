//! How a key in hardware is written down: its kind, what finds it again, and the public part.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use ztsa_proto::jwk::Jwk;

use super::HardwareKey;
use crate::store::SecretBytes;

#[derive(Serialize, Deserialize)]
struct Written {
    hardware: String,
    handle: String,
    point: String,
}

pub(super) fn write(kind: &str, key: &HardwareKey) -> SecretBytes {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let written = Written { hardware: kind.to_owned(), handle: encode(&key.handle), point: encode(key.public.point()) };
    SecretBytes::new(serde_json::to_vec(&written).unwrap_or_default())
}

pub(super) fn read(record: &[u8]) -> Option<(String, HardwareKey)> {
    let written: Written = serde_json::from_slice(record).ok()?;
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let public = Jwk::from_point(&decode(&written.point)?).ok()?;
    Some((written.hardware, HardwareKey { handle: decode(&written.handle)?, public }))
}
