//! "Did you mean": the known word that lies closest to an unknown one.

/// The candidate with the fewest edits from `word`, if it is close enough to be a slip of the hand.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = word.chars().count().div_ceil(3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|&(edits, _)| edits <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `nearest`, put as the end of a message; empty when nothing is near.
pub fn hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default()
}

/// Levenshtein distance, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, &cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("kernel", "kernel"), 0);
        assert_eq!(distance("kernal", "kernel"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("memroy", "memory"), 2);
    }

    #[test]
    fn nearest_names_slips_and_only_slips() {
        let keys = ["kernel", "memory", "cpus"];
        assert_eq!(nearest("kernal", keys), Some("kernel"));
        assert_eq!(nearest("memroy", keys), Some("memory"));
        assert_eq!(nearest("network", keys), None);
    }
}
