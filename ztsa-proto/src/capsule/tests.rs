use super::*;
use proptest::prelude::*;

fn data(bytes: &[u8], last: bool) -> Vec<u8> {
    [&data_header(bytes.len(), last)[..], bytes].concat()
}

fn unknown(kind: u64, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, kind);
    put_varint(&mut out, bytes.len() as u64);
    out.extend_from_slice(bytes);
    out
}

/// Decodes `stream` fed in pieces of the given sizes (cycled), joining data.
fn decode(stream: &[u8], pieces: &[usize]) -> Result<(Vec<u8>, Vec<Notice>, bool), CapsuleError> {
    let mut decoder = Decoder::new();
    let (mut bytes, mut notices, mut fin) = (Vec::new(), Vec::new(), false);
    let mut rest = stream;
    let mut sizes = pieces.iter().cycle();
    while !rest.is_empty() {
        let size = (*sizes.next().unwrap()).clamp(1, rest.len());
        let mut input = Bytes::copy_from_slice(&rest[..size]);
        rest = &rest[size..];
        while let Some(capsule) = decoder.decode(&mut input)? {
            match capsule {
                Capsule::Data(piece) => bytes.extend_from_slice(&piece),
                Capsule::Fin => fin = true,
                Capsule::Notice(notice) => notices.push(notice),
            }
        }
        assert!(input.is_empty(), "the decoder uses up what it is given");
    }
    assert_eq!(decoder.end().is_ok(), fin);
    Ok((bytes, notices, fin))
}

#[test]
fn the_data_header_is_two_four_byte_varints() {
    assert_eq!(data_header(5, false), [0xa0, 0x28, 0xd7, 0xf2, 0x80, 0, 0, 5]);
    assert_eq!(data_header(0, true), [0xa0, 0x28, 0xd7, 0xf3, 0x80, 0, 0, 0]);
}

#[test]
fn a_stream_without_final_data_is_truncated() {
    assert_eq!(Decoder::new().end(), Err(CapsuleError::Truncated));
    let (bytes, _, fin) = decode(&data(b"hello", false), &[1]).unwrap();
    assert_eq!((&bytes[..], fin), (&b"hello"[..], false));
}

#[test]
fn data_after_final_data_is_refused() {
    let stream = [data(b"a", true), data(b"b", false)].concat();
    assert_eq!(decode(&stream, &[64]), Err(CapsuleError::AfterFinal));
}

#[test]
fn an_oversized_notice_is_refused_before_it_is_gathered() {
    let mut stream = Vec::new();
    put_varint(&mut stream, END);
    put_varint(&mut stream, NOTICE_MAX + 1);
    assert_eq!(decode(&stream, &[64]), Err(CapsuleError::Oversized(NOTICE_MAX + 1)));
}

#[test]
fn a_notice_that_is_no_problem_document_is_refused() {
    assert_eq!(decode(&unknown(SUSPEND, b"not json"), &[64]), Err(CapsuleError::Malformed));
}

#[test]
fn a_notice_comes_back_as_it_was() {
    let problem = Box::new(crate::problem::new("risk.user"));
    for notice in [Notice::Suspend(problem.clone()), Notice::Resume, Notice::End(problem)] {
        let (_, notices, _) = decode(&encode_notice(&notice), &[3]).unwrap();
        assert_eq!(notices, [notice]);
    }
}

#[test]
fn varints_read_as_rfc_9000_writes_them() {
    // RFC 9000 appendix A.1
    for (bytes, value) in [
        (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..], 151_288_809_941_952_652),
        (&[0x9d, 0x7f, 0x3e, 0x7d][..], 494_878_333),
        (&[0x7b, 0xbd][..], 15_293),
        (&[0x25][..], 37),
        (&[0x40, 0x25][..], 37),
    ] {
        assert_eq!(take_varint(&mut &bytes[..]), Some(value));
        assert_eq!(take_varint(&mut &bytes[..bytes.len() - 1]), None);
    }
}

proptest! {
    #[test]
    fn bytes_arrive_whole_whatever_the_pieces(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..8),
        noise in proptest::collection::vec((0u64..1 << 40, proptest::collection::vec(any::<u8>(), 0..40)), 0..4),
        pieces in proptest::collection::vec(1usize..200, 1..6),
        fin in any::<bool>(),
    ) {
        let mut stream = Vec::new();
        let mut noise = noise.into_iter().filter(|(kind, _)| ![DATA, FINAL_DATA, SUSPEND, RESUME, END].contains(kind));
        for chunk in &chunks {
            stream.extend(data(chunk, false));
            if let Some((kind, payload)) = noise.next() {
                stream.extend(unknown(kind, &payload));
            }
        }
        if fin {
            stream.extend(data(b"", true));
        }
        let (bytes, notices, ended) = decode(&stream, &pieces).unwrap();
        prop_assert_eq!(bytes, chunks.concat());
        prop_assert!(notices.is_empty());
        prop_assert_eq!(ended, fin);
    }

    #[test]
    fn any_bytes_are_refused_or_used_up(stream in proptest::collection::vec(any::<u8>(), 0..600), pieces in proptest::collection::vec(1usize..50, 1..5)) {
        let _ = decode(&stream, &pieces);
    }

    #[test]
    fn a_varint_survives_the_round_trip(value in 0u64..1 << 62) {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        prop_assert_eq!(take_varint(&mut &out[..]), Some(value));
    }
}
