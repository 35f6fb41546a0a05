//! Text from outside, made fit for a terminal and a log.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Keeps what is fit to print of a text that someone else wrote, at most `limit` characters of it.
///
/// Terminal escape sequences are taken out whole; control characters, bidirectional overrides and invisible
/// formatting characters are dropped; line breaks and tabs become one space. Text that was cut ends with an ellipsis.
///
/// # Security
/// What comes out cannot move the cursor, recolour, retitle or write to the clipboard of a terminal, forge a second
/// line of a log, or show itself in another order than it is stored in.
#[must_use]
pub fn printable(text: &str, limit: usize) -> String {
    let mut kept = String::new();
    let mut length = 0;
    let mut space_wanted = false;
    let mut characters = text.chars();
    while length <= limit
        && let Some(character) = characters.next()
    {
        match character {
            '\u{1b}' => skip_escape(&mut characters),
            '\u{9b}' => skip_control_sequence(&mut characters),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_string(&mut characters),
            character if character.is_whitespace() => space_wanted = !kept.is_empty(),
            character if is_invisible(character) => {}
            character => {
                if std::mem::take(&mut space_wanted) {
                    kept.push(' ');
                    length += 1;
                }
                kept.push(character);
                length += 1;
            }
        }
    }
    if length > limit { cut(&kept, limit) } else { kept }
}

/// Cuts a text to `limit` characters, the last of them an ellipsis.
fn cut(text: &str, limit: usize) -> String {
    let Some(room) = limit.checked_sub(1) else { return String::new() };
    let mut kept: String = text.chars().take(room).collect();
    kept.truncate(kept.trim_end().len());
    kept.push('…');
    kept
}

/// Reads a text member through [`printable`], for `#[serde(deserialize_with)]`.
pub(crate) fn clean<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer).map(|text| printable(&text, LIMIT))
}

/// Reads an optional text member through [`printable`], for `#[serde(deserialize_with)]`.
pub(crate) fn clean_option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(deserializer).map(|text| text.map(|text| printable(&text, LIMIT)))
}

/// Reads a list of text members through [`printable`], for `#[serde(deserialize_with)]`.
pub(crate) fn clean_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Vec::<String>::deserialize(deserializer).map(|list| list.iter().map(|text| printable(text, LIMIT)).collect())
}

/// Reads an optional JSON value, each text in it through [`printable`] but not cut, for `#[serde(deserialize_with)]`.
pub(crate) fn clean_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Option::<Value>::deserialize(deserializer).map(|value| value.map(cleaned))
}

fn cleaned(value: Value) -> Value {
    let text = |text: &str| printable(text, usize::MAX - 1);
    match value {
        Value::String(string) => Value::String(text(&string)),
        Value::Array(items) => items.into_iter().map(cleaned).collect(),
        Value::Object(members) => members.into_iter().map(|(name, value)| (text(&name), cleaned(value))).collect(),
        value => value,
    }
}

/// Skips what follows ESC: a control sequence, a string (title, clipboard), or one final character (ECMA-48).
fn skip_escape(characters: &mut std::str::Chars<'_>) {
    match characters.next() {
        Some('[') => skip_control_sequence(characters),
        Some(']' | 'P' | 'X' | '^' | '_') => skip_string(characters),
        Some(' '..='/') => {
            // an intermediate byte announces more of them, then one final character
            for character in characters.by_ref() {
                if !(' '..='/').contains(&character) {
                    break;
                }
            }
        }
        _ => {}
    }
}

/// Skips to the final character of a control sequence.
fn skip_control_sequence(characters: &mut std::str::Chars<'_>) {
    for character in characters.by_ref() {
        if !(' '..='?').contains(&character) {
            break;
        }
    }
}

/// Skips to the BEL or the string terminator that ends an operating system command or a device string.
fn skip_string(characters: &mut std::str::Chars<'_>) {
    while let Some(character) = characters.next() {
        match character {
            '\u{7}' | '\u{9c}' => break,
            '\u{1b}' => {
                characters.next();
                break;
            }
            _ => {}
        }
    }
}

/// Whether a character leaves no mark of its own: controls, bidirectional and other formatting, private use, tags.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e000}'..='\u{f8ff}'
            | '\u{e0000}'..='\u{10ffff}')
}

const LIMIT: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keeps_words_and_drops_tricks() {
        for (text, kept) in [
            ("plain", "plain"),
            ("  two\n\tlines  ", "two lines"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{9b}31mred", "red"),
            ("\u{1b}]0;title\u{7}after", "after"),
            ("\u{1b}]52;c;cm0gLXJm\u{1b}\\after", "after"),
            ("\u{9d}0;title\u{9c}after", "after"),
            ("\u{1b}(Bword", "word"),
            ("\u{1b}cword", "word"),
            ("end\u{1b}", "end"),
            ("a\u{202e}b\u{2066}c\u{200b}d", "abcd"),
            ("bell\u{7}\u{0}\u{7f}\u{85}", "bell"),
            ("Zürich 東京 🙂", "Zürich 東京 🙂"),
        ] {
            assert_eq!(printable(text, 100), kept, "{text:?}");
        }
    }

    #[test]
    fn cuts_with_an_ellipsis() {
        assert_eq!(printable("abcdef", 6), "abcdef");
        assert_eq!(printable("abcdefg", 6), "abcde…");
        assert_eq!(printable("abcdef   ", 6), "abcdef");
        assert_eq!(printable("abc", 0), "");
    }

    proptest! {
        #[test]
        fn never_longer_and_never_a_control(text in any::<String>(), limit in 1usize..64) {
            let kept = printable(&text, limit);
            prop_assert!(kept.chars().count() <= limit);
            prop_assert!(!kept.chars().any(|character| character.is_control() || is_invisible(character)));
            prop_assert_eq!(printable(&kept, limit), kept);
        }
    }
}
