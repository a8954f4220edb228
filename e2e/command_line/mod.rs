//! The command, as people run it: the real program against the real database, with the logins of a team.

mod administration;
mod backup;
mod by_hand;
mod drift;
mod help;
mod import;
mod json;
mod prompt;
mod races;
mod refusals;
mod rehash;
mod roles;
mod sync_semantics;
mod tables;
mod values;

use std::sync::atomic::{AtomicU32, Ordering};

use crate::harness::database::Login;
use crate::stage::{Finished, Team};

/// A command as one would type it, words without quoting: what follows ` < ` is its standard input, and `{n}` a number
/// that no other command has.
struct Typed {
    words: Vec<String>,
    input: String,
}

impl Typed {
    fn new(line: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let line = line.replace("{n}", &NEXT.fetch_add(1, Ordering::Relaxed).to_string());
        let (words, input) = line.split_once(" < ").unwrap_or((&line, ""));
        Self { words: words.split_whitespace().map(str::to_owned).collect(), input: input.to_owned() }
    }

    async fn run(&self, team: &Team, who: &Login) -> Finished {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        team.run_with(who, &words, self.input.as_bytes()).await
    }
}
