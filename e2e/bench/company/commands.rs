//! Commands as whole processes, in a project of ten keys and in one of 20,000 keys in ten environments.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::beside;
use crate::figures::{Figures, millis, percentile};
use crate::stage::Team;

const ROUNDS: usize = 7;

/// What changes one key. `{key}` is one that nobody else writes, `{round}` another text each time.
const CHANGES: &[(&str, &str)] = &[
    ("secret set", "secret set {key} -e {environment} < value-{round}"),
    ("secret confirm", "secret confirm {key} -e {environment}"),
    ("secret rm", "secret rm {key} -e {environment}"),
    ("secret restore", "secret restore {key} -e {environment}"),
    ("key define", "key define {key} --description {round} --reason why"),
    ("key exempt", "key exempt {key} -e {environment} --reason why"),
    ("key retire", "key retire {key} --reason why"),
];

struct Place {
    project: &'static str,
    environment: &'static str,
}

const SMALL: Place = Place { project: "shop", environment: "dev" };
const LARGE: Place = Place { project: "large", environment: "env-1" };

pub(super) async fn measure(team: &Team, keys: usize, figures: &mut Figures) {
    for (what, command) in CHANGES {
        // In turns, so that whatever else the machine does meets both.
        let (mut small, mut large) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            small.push(run(team, &SMALL, command, round).await);
            large.push(run(team, &LARGE, command, round).await);
        }
        let (small, large) = (percentile(&mut small, 0.5), percentile(&mut large, 0.5));
        figures.add(&format!("`{what}` in a project of {keys} keys, to one of 10"), &beside(large, small), "1.5");
    }
    for (what, command) in
        [("status", "status"), ("secret list", "secret list -e {environment}"), ("diff", "diff {environment} env-2")]
    {
        let mut times = Vec::new();
        for round in 0..3 {
            times.push(run(team, &LARGE, command, round).await);
        }
        figures.add(
            &format!("`{what}` over {keys} keys in 10 environments"),
            &millis(percentile(&mut times, 0.5)),
            "1 s",
        );
    }
    let (mut small, mut large) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        small.push(run(team, &SMALL, "status KEY_1", round).await);
        large.push(run(team, &LARGE, "status KEY_OF_A_LARGE_COMPANY_1", round).await);
    }
    let (small, large) = (percentile(&mut small, 0.5), percentile(&mut large, 0.5));
    figures.add("`status KEY` there, beyond the small case", &millis(large.saturating_sub(small)), "20 ms");
    many_at_once(team, figures).await;
}

/// Twice as many changed values, and a hundred keys retired in one statement.
async fn many_at_once(team: &Team, figures: &mut Figures) {
    let dotenv = |keys: usize, round: usize| {
        (0..keys).fold(String::new(), |mut text, number| {
            let _ = writeln!(text, "IMPORTED_{number}=value-{number}-of-round-{round}");
            text
        })
    };
    team.done(&team.ana, &["project", "create", "imports"]).await;
    let (mut once, mut twice) = (Vec::new(), Vec::new());
    for round in 0..3 {
        for (times, keys) in [(&mut once, 10_000), (&mut twice, 20_000)] {
            let environment = format!("of-{keys}");
            if round == 0 {
                team.done(&team.ana, &["environment", "create", &environment, "-p", "imports"]).await;
            }
            for part in 0..2 {
                let began = Instant::now();
                let command = ["import", "-", "-p", "imports", "-e", &environment];
                let done = team.run_with(&team.ana, &command, dotenv(keys, 2 * round + part).as_bytes()).await;
                assert!([0, 3].contains(&done.code), "{}", done.stderr);
                // The first one made them.
                if (round, part) != (0, 0) {
                    times.push(began.elapsed());
                }
            }
        }
    }
    let (once, twice) = (percentile(&mut once, 0.5), percentile(&mut twice, 0.5));
    figures.add("import of 20,000 changed values, to 10,000", &beside(twice, once), "2.2");

    let session = team.session("ana").await;
    let (mut single, mut hundred) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for (times, count) in [(&mut single, 1), (&mut hundred, 100)] {
            let first = 1 + (if count == 1 { 10_000 } else { 0 }) + round * count;
            session.batch_execute("BEGIN; SELECT begin_change('imports', 'why')").await.expect("it begins");
            let retire = format!(
                "SELECT count(*) FROM retire_keys((SELECT id FROM projects WHERE name = 'imports'), ARRAY(
                     SELECT 'IMPORTED_' || n FROM generate_series({first}, {}) n))",
                first + count - 1
            );
            let began = Instant::now();
            session.batch_execute(&retire).await.expect("they can be retired");
            times.push(began.elapsed());
            session.batch_execute("ROLLBACK").await.expect("it can be undone");
        }
    }
    let (single, hundred) = (percentile(&mut single, 0.5), percentile(&mut hundred, 0.5));
    figures.add("100 keys retired in one statement, to one", &beside(hundred, single), "5");
}

async fn run(team: &Team, place: &Place, command: &str, round: usize) -> Duration {
    let filled = command
        .replace("{key}", &format!("MEASURED_{round}"))
        .replace("{environment}", place.environment)
        .replace("{round}", &format!("{round}"));
    let (words, input) = filled.split_once(" < ").unwrap_or((&filled, ""));
    let mut words: Vec<&str> = words.split(' ').collect();
    words.extend(["-p", place.project]);
    let began = Instant::now();
    let done = team.run_with(&team.ana, &words, input.as_bytes()).await;
    let took = began.elapsed();
    // 3: another environment is behind, or lacks the key.
    assert!([0, 3].contains(&done.code), "{filled}: {}", done.stderr);
    took
}
