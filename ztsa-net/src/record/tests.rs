use super::*;
use proptest::prelude::*;
use rustls::crypto::cipher::{AeadKey, Iv};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// AES-128 keys are the first half of 32 bytes: rustls gives no other way to make a key.
fn secrets(cipher: usize) -> ConnectionTrafficSecrets {
    let (key, iv) = (AeadKey::from([7; 32]), Iv::from([9; 12]));
    match cipher {
        0 => ConnectionTrafficSecrets::Aes256Gcm { key, iv },
        _ => ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv },
    }
}

fn key(key: &str, iv: &str) -> Key {
    let key = UnboundKey::new(&AES_128_GCM, &bytes(key)).unwrap();
    Key { cipher: LessSafeKey::new(key), iv: bytes(iv).try_into().unwrap(), sequence: 0 }
}

/// RFC 8448 section 3: the client's first record of data.
#[test]
fn a_record_is_sealed_as_in_the_trace_of_rfc_8448() {
    let make = || key("17422dda596ed5d9acd890e3c63f5051", "5b78923dee08579033e523d9");
    let content: Vec<u8> = (0..50).collect();
    let expected = bytes(
        "17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f 2b 98 19 a8
         a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 49 15 e4",
    );
    let mut record = vec![0; content.len() + OVERHEAD];
    assert_eq!(Sealer(make()).seal(DATA, &content, &mut record).unwrap(), expected.len());
    assert_eq!(record, expected);
    assert_eq!(length(&record), Ok(Some(expected.len())));
    let (kind, range) = Opener(make()).open(&mut record).unwrap();
    assert_eq!((kind, &record[range]), (DATA, &content[..]));
}

#[test]
fn padding_is_taken_off_and_a_record_of_nothing_else_is_refused() {
    let (mut sealer, mut opener) = (Sealer::new(&secrets(0), 0).unwrap(), Opener::new(&secrets(0), 0).unwrap());
    let mut open = |inner: &[u8]| {
        // the zero that is sealed as the type is the last byte of the padding
        let mut record = vec![0; inner.len() + OVERHEAD];
        sealer.seal(0, inner, &mut record).unwrap();
        opener.open(&mut record).map(|(kind, range)| (kind, record[range].to_vec()))
    };
    assert_eq!(open(b"hello\x17\0\0\0"), Ok((DATA, b"hello".to_vec())));
    assert_eq!(open(b"\x00\x15"), Ok((ALERT, vec![0])));
    assert_eq!(open(b"\x16"), Ok((HANDSHAKE, Vec::new())));
    assert_eq!(open(&[0; 40]), Err(RecordError::Unexpected("record without a type")));
    // with its padding, a record is as long as the longest without
    let mut full = vec![1; PLAINTEXT_MAX - 1];
    full.push(DATA);
    assert_eq!(open(&full).map(|(_, content)| content.len()), Ok(PLAINTEXT_MAX - 1));
    full.push(0);
    assert_eq!(open(&full), Err(RecordError::Overflow));
    full.push(DATA);
    assert_eq!(open(&full), Err(RecordError::Overflow));
}

#[test]
fn a_header_is_judged_before_its_record_has_come() {
    for (header, judged) in [
        (&[][..], Ok(None)),
        (&[23, 3, 3, 0], Ok(None)),
        (&[23, 3, 3, 0, 17], Ok(Some(22))),
        (&[23, 3, 3, 0, 16], Err(RecordError::Forged)),
        (&[23, 3, 3, 0x41, 0], Ok(Some(RECORD_MAX))),
        (&[23, 3, 3, 0x41, 1], Err(RecordError::Overflow)),
        (&[20, 3, 3, 0, 1], Err(RecordError::Unexpected("record that is not protected"))),
        (&[21, 3, 3, 0, 2], Err(RecordError::Unexpected("record that is not protected"))),
    ] {
        assert_eq!(length(header), judged, "{header:?}");
    }
}

#[test]
fn every_error_of_ours_has_its_alert_and_the_peer_s_has_none() {
    for (error, alert) in [
        (RecordError::Forged, Some(20)),
        (RecordError::Overflow, Some(22)),
        (RecordError::Unexpected("x"), Some(10)),
        (RecordError::TooMany("x"), Some(10)),
        (RecordError::Malformed("x"), Some(50)),
        (RecordError::Illegal("x"), Some(47)),
        (RecordError::Keys("x".into()), Some(80)),
        (RecordError::Alert(40), None),
    ] {
        assert_eq!(error.alert(), alert, "{error}");
    }
}

