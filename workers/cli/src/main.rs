//! The one binary `tidemill`.

fn main() {}
