//! What the program prints. `println!` panics when nobody reads any more; here that is no reason to end.

use std::{
    fmt::Arguments,
    io::{self, Write as _},
};

/// A line on standard output.
macro_rules! say {
    ($($what:tt)*) => { $crate::speech::line_out(format_args!($($what)*)) };
}

/// A line on standard error.
macro_rules! complain {
    ($($what:tt)*) => { $crate::speech::line_err(format_args!($($what)*)) };
}

pub(crate) use {complain, say};

pub(crate) fn line_out(line: Arguments<'_>) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

pub(crate) fn line_err(line: Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
