//! `make bench`: what `docs/performance.md` reports, measured in one run on one machine.
//!
//! Absolute times say little on a shared machine; what counts are the ratios to a bare loop that does the same work on
//! the same objects in the same run. Goals are printed beside the figures and decide nothing.

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../stage/mod.rs"]
mod stage;

mod bare_loop;
mod company;
mod figures;
mod import;
mod latency;
mod leader;
mod memory;
mod patterns;
mod recovery;
mod remade;
mod restarts;
mod start;

use figures::Figures;
use stage::Stage;

#[tokio::main]
async fn main() {
    // `cargo bench` passes `--bench`; anything else names the measurements to run. QUICK=1 makes the company a tenth.
    let only: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|part| name.contains(part.as_str()));
    let mut figures = Figures::default();
    if wanted("import") {
        import::measure(&mut figures).await;
    }
    if wanted("latency") {
        latency::measure(&Stage::with_shop("bench-latency").await, &mut figures).await;
    }
    if wanted("company") {
        company::measure(&mut figures).await;
    }
    if wanted("patterns") {
        patterns::measure(&mut figures).await;
    }
    if wanted("recovery") {
        recovery::measure(&mut figures).await;
    }
    if wanted("leader") {
        leader::measure(&mut figures).await;
    }
    if wanted("remade") {
        remade::measure(&mut figures).await;
    }
    if wanted("restarts") {
        restarts::measure(&mut figures).await;
    }
    if wanted("memory") {
        memory::measure(&mut figures).await;
    }
    if wanted("start") {
        start::measure(&mut figures).await;
    }
    figures.print();
}
