//! Bytes to lines, as a terminal would leave them: what a carriage return goes back over is written anew.

/// Bytes kept of one line; the store keeps no longer ones.
const LINE_BYTES_MAX: usize = 4000;

/// The line that has no end yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    open: Vec<u8>,
    /// Bytes past the limit.
    left_out: usize,
    /// A carriage return was the last thing written.
    returned: bool,
    /// The line went back over itself: a progress bar.
    bar: bool,
}

impl Lines {
    /// Takes bytes; lines that end in them are added to `whole`.
    pub(super) fn push(&mut self, bytes: &[u8], whole: &mut Vec<String>) {
        for byte in bytes {
            match byte {
                b'\n' => whole.push(self.end()),
                b'\r' => self.returned = true,
                byte => {
                    if std::mem::take(&mut self.returned) {
                        self.open.clear();
                        (self.left_out, self.bar) = (0, true);
                    }
                    if self.open.len() < LINE_BYTES_MAX {
                        self.open.push(*byte);
                    } else {
                        self.left_out += 1;
                    }
                }
            }
        }
    }

    /// What was written without a line end, if anything was.
    pub(super) fn end_open(&mut self) -> Option<String> {
        (!self.open.is_empty()).then(|| self.end())
    }

    /// The same, but a progress bar stays open: more of it will come.
    pub(super) fn end_unless_bar(&mut self) -> Option<String> {
        if self.bar || self.returned { None } else { self.end_open() }
    }

    fn end(&mut self) -> String {
        let ended = std::mem::take(self);
        let line = String::from_utf8_lossy(&ended.open);
        match ended.left_out {
            0 => line.into_owned(),
            left_out => format!("{line}… ({left_out} more bytes)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> (Vec<String>, Option<String>) {
        let (mut lines, mut whole) = (Lines::default(), Vec::new());
        // Wherever the pipe cuts it.
        text.as_bytes().chunks(3).for_each(|chunk| lines.push(chunk, &mut whole));
        (whole, lines.end_open())
    }

    #[test]
    fn a_progress_bar_leaves_its_last_state() {
        let bar: String = (0..=200).map(|n| format!("\r{n} of 200 é")).collect();
        assert_eq!(lines(&format!("{bar}\nnext\r\n\nopen")).0, ["200 of 200 é", "next", ""]);
        assert_eq!(lines(&bar), (vec![], Some("200 of 200 é".to_owned())));
        assert_eq!(lines("50%\r"), (vec![], Some("50%".to_owned())));
    }

    #[test]
    fn a_bar_stays_open_where_other_lines_end() {
        let open = |text: &[u8]| {
            let mut lines = Lines::default();
            lines.push(text, &mut Vec::new());
            lines.end_unless_bar()
        };
        assert_eq!(open(b"two"), Some("two".to_owned()));
        assert_eq!(open(b"1%\r2%"), None);
        assert_eq!(open(b"1%\r"), None);
    }

    #[test]
    fn a_line_without_end_is_bounded_and_says_what_is_left_out() {
        let (whole, _) = lines(&format!("{}\n", "x".repeat(5000)));
        assert_eq!(whole[0], format!("{}… (1000 more bytes)", "x".repeat(LINE_BYTES_MAX)));
    }
}
