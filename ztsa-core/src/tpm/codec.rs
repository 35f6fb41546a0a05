//! The commands that are sent and the answers that are read (TPM 2.0 Library, Part 2 structures, Part 3 commands). Every
//! length is bounded by what the transport reads; no bytes of an answer can do more than be refused.

use zeroize::Zeroizing;

use super::{Label, Point};

/// The largest answer that is read, in bytes.
pub(super) const LARGEST: usize = 4096;
/// Tag, length and code of a command or an answer.
pub(super) const HEAD: usize = 10;

const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
const CREATE_PRIMARY: u32 = 0x0131;
const SIGN: u32 = 0x015d;
const HMAC: u32 = 0x0155;
const FLUSH_CONTEXT: u32 = 0x0165;
const OWNER: u32 = 0x4000_0001;
const SHA256: [u8; 2] = [0x00, 0x0b];
const NULL: [u8; 2] = [0x00, 0x10];
/// Authorization by the empty password: TPM_RS_PW, no nonce, no attributes, no password; with the size before.
const EMPTY_PASSWORD: [u8; 13] = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];
/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, sign: the key was made in this TPM and cannot leave it.
const ATTRIBUTES: [u8; 4] = [0x00, 0x04, 0x04, 0x72];
/// A ticket that says nothing: the key may sign what was hashed elsewhere.
const NO_TICKET: [u8; 8] = [0x80, 0x24, 0x40, 0, 0, 7, 0, 0];

/// `TPM2_CreatePrimary` of a P-256 key that signs by ECDSA with SHA-256.
pub(super) fn create_signing(label: &Label) -> Vec<u8> {
    let scheme = [&NULL[..], &[0x00, 0x18], &SHA256, &[0x00, 0x03], &NULL].concat();
    let unique = [sized(label), sized(&[0; 32])].concat();
    create_primary(0x0023, &scheme, &unique)
}

/// `TPM2_CreatePrimary` of a key for HMAC with SHA-256.
pub(super) fn create_hmac(label: &Label) -> Vec<u8> {
    let scheme = [&[0x00, 0x05][..], &SHA256].concat();
    create_primary(0x0008, &scheme, &sized(label))
}

/// `TPM2_Sign` of a digest, by the key's own scheme.
pub(super) fn sign(handle: u32, digest: &[u8; 32]) -> Vec<u8> {
    let body = [&handle.to_be_bytes()[..], &EMPTY_PASSWORD, &sized(digest), &NULL, &NO_TICKET].concat();
    command(SESSIONS, SIGN, &body)
}

/// `TPM2_HMAC` of 32 bytes.
pub(super) fn hmac(handle: u32, input: &[u8; 32]) -> Vec<u8> {
    let body = [&handle.to_be_bytes()[..], &EMPTY_PASSWORD, &sized(input), &SHA256].concat();
    command(SESSIONS, HMAC, &body)
}

/// `TPM2_FlushContext`: frees the key's place.
pub(super) fn flush(handle: u32) -> Vec<u8> {
    command(NO_SESSIONS, FLUSH_CONTEXT, &handle.to_be_bytes())
}

fn create_primary(kind: u16, scheme: &[u8], unique: &[u8]) -> Vec<u8> {
    let public = [&kind.to_be_bytes()[..], &SHA256, &ATTRIBUTES, &sized(&[]), scheme, unique].concat();
    let sensitive = [sized(&[]), sized(&[])].concat();
    // no outsideInfo, no PCRs in the creation data
    let body =
        [&OWNER.to_be_bytes()[..], &EMPTY_PASSWORD, &sized(&sensitive), &sized(&public), &[0; 2], &[0; 4]].concat();
    command(SESSIONS, CREATE_PRIMARY, &body)
}

fn command(tag: u16, code: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEAD + body.len()).unwrap_or(u32::MAX);
    [&tag.to_be_bytes()[..], &length.to_be_bytes(), &code.to_be_bytes(), body].concat()
}

/// A TPM2B structure: what is given here is never longer than a few hundred bytes.
fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes()[..], bytes].concat()
}

/// Takes an answer apart: its code, and what follows.
pub(super) fn answer(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut reader = Reader::new(bytes);
    let _tag = reader.u16()?;
    let length = usize::try_from(reader.u32()?).ok()?;
    let code = reader.u32()?;
    (length == bytes.len()).then_some((code, reader.0))
}

