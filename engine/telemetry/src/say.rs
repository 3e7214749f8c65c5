//! Lines for people.

use std::{fmt, io::Write as _};

/// Prints a line to standard error, as `eprintln!` does; one that can't be written is lost, and ends nobody.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { $crate::line(format_args!($($text)*)) };
}

/// What [`say!`] does.
pub fn line(text: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
