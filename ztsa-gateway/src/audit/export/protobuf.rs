//! Log records as OTLP has them (opentelemetry-proto 1.x, `collector/logs/v1`), written by hand: the messages are few.

use serde_json::Value;

/// Writes an `ExportLogsServiceRequest` with one record per event; the body of each is the event itself.
pub(super) fn request(events: &[Value], chain: &str) -> Vec<u8> {
    let mut scope = Vec::new();
    text(&mut scope, 1, "ztsa.audit");
    text(&mut scope, 2, env!("CARGO_PKG_VERSION"));
    let mut scoped = Vec::new();
    message(&mut scoped, 1, &scope);
    for event in events {
        message(&mut scoped, 2, &record(event));
    }
    let mut resource = Vec::new();
    let about = [
        ("service.name", "ztsa-gateway"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", chain),
    ];
    for (key, value) in about {
        attribute(&mut resource, 1, key, &Value::from(value));
    }
    let mut logs = Vec::new();
    message(&mut logs, 1, &resource);
    message(&mut logs, 2, &scoped);
    let mut request = Vec::new();
    message(&mut request, 1, &logs);
    request
}

/// What a collector answers: how many records it refuses, and why.
pub(super) fn refused(response: &[u8]) -> Option<(u64, String)> {
    let partial = fields(response).find(|(number, _)| *number == 1).map(|(_, value)| value)?;
    let Field::Bytes(partial) = partial else { return None };
    let (mut rejected, mut why) = (0, String::new());
    for (number, value) in fields(partial) {
        match (number, value) {
            (1, Field::Number(count)) => rejected = count,
            (2, Field::Bytes(bytes)) => why = String::from_utf8_lossy(bytes).into_owned(),
            _ => {}
        }
    }
    Some((rejected, why))
}

/// The event's own attributes: those that are searched by. Names of OpenTelemetry's conventions where there is one.
const ATTRIBUTES: [(&str, &str); 11] = [
    ("ocsf.class_uid", "/class_uid"),
    ("ocsf.type_uid", "/type_uid"),
    ("ocsf.status", "/status"),
    ("ocsf.status_code", "/status_code"),
    ("log.record.uid", "/metadata/uid"),
    ("ztsa.sequence", "/metadata/sequence"),
    ("user.id", "/actor/user/uid"),
    ("session.id", "/actor/session/uid"),
    ("device.id", "/device/uid"),
    ("client.address", "/src_endpoint/ip"),
    ("ztsa.app", "/dst_endpoint/name"),
];

fn record(event: &Value) -> Vec<u8> {
    let number = |pointer: &str| event.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let nanos = |millis: u64| millis.saturating_mul(1_000_000);
    let mut out = Vec::new();
    fixed(&mut out, 1, nanos(number("/time")));
    // INFO, INFO2, WARN, ERROR
    let severity = match number("/severity_id") {
        1 => 9,
        2 => 10,
        3 => 13,
        _ => 17,
    };
    tag(&mut out, 2, 0);
    varint(&mut out, severity);
    if let Some(severity) = event.get("severity").and_then(Value::as_str) {
        text(&mut out, 3, severity);
    }
    message(&mut out, 5, &any_value(event));
    for (key, pointer) in ATTRIBUTES {
        if let Some(value) = event.pointer(pointer) {
            attribute(&mut out, 6, key, value);
        }
    }
    fixed(&mut out, 11, nanos(number("/metadata/logged_time")));
    let code = event.pointer("/metadata/event_code").and_then(Value::as_str).unwrap_or_default();
    text(&mut out, 12, &format!("ztsa.audit.{code}"));
    out
}

/// An `AnyValue`.
fn any_value(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    match value {
        Value::Null => {}
        Value::String(value) => text(&mut out, 1, value),
        Value::Bool(value) => {
            tag(&mut out, 2, 0);
            varint(&mut out, u64::from(*value));
        }
        Value::Number(number) => match number.as_i64() {
            Some(integer) => {
                tag(&mut out, 3, 0);
                varint(&mut out, integer.cast_unsigned());
            }
            None => fixed(&mut out, 4, number.as_f64().unwrap_or_default().to_bits()),
        },
        Value::Array(values) => {
            let mut list = Vec::new();
            for value in values {
                message(&mut list, 1, &any_value(value));
            }
            message(&mut out, 5, &list);
        }
        Value::Object(members) => {
            let mut list = Vec::new();
            for (key, value) in members.iter().filter(|(_, value)| !value.is_null()) {
                attribute(&mut list, 1, key, value);
            }
            message(&mut out, 6, &list);
        }
    }
    out
}

/// A field that is a `KeyValue`.
fn attribute(out: &mut Vec<u8>, number: u64, key: &str, value: &Value) {
    let mut pair = Vec::new();
    text(&mut pair, 1, key);
    message(&mut pair, 2, &any_value(value));
    message(out, number, &pair);
}

fn text(out: &mut Vec<u8>, number: u64, value: &str) {
    message(out, number, value.as_bytes());
}

fn message(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    tag(out, number, 2);
    varint(out, u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    out.extend_from_slice(bytes);
}

fn fixed(out: &mut Vec<u8>, number: u64, value: u64) {
    tag(out, number, 1);
    out.extend_from_slice(&value.to_le_bytes());
}

fn tag(out: &mut Vec<u8>, number: u64, wire: u64) {
    varint(out, number << 3 | wire);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

/// The value of a field.
pub(super) enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Other,
}

/// The fields of a message; it ends where the message is none.
pub(super) fn fields(mut bytes: &[u8]) -> impl Iterator<Item = (u64, Field<'_>)> {
    std::iter::from_fn(move || {
        let key = read(&mut bytes)?;
        let field = match key & 7 {
            0 => Field::Number(read(&mut bytes)?),
            1 => take(&mut bytes, 8).map(|_| Field::Other)?,
            2 => {
                let length = usize::try_from(read(&mut bytes)?).ok()?;
                Field::Bytes(take(&mut bytes, length)?)
            }
            5 => take(&mut bytes, 4).map(|_| Field::Other)?,
            _ => return None,
        };
        Some((key >> 3, field))
    })
}

fn read(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_says_what_was_refused() {
        // partial_success { rejected_log_records: 300, error_message: "no" }
        assert_eq!(refused(&[0x0a, 7, 0x08, 0xac, 0x02, 0x12, 2, b'n', b'o']), Some((300, "no".to_owned())));
        assert_eq!(refused(&[]), None);
        assert_eq!(refused(&[0x0a, 0]), Some((0, String::new())));
    }

    proptest! {
        #[test]
        fn any_answer_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = refused(&bytes);
        }
    }
}
