//! An import of 10,000 keys, from the command's start to its end.

use std::fmt::Write as _;
use std::time::Instant;

use crate::figures::{Figures, millis, percentile};
use crate::stage::Team;

const KEYS: usize = 10_000;

pub(crate) async fn measure(figures: &mut Figures) {
    let dotenv = |round: usize| {
        (0..KEYS).fold(String::new(), |mut text, number| {
            let _ = writeln!(text, "KEY_{number}=value-{number}-of-round-{round}");
            text
        })
    };
    let team = Team::with_shop("bench-import").await;
    let (mut created, mut changed) = (Vec::new(), Vec::new());
    for round in 0..3 {
        // New keys in an environment of its own each time, then the same keys with other values.
        let environment = format!("round-{round}");
        team.done(&team.ana, &["project", "create", &environment]).await;
        team.done(&team.ana, &["environment", "create", "dev", "-p", &environment]).await;
        for (times, round) in [(&mut created, round), (&mut changed, round + 10)] {
            let started = Instant::now();
            let arguments = ["import", "-", "-p", &environment, "-e", "dev"];
            team.run_with(&team.ana, &arguments, dotenv(round).as_bytes()).await.expect(0);
            times.push(started.elapsed());
        }
    }
    figures.add("import of 10,000 new keys, median of 3", &millis(percentile(&mut created, 0.5)), "3 s");
    figures.add("import of 10,000 changed values, median of 3", &millis(percentile(&mut changed, 0.5)), "3 s");
}
