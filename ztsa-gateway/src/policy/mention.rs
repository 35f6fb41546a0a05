//! What the conditions of a policy mention, so that the explanation of an answer knows what to try.

use cedar_policy::Policy;
use serde_json::Value;

use super::schema::Vocabulary;

/// Lists what a policy mentions.
#[derive(Debug, Clone, Default)]
pub(super) struct Mentions {
    /// The values that `context.auth.acr` is compared with.
    pub(super) acr: Vec<String>,
    /// The groups.
    pub(super) groups: Vec<String>,
    /// Whether the answer can change as time passes.
    pub(super) time: bool,
}

impl Mentions {
    pub(super) fn of(policy: &Policy, vocabulary: &Vocabulary) -> Self {
        let mut acr = Vec::new();
        if let Ok(tree) = policy.to_json() {
            compared(&tree, &mut acr);
        }
        acr.sort();
        acr.dedup();
        let literals = policy.entity_literals();
        let groups = literals.iter().filter(|literal| literal.type_name() == vocabulary.group_type());
        let mut groups: Vec<String> = groups.map(|literal| literal.id().unescaped().to_owned()).collect();
        groups.sort();
        groups.dedup();
        let text = policy.to_cedar().unwrap_or_default();
        let time = ["time", "age"]
            .iter()
            .any(|word| text.contains(&format!(".{word}")) || text.contains(&format!("\"{word}\"")));
        Self { acr, groups, time }
    }
}

/// Collects what stands on the other side of `context.auth.acr` in a comparison.
fn compared(node: &Value, found: &mut Vec<String>) {
    match node {
        Value::Array(nodes) => nodes.iter().for_each(|node| compared(node, found)),
        Value::Object(members) => {
            let sides = members.get("left").zip(members.get("right"));
            if let Some((left, right)) = sides {
                for (one, other) in [(left, right), (right, left)] {
                    if is_acr(one) {
                        texts(other, found);
                    }
                }
            }
            members.values().for_each(|node| compared(node, found));
        }
        _ => {}
    }
}

fn is_acr(node: &Value) -> bool {
    let access = |node: &'_ Value| -> Option<(Value, String)> {
        let access = node.get(".")?;
        Some((access.get("left")?.clone(), access.get("attr")?.as_str()?.to_owned()))
    };
    access(node).is_some_and(|(left, attr)| attr == "acr" && access(&left).is_some_and(|(_, attr)| attr == "auth"))
}

fn texts(node: &Value, found: &mut Vec<String>) {
    match node {
        Value::String(text) => found.push(text.clone()),
        Value::Array(nodes) => nodes.iter().for_each(|node| texts(node, found)),
        Value::Object(members) => {
            [members.get("Value"), members.get("Set")].into_iter().flatten().for_each(|node| texts(node, found));
        }
        _ => {}
    }
}
