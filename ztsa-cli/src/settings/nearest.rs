//! The known word that is nearest to a mistyped one.

/// Finds the nearest of `known` to `word`, where one is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.len().max(3) / 2)
        .map(|(_, candidate)| candidate)
}

/// Counts the single-letter edits between two words (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut next = vec![index + 1];
        for (position, (candidate, above)) in other.iter().zip(row.iter().skip(1)).enumerate() {
            let diagonal = row.get(position).copied().unwrap_or_default() + usize::from(*candidate != letter);
            let left = next.last().copied().unwrap_or_default() + 1;
            next.push(diagonal.min(left).min(above + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_finds_its_word() {
        let known = ["gateway", "ca_file", "store"];
        for (word, expected) in [
            ("gatway", Some("gateway")),
            ("cafile", Some("ca_file")),
            ("stor", Some("store")),
            ("colour_of_the_sky", None),
        ] {
            assert_eq!(nearest(word, &known), expected, "{word}");
        }
    }
}
