//! How long an expression may be, and how deep: a parser takes a piece of the stack for each level, and a stack that is
//! used up ends the process.
//!
//! Counted before anything is parsed, over the text as it stands: quotes are not looked at, so that no way of quoting
//! hides a level.

/// Longest expression of a pipeline.
pub(crate) const CEL: Limits = Limits { characters: 4_096, words: 600, brackets: 64 };
/// Longest SQL expression over one row.
pub(crate) const SQL: Limits = Limits { characters: 16_384, words: 1_000, brackets: 64 };

/// What an expression may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    characters: usize,
    /// Names, numbers and signs.
    words: usize,
    /// Opening ones.
    brackets: usize,
}

impl Limits {
    /// What the expression has too much of, and where that begins, in characters from 0.
    pub(crate) fn check(self, expression: &str) -> Result<(), (String, usize)> {
        let (mut words, mut brackets, mut within_word) = (0, 0, false);
        for (offset, character) in expression.chars().enumerate() {
            let continues = character.is_alphanumeric() || character == '_';
            words += usize::from(!(character.is_whitespace() || continues && within_word));
            brackets += usize::from(matches!(character, '(' | '[' | '{'));
            within_word = continues;
            let too_much = [
                ("characters", offset + 1, self.characters),
                ("names, numbers and signs", words, self.words),
                ("brackets", brackets, self.brackets),
            ];
            if let Some((what, _, most)) = too_much.into_iter().find(|(_, count, most)| count > most) {
                return Err((format!("it has more than {most} {what}"), offset));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_named_with_its_place() {
        assert_eq!(CEL.check("run.date - days(params.days)"), Ok(()));
        let chain = format!("1{}", "+1".repeat(4_000));
        assert_eq!(CEL.check(&chain), Err(("it has more than 600 names, numbers and signs".to_owned(), 600)));
        let deep = "(".repeat(100);
        assert_eq!(CEL.check(&deep), Err(("it has more than 64 brackets".to_owned(), 64)));
        assert_eq!(CEL.check(&"a".repeat(5_000)).unwrap_err().1, 4_096);
    }
}