proptest! {
    #[test]
    fn what_is_sealed_is_opened(
        cipher in 0..2_usize, first in any::<u32>(), kind in 1..=255_u8,
        contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..600), 1..6),
    ) {
        let mut sealer = Sealer::new(&secrets(cipher), first.into()).unwrap();
        let mut opener = Opener::new(&secrets(cipher), first.into()).unwrap();
        for content in &contents {
            let mut record = vec![0; content.len() + OVERHEAD];
            let sealed = sealer.seal(kind, content, &mut record).unwrap();
            prop_assert_eq!(length(&record), Ok(Some(sealed)));
            let (as_kind, range) = opener.open(&mut record).unwrap();
            prop_assert_eq!((as_kind, &record[range]), (kind, &content[..]));
        }
        prop_assert_eq!(sealer.sealed(), u64::from(first) + contents.len() as u64);
    }

    #[test]
    fn a_record_that_was_touched_moved_or_cut_is_refused(
        content in proptest::collection::vec(any::<u8>(), 0..200), at in any::<proptest::sample::Index>(),
        flip in 1..=255_u8, number in 0..3_u64,
    ) {
        let mut record = vec![0; content.len() + OVERHEAD];
        Sealer::new(&secrets(0), 1).unwrap().seal(DATA, &content, &mut record).unwrap();
        let opens = |record: &[u8], number| Opener::new(&secrets(0), number).unwrap().open(&mut record.to_vec()).is_ok();
        prop_assert_eq!(opens(&record, number), number == 1);
        prop_assert!(!opens(&record[..record.len() - 1], 1));
        let place = at.index(record.len());
        record[place] ^= flip;
        prop_assert!(!opens(&record, 1));
    }

    #[test]
    fn messages_come_through_whatever_their_pieces(
        bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..5),
        cut in 1..80_usize,
    ) {
        let mut stream = Vec::new();
        for body in &bodies {
            stream.extend_from_slice(&[4, 0, 0, 0]);
            let end = stream.len();
            stream[end - 2..].copy_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
            stream.extend_from_slice(body);
        }
        let (mut messages, mut got) = (Messages::default(), Vec::new());
        for piece in stream.chunks(cut) {
            messages.add(piece).unwrap();
            while let Some(message) = messages.next().unwrap() {
                got.push(message);
            }
        }
        prop_assert_eq!(got, bodies.into_iter().map(Message::Ticket).collect::<Vec<_>>());
        prop_assert_eq!(messages.interrupted(), Ok(()));
    }
}

#[test]
fn messages_that_have_no_place_are_refused() {
    let next = |content: &[u8]| {
        let mut messages = Messages::default();
        messages.add(content).and_then(|()| messages.next())
    };
    assert_eq!(next(&[24, 0, 0, 1, 0]), Ok(Some(Message::KeyUpdate { answer: false })));
    assert_eq!(next(&[24, 0, 0, 1, 1]), Ok(Some(Message::KeyUpdate { answer: true })));
    assert_eq!(next(&[24, 0, 0, 1, 2]), Err(RecordError::Illegal("KeyUpdate")));
    assert_eq!(next(&[24, 0, 0, 2, 0, 0]), Err(RecordError::Malformed("KeyUpdate")));
    assert_eq!(next(&[24, 0, 0]), Ok(None));
    assert!(matches!(next(&[24, 0, 0, 1, 0, 4]), Err(RecordError::Unexpected(_))));
    assert!(matches!(next(&[1, 0, 0, 0]), Err(RecordError::Unexpected(_))));
    assert!(matches!(next(&[13, 0, 0, 9]), Err(RecordError::Unexpected(_))));
    assert!(matches!(next(&[4, 1, 0, 0]), Err(RecordError::Malformed(_))));
    assert!(matches!(next(&[]), Err(RecordError::Unexpected(_))));
    let mut messages = Messages::default();
    messages.add(&[4, 0]).unwrap();
    assert!(messages.interrupted().is_err());
}

#[test]
fn key_updates_are_bounded_until_data_comes() {
    let mut messages = Messages::default();
    let mut update = |times: usize, data: bool| {
        if data {
            messages.data();
        }
        (0..times).try_for_each(|_| messages.add(&KEY_UPDATE).and_then(|()| messages.next()).map(drop))
    };
    assert_eq!(update(32, false), Ok(()));
    assert_eq!(update(32, true), Ok(()));
    assert_eq!(update(1, false), Err(RecordError::TooMany("KeyUpdates")));
}
