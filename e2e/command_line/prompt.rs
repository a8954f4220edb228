//! The hidden prompt, on a terminal of its own.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::harness::wait_for;
use crate::stage::{Team, program};

/// `script` gives a program a terminal, `stty` says how that is set.
fn tools() -> Option<[PathBuf; 2]> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let find = |name: &str| std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    Some([find("script")?, find("stty")?])
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_a_value_is_asked_for_and_never_shown() {
    let Some([script, stty]) = tools() else {
        eprintln!("NOT TESTED: no script(1) or stty(1) on this machine, so there is no terminal to ask on");
        return;
    };
    let team = Team::with_shop("prompt").await;
    let plain = team.command(&team.ana, &[]);
    let mut command = Command::new(script);
    for (name, value) in plain.as_std().get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    // The shell says which terminal it is, then becomes the command.
    let typed = format!("tty; exec '{}' secret set KEY -e dev", program().display());
    command.args(["--quiet", "--return", "--command", &typed, "/dev/null"]).env("SHELL", "/bin/sh");
    command.current_dir(team.home()).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());

    let mut shown = String::new();
    let prompt = "Value for KEY in dev: ";
    while !shown.contains(prompt) {
        let mut bytes = [0; 1024];
        let count = tokio::time::timeout(Duration::from_secs(30), screen.read(&mut bytes)).await;
        let count = count.unwrap_or_else(|_| panic!("not asked: {shown}")).unwrap();
        assert!(count > 0, "it ended without asking: {shown}");
        shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    let terminal = shown.lines().next().unwrap().trim().to_owned();
    wait_for("the terminal to show nothing that is typed", Duration::from_secs(30), async || {
        let set = Command::new(&stty).args(["-a", "-F", &terminal]).output().await.unwrap();
        let set = String::from_utf8_lossy(&set.stdout).into_owned();
        if set.split_whitespace().any(|word| word == "-echo") { Ok(()) } else { Err(set) }
    })
    .await;
    keys.write_all(b"hunter2\n").await.unwrap();
    let mut rest = String::new();
    tokio::time::timeout(Duration::from_secs(30), screen.read_to_string(&mut rest)).await.expect("it ends").unwrap();
    assert!(child.wait().await.unwrap().success(), "{shown}{rest}");
    assert!(rest.contains("created KEY in dev"), "{shown}{rest}");
    assert!(!rest.contains("hunter2") && !shown.contains("hunter2"), "the value was shown: {shown}{rest}");
    assert_eq!(team.get_as(&team.ana, "KEY", "dev").await.expect(0).stdout, "hunter2", "without the line break");
}
