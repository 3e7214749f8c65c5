//! What a person is told when something fails: code, message, detail, hint.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::text::storable;

/// `TM` and four digits; each has a page that `tidemill explain` prints. In JSON it is that text too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u16);

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_prefix("TM").and_then(|digits| digits.parse().ok());
        digits
            .map(Self)
            .ok_or_else(|| de::Error::custom(format!("`{text}` is not a code: TM and four digits")))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TM{:04}", self.0)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A failure as people read it. Stored with the attempt, so fields are only ever added, and without NUL, which user
/// code may have said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Its page, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// What and where, in lower case without a period.
    pub message: String,
    /// More lines: a trimmed traceback, a list of columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// How to fix it, as a command where possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Fault {
    /// A failure without a page of its own.
    pub fn new(message: impl Into<String>) -> Self {
        Self { code: None, message: storable(message), detail: None, hint: None }
    }

    /// A failure with a page.
    pub fn coded(code: u16, message: impl Into<String>) -> Self {
        Self { code: Some(Code(code)), ..Self::new(message) }
    }

    /// Adds the lines below the message.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(storable(detail));
        self
    }

    /// Adds how to fix it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(storable(hint));
        self
    }

    /// The whole chain of an error as one message. Libraries that repeat their cause in their own words are not
    /// repeated.
    pub fn from_error(error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let told = cause.to_string();
            if !message.ends_with(&told) {
                message.push_str(": ");
                message.push_str(&told);
            }
            source = cause.source();
        }
        Self::new(message)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "[{code}] {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_json_with_its_code_as_people_read_it() {
        let fault = Fault::coded(833, "expected int").hint("write it without quotes");
        let json = r#"{"code":"TM0833","message":"expected int","hint":"write it without quotes"}"#;
        assert_eq!(serde_json::to_string(&fault).unwrap(), json);
        assert_eq!(serde_json::from_str::<Fault>(json).unwrap(), fault);
        for wrong in [r#""833""#, r#""TMx""#, "833"] {
            assert!(serde_json::from_str::<Code>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_fault_holds_no_nul() {
        let fault = Fault::new("a\0b").detail("c\0").hint("\0d");
        assert!(!serde_json::to_string(&fault).unwrap().contains("\\u0000"), "{fault:?}");
        assert_eq!(fault.message, "a\u{fffd}b");
    }

    #[test]
    fn a_cause_that_was_told_is_not_told_again() {
        #[derive(Debug, thiserror::Error)]
        #[error("redis did not answer: {0}")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("broken pipe"));
        assert_eq!(Fault::from_error(&error).message, "redis did not answer: broken pipe");
    }
}
