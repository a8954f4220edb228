//! The command, as people run it: the real program against the real database, with the logins of a team.

mod administration;
mod dealings;
mod import;
mod races;
mod refusals;
mod values;
