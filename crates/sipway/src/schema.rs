//! `sipway schema`: what a PostgreSQL sink needs in its database.

use crate::{command::Schema, outcome::Outcome, speech::say};

pub(crate) fn run(args: &Schema) -> Outcome {
    say!("{}", sinks::postgres_schema(&args.name).trim_end());
    Outcome::Done
}
