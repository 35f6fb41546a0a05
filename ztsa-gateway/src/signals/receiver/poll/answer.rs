//! What an answer to a poll brings (RFC 8936 section 2.3), as far as it reads: one bad part holds up none of the others.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What was brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Brought {
    /// The identifiers and their tokens; `None` where there is no string in a token's place.
    pub(super) sets: Vec<(String, Option<String>)>,
    /// The identifier of the token in which reading ended.
    pub(super) broken: Option<String>,
}

impl Brought {
    /// Reads an answer up to where it ends or is not what the standard asks for, and says which of both ended it early.
    pub(super) fn read(answer: &[u8]) -> (Brought, End) {
        let mut brought = Brought::default();
        let mut reader = serde_json::Deserializer::from_slice(answer);
        let read = reader.deserialize_map(Answer(&mut brought)).and_then(|()| reader.end());
        let end = match read {
            Ok(()) => End::Whole,
            Err(error) if error.is_eof() => End::Short,
            Err(_) => End::Wrong,
        };
        (brought, end)
    }
}

/// Says how reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// All of it was read.
    Whole,
    /// There should be more.
    Short,
    /// Something in it is not what the standard asks for.
    Wrong,
}

/// Reads the outer object.
struct Answer<'a>(&'a mut Brought);

impl<'de> Visitor<'de> for Answer<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<(), M::Error> {
        while let Some(name) = members.next_key::<String>()? {
            if name == "sets" {
                members.next_value_seed(Sets(self.0))?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Reads the object of tokens by identifier.
struct Sets<'a>(&'a mut Brought);

impl<'de> DeserializeSeed<'de> for Sets<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Sets<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of tokens by identifier")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<(), M::Error> {
        while let Some(jti) = members.next_key::<String>()? {
            self.0.broken = Some(jti.clone());
            let token = members.next_value_seed(Token)?;
            self.0.broken = None;
            self.0.sets.push((jti, token));
        }
        Ok(())
    }
}

/// Reads one token, and passes over whatever else is in its place without keeping it.
struct Token;

impl<'de> DeserializeSeed<'de> for Token {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Token {
    type Value = Option<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a token")
    }

    fn visit_str<E>(self, token: &str) -> Result<Self::Value, E> {
        Ok(Some(token.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<Self::Value, S::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<Self::Value, M::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brought(sets: &[(&str, Option<&str>)], broken: Option<&str>) -> Brought {
        let sets = sets.iter().map(|(jti, token)| ((*jti).to_owned(), token.map(str::to_owned)));
        Brought { sets: sets.collect(), broken: broken.map(str::to_owned) }
    }

    #[test]
    fn what_is_no_token_is_passed_over_and_the_others_are_read() {
        for odd in ["null", "true", "-1", "7", "0.5", "[[1], {}]", r#"{"a": {"b": []}}"#] {
            let answer = format!(r#"{{"moreAvailable": true, "sets": {{"a": "x", "odd": {odd}, "b": "y"}}}}"#);
            let found = brought(&[("a", Some("x")), ("odd", None), ("b", Some("y"))], None);
            assert_eq!(Brought::read(answer.as_bytes()), (found, End::Whole), "{odd}");
        }
        // far deeper than a reader that recurses could go
        let deep = format!(r#"{{"sets": {{"deep": {}{}, "b": "y"}}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        let found = brought(&[("deep", None), ("b", Some("y"))], None);
        assert_eq!(Brought::read(deep.as_bytes()), (found, End::Whole));
    }

    #[test]
    fn an_answer_that_is_cut_anywhere_brings_the_tokens_before_the_cut() {
        let answer = br#"{"sets": {"one": "aa", "two": "bb"}, "moreAvailable": false}"#;
        let all = brought(&[("one", Some("aa")), ("two", Some("bb"))], None);
        for cut in 0..answer.len() {
            let (Brought { sets, broken }, end) = Brought::read(&answer[..cut]);
            assert!(end == End::Short && all.sets.starts_with(&sets), "{cut}: {sets:?}");
            let next = all.sets.get(sets.len()).map(|(jti, _)| jti.clone());
            assert!(broken.is_none() || broken == next, "{cut}: {broken:?}");
        }
        assert_eq!(Brought::read(answer), (all, End::Whole));
        assert_eq!(Brought::read(&answer[..30]), (brought(&[("one", Some("aa"))], Some("two")), End::Short));
    }

    #[test]
    fn what_is_no_answer_brings_what_stands_before_the_mistake() {
        for answer in ["[]", "null", r#"{"sets": ["a"]}"#, "<html>", r#"{"sets": "a"}"#, "{} {}"] {
            assert_eq!(Brought::read(answer.as_bytes()), (brought(&[], None), End::Wrong), "{answer}");
        }
        assert_eq!(Brought::read(b"{}"), (brought(&[], None), End::Whole));
        let wrong = br#"{"sets": {"one": "aa", "two": 1e999, "three": "cc"}}"#;
        assert_eq!(Brought::read(wrong), (brought(&[("one", Some("aa"))], Some("two")), End::Wrong));
    }
}
