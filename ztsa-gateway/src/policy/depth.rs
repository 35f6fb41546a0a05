//! How deep a policy nests, told before Cedar reads it.
//!
//! Cedar's parser goes down by recursion and has no bound of its own: a thousand brackets in a file would end the process by
//! the overflow of its stack, and every tunnel with it.

/// The most brackets that may be open at once.
pub(super) const BRACKETS: usize = 32;
/// The most steps from one thing to a part of it, as `a.b.c` has two.
pub(super) const STEPS: usize = 32;
/// The most operators, conditions and branches in one policy.
pub(super) const OPERATORS: usize = 500;

/// Names what goes too deep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    Brackets,
    Steps,
    Operators,
}

impl std::fmt::Display for Excess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Brackets => write!(f, "more than {BRACKETS} brackets are open at once"),
            Self::Steps => write!(f, "more than {STEPS} steps in a row (a.b.c)"),
            Self::Operators => write!(f, "more than {OPERATORS} operators and conditions in one policy"),
        }
    }
}

/// Finds the first place where a policy of `text` goes too deep: outside strings and comments, whether or not the rest of it
/// can be read.
pub(super) fn excess(text: &str) -> Option<(usize, Excess)> {
    let (mut brackets, mut steps, mut operators) = (0, 0, 0);
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        let next = bytes.peek().map(|(_, next)| *next);
        match byte {
            b'/' if next == Some(b'/') => drop(bytes.by_ref().find(|(_, byte)| *byte == b'\n')),
            b'"' => {
                while let Some((_, byte)) = bytes.next() {
                    match byte {
                        b'\\' => drop(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            b';' => (brackets, steps, operators) = (0, 0, 0),
            b'(' => brackets += 1,
            // an index is a step
            b'[' => (brackets, steps) = (brackets + 1, steps + 1),
            // each condition has its braces
            b'{' => (brackets, steps, operators) = (brackets + 1, 0, operators + 2),
            b')' | b']' | b'}' => brackets = usize::saturating_sub(brackets, 1),
            b'.' => steps += 1,
            b'&' | b'|' | b'+' | b'-' | b'*' => (steps, operators) = (0, operators + 1),
            b'!' | b'<' | b'>' | b'=' | b',' => steps = 0,
            // nests without a bracket
            b'e' if text.get(at..).is_some_and(|rest| rest.starts_with("else")) => {
                (steps, operators) = (0, operators + BRANCH);
            }
            _ => {}
        }
        let excess = match () {
            () if brackets > BRACKETS => Excess::Brackets,
            () if steps > STEPS => Excess::Steps,
            // `&&` has two signs
            () if operators > 2 * OPERATORS => Excess::Operators,
            () => continue,
        };
        return Some((at, excess));
    }
    None
}

/// A branch goes as deep as a bracket does: it counts for more than an operator.
const BRANCH: usize = 2 * OPERATORS / BRACKETS;

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(condition: &str) -> String {
        format!("permit (principal, action, resource) when {{ {condition} }};\n")
    }

    #[test]
    fn what_goes_too_deep_is_found_wherever_it_stands() {
        for (text, found) in [
            (policy(&"(".repeat(4_000_000)), Some(Excess::Brackets)),
            (policy(&"[".repeat(33)), Some(Excess::Brackets)),
            (policy(&format!("context{}", ".a".repeat(33))), Some(Excess::Steps)),
            (policy(&format!("context{}", "[\"a\"]".repeat(33))), Some(Excess::Steps)),
            (policy(&vec!["a"; 600].join(" || ")), Some(Excess::Operators)),
            (policy(&"if a then b else ".repeat(40)), Some(Excess::Operators)),
            (
                format!("permit (principal, action, resource) {};", "when { true } ".repeat(1_100)),
                Some(Excess::Operators),
            ),
            (policy(&"(".repeat(20)), None),
            (policy(&vec!["context.device.posture.disk_root.state == \"pass\""; 200].join(" && ")), None),
            (policy("true").repeat(20_000), None),
            (format!("// {}\n", "(".repeat(100)), None),
            (policy(&format!("principal.email == \"\\\"{}\"", "(".repeat(100))), None),
        ] {
            let shown: String = text.chars().take(80).collect();
            assert_eq!(excess(&text).map(|(_, excess)| excess), found, "{shown}");
        }
        assert_eq!(excess(&"(".repeat(40)), Some((32, Excess::Brackets)));
    }
}
