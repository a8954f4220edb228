//! No server outlives the run that started it, however that ends.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Postgres, RunDir, os, wait_for};

const SAID: &str = "server and folder: ";

/// Not a test, but the process that the test below ends: it starts a server, says which, and waits for its end.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by servers_end_with_the_process_that_started_them"]
async fn start_a_server_and_wait() {
    let postgres = Postgres::shared().await;
    let folder = RunDir::shared().unwrap().path().display();
    println!("\n{SAID}{} {folder}", postgres.pid().unwrap());
    // It is ended long before; where it was started by hand, it does not stay for ever.
    tokio::time::sleep(Duration::from_mins(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_end_with_the_process_that_started_them() {
    let mut run = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "processes::start_a_server_and_wait"])
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let said = BufReader::new(run.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix(SAID).map(str::to_owned))
        .expect("it says which server it started");
    let (server, folder) = said.split_once(' ').unwrap();
    let server: u32 = server.parse().unwrap();
    assert!(os::is_alive(server));

    // SIGKILL: no code of that process runs any more.
    run.kill().unwrap();
    run.wait().unwrap();

    wait_for("the server to end", Duration::from_secs(15), async || {
        if os::is_alive(server) { Err(format!("process {server} runs")) } else { Ok(()) }
    })
    .await;
    wait_for("the folder to go", Duration::from_secs(15), async || {
        if std::fs::exists(folder).unwrap_or(true) { Err(format!("{folder} is there")) } else { Ok(()) }
    })
    .await;
}
