//! The registry of a large company beside a small one: what one key costs there, and what all of them do.

mod commands;
mod data;
mod database;
mod delivery;

use std::time::{Duration, Instant};

use crate::figures::Figures;
use crate::stage::Team;
use data::Scale;

pub(crate) async fn measure(figures: &mut Figures) {
    let quick = std::env::var("QUICK").is_ok_and(|quick| !quick.is_empty());
    let scale = if quick { Scale::TENTH } else { Scale::FULL };
    let team = Team::with_shop("bench-company").await;
    for key in 0..10 {
        team.set("dev", &format!("KEY_{key}"), "value").await;
    }
    let began = Instant::now();
    data::fill(&team, scale).await;
    println!("{} secrets in {} projects, made in {:.0?}", scale.secrets(), scale.projects + 2, began.elapsed());
    database::measure(&team, figures).await;
    commands::measure(&team, scale.large, figures).await;
    Box::pin(delivery::measure(team, scale, figures)).await;
}

/// A time, and how many times that of the small case it is.
fn beside(time: Duration, small: Duration) -> String {
    format!("{:.2} ({:.1} ms, small: {:.1} ms)", time.as_secs_f64() / small.as_secs_f64(), ms(time), ms(small))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