/// Reads the answer of [`create_signing`]: the key's handle and its public point.
pub(super) fn created(answer: &[u8]) -> Option<(u32, Point)> {
    let mut reader = Reader::new(answer);
    let handle = reader.u32()?;
    let _parameters = reader.u32()?;
    let mut public = Reader::new(reader.sized()?);
    let kind = public.u16()?;
    let _name_and_attributes = public.take(6)?;
    let _policy = public.sized()?;
    // symmetric, scheme with its hash, curve, derivation
    let _scheme = public.take(10)?;
    let point = pair(public.sized()?, public.sized()?)?;
    (kind == 0x0023).then_some((handle, point))
}

/// Reads the answer of [`sign`]: r and s.
pub(super) fn signature(answer: &[u8]) -> Option<[u8; 64]> {
    let mut reader = Reader::new(answer);
    let _parameters = reader.u32()?;
    let (scheme, hash) = (reader.u16()?, reader.u16()?);
    let signature = pair(reader.sized()?, reader.sized()?)?;
    ((scheme, hash) == (0x0018, 0x000b)).then_some(signature)
}

/// Reads the answer of [`hmac`].
pub(super) fn digest(answer: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let mut reader = Reader::new(answer);
    let _parameters = reader.u32()?;
    Some(Zeroizing::new(reader.sized()?.try_into().ok()?))
}

/// Whether the command is to be sent again: TPM_RC_RETRY, TPM_RC_YIELDED, TPM_RC_TESTING, and the warnings that say that
/// others' keys fill the memory.
pub(super) fn is_busy(code: u32) -> bool {
    matches!(code, 0x0922 | 0x0908 | 0x090a | 0x0902 | 0x0903 | 0x0904)
}

/// Two numbers of at most 32 bytes, leading zeros restored.
fn pair(first: &[u8], second: &[u8]) -> Option<[u8; 64]> {
    let mut both = [0; 64];
    let (left, right) = both.split_at_mut(32);
    for (place, number) in [(left, first), (right, second)] {
        let start = place.len().checked_sub(number.len())?;
        place.get_mut(start..)?.copy_from_slice(number);
    }
    Some(both)
}

/// Reads from the front, and never beyond the end.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    fn sized(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.u16()?);
        self.take(length)
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(bytes: &[u8]) -> bool {
        let bodies = [bytes, bytes.get(HEAD..).unwrap_or_default()];
        answer(bytes).is_some()
            || bodies.iter().any(|body| created(body).is_some() || signature(body).is_some() || digest(body).is_some())
    }

    proptest! {
        #[test]
        fn no_answer_does_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parsed(&bytes);
        }

        #[test]
        fn a_command_says_its_own_length(label in any::<Label>(), handle in any::<u32>()) {
            let digest = label;
            for command in
                [create_signing(&label), create_hmac(&label), sign(handle, &digest), hmac(handle, &digest), flush(handle)]
            {
                // a command has the outline of an answer: tag, length, code
                let (_, rest) = answer(&command).unwrap();
                prop_assert_eq!(rest.len(), command.len() - HEAD);
                prop_assert!(command.len() < LARGEST);
            }
        }

        #[test]
        fn a_signature_is_read_whatever_its_leading_zeros(r in any::<[u8; 32]>(), s in any::<[u8; 32]>()) {
            let short = |number: &[u8; 32]| {
                let zeros = number.iter().take_while(|byte| **byte == 0).count();
                sized(&number[zeros..])
            };
            let body = [&[0, 0, 0, 0][..], &[0, 0x18, 0, 0x0b], &short(&r), &short(&s)].concat();
            prop_assert_eq!(signature(&body), Some([r, s].concat().try_into().unwrap()));
            for cut in 0..body.len() {
                prop_assert_eq!(signature(&body[..cut]), None);
            }
        }
    }

    #[test]
    fn a_number_that_is_too_long_is_refused() {
        let body = [&[0, 0, 0, 0][..], &[0, 0x18, 0, 0x0b], &sized(&[1; 33]), &sized(&[1; 32])].concat();
        assert_eq!(signature(&body), None);
    }

    #[test]
    fn an_answer_of_another_length_than_it_says_is_refused() {
        assert!(answer(&[0x80, 1, 0, 0, 0, 11, 0, 0, 0, 0]).is_none());
        assert!(answer(&[0x80, 1, 0, 0, 0, 10, 0, 0, 0, 0]).is_some());
    }
}
