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
    let mut open = Open::default();
    let mut operators = 0;
    let mut bytes = text.bytes().enumerate().peekable();
    // whether the byte before this one belongs to a word
    let mut word = false;
    while let Some((at, byte)) = bytes.next() {
        let next = bytes.peek().map(|(_, next)| *next);
        match byte {
            // Cedar ends a comment at either
            b'/' if next == Some(b'/') => drop(bytes.by_ref().find(|(_, byte)| matches!(byte, b'\n' | b'\r'))),
            b'"' => {
                while let Some((_, byte)) = bytes.next() {
                    match byte {
                        b'\\' => drop(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            b';' => (open, operators) = (Open::default(), 0),
            b'(' => open.bracket(),
            // an index is a step
            b'[' => {
                open.steps += 1;
                open.bracket();
            }
            // each condition has its braces
            b'{' => {
                open.bracket();
                operators += 2;
            }
            b')' | b']' | b'}' => open.close(),
            b'.' => open.steps += 1,
            b'&' | b'|' | b'+' | b'-' | b'*' => {
                (open.steps, operators) = (0, operators + 1);
            }
            b'!' | b'<' | b'>' | b'=' | b',' => open.steps = 0,
            // nests without a bracket
            b'e' if !word && text.get(at..).is_some_and(|rest| rest.starts_with("else")) => {
                (open.steps, operators) = (0, operators + BRANCH);
            }
            _ => {}
        }
        word = byte.is_ascii_alphanumeric() || byte == b'_';
        let excess = match () {
            () if open.around.len() > BRACKETS => Excess::Brackets,
            () if open.steps > STEPS => Excess::Steps,
            // `&&` has two signs
            () if operators > 2 * OPERATORS => Excess::Operators,
            () => continue,
        };
        return Some((at, excess));
    }
    None
}

/// The steps taken within the innermost bracket, and in each around it: `a.b(c.d).e` goes on after its bracket where it was.
#[derive(Default)]
struct Open {
    steps: usize,
    around: Vec<usize>,
}

impl Open {
    fn bracket(&mut self) {
        self.around.push(std::mem::take(&mut self.steps));
    }

    fn close(&mut self) {
        self.steps = self.around.pop().unwrap_or_default();
    }
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
            (policy(&format!("true{}", ".contains(!true)".repeat(40))), Some(Excess::Steps)),
            (policy(&format!("true{}", ".contains([1, 2])".repeat(40))), Some(Excess::Steps)),
            (policy(&format!("[1, 2].contains({})", "a.b == ".repeat(40))), None),
            (policy(&vec!["a"; 600].join(" || ")), Some(Excess::Operators)),
            (policy(&vec!["context.nobody_else"; 50].join(" || ")), None),
            (policy(&"if a then b else ".repeat(40)), Some(Excess::Operators)),
            (
                format!("permit (principal, action, resource) {};", "when { true } ".repeat(1_100)),
                Some(Excess::Operators),
            ),
            (policy(&"(".repeat(20)), None),
            (policy(&vec!["context.device.posture.disk_root.state == \"pass\""; 200].join(" && ")), None),
            (policy("true").repeat(20_000), None),
            (format!("// {}\n", "(".repeat(100)), None),
            (format!("// \r{}", "(".repeat(100)), Some(Excess::Brackets)),
            (policy(&format!("principal.email == \"\\\"{}\"", "(".repeat(100))), None),
        ] {
            let shown: String = text.chars().take(80).collect();
            assert_eq!(excess(&text).map(|(_, excess)| excess), found, "{shown}");
        }
        assert_eq!(excess(&"(".repeat(40)), Some((32, Excess::Brackets)));
    }
}
