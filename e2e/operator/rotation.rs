//! A keyring and passwords that are replaced under a running operator.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use futures::{StreamExt as _, stream};
use serde_json::json;

use crate::harness::tcp_proxy::TcpProxy;
use crate::harness::{Postgres, wait_for};
use crate::stage::{Operator, SOON, Stage};

/// Bindings that wait for a key at the same time.
const WAITING: usize = 100;

/// As somebody replaces a file: another one under its name.
fn put(path: &Path, text: &str) {
    let next = path.with_extension("next");
    fs::write(&next, text).unwrap();
    fs::set_permissions(&next, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&next, path).unwrap();
}

/// How often the log has these words.
async fn logged(operator: &Operator, words: &str) -> usize {
    wait_for(&format!("the log to say: {words}"), SOON, async || match operator.log().matches(words).count() {
        0 => Err(operator.log().lines().last().unwrap_or_default().to_owned()),
        count => Ok(count),
    })
    .await
}

/// How many of the bindings say what is wanted of one; all of them, in the end.
async fn all_of(stage: &Stage, what: &str, is_so: impl Fn(&tidelock::api::SecretBindingStatus) -> bool) {
    wait_for(what, SOON, async || {
        let found = stage.bindings().list(&kube::api::ListParams::default()).await.map_err(|why| why.to_string())?;
        let numbered = found.items.iter().filter(|binding| binding.spec.source_ref.name == stage.source_name("dev"));
        let so = numbered.filter(|binding| binding.status.as_ref().is_some_and(&is_so)).count();
        if so == WAITING { Ok(()) } else { Err(format!("{so} of {WAITING}")) }
    })
    .await;
}

fn reason(status: &tidelock::api::SecretBindingStatus, condition: &str) -> String {
    let found = status.conditions.iter().find(|found| found.type_ == condition);
    found.map(|found| found.reason.clone()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn bindings_that_wait_for_a_key_get_it_with_the_keyrings_file_and_answer_all_at_once() {
    let stage = Stage::with_shop("waiting-for-a-key").await;
    for environment in ["dev", "production"] {
        stage.team.set(environment, "A", "1").await;
        stage.source(environment).await;
    }
    let names = stage.numbered_bindings(WAITING, "dev").await;
    stage.binding("other", "production", json!({})).await;
    let right = fs::read_to_string(stage.team.keyring()).unwrap();
    let (header, rings) = right.split_at(right.find("[[ring]]").unwrap());
    let held = stage.team.home().join("held");
    put(&held, &format!("{header}{}", &rings[rings.rfind("[[ring]]").unwrap()..]));
    let operator = stage.operator_with(&[("TIDELOCK_KEYRING", &held.to_string_lossy())]).await;
    stage.secret_has("other", &[("A", "1")]).await;
    all_of(&stage, "bindings to wait for a key", |status| reason(status, "Delivered") == "RingNotHeld").await;

    let unusable = "the keyring that was read before stays in use";
    put(&held, &right[..right.len() - 30]);
    assert_eq!(logged(&operator, unusable).await, 1);
    stage.team.set("production", "A", "2").await;
    stage.secret_has("other", &[("A", "2")]).await;
    put(&held, &right);
    all_of(&stage, "bindings to have it", |status| reason(status, "Ready") == "Ready").await;
    let log = operator.log();
    assert_eq!(log.matches(unusable).count(), 1, "{log}");
    for secret in right.lines().filter(|line| line.starts_with("secret = ")) {
        assert!(!log.contains(secret.trim_start_matches("secret = ").trim_matches('"')), "a key is in the log");
    }

    // Everybody wants an answer, and a change elsewhere arrives all the same.
    let asking = stream::iter(&names).for_each_concurrent(16, |name| {
        stage.patch_binding(name, json!({"metadata": {"annotations": {"tidelock.dev/sync": "all"}}}))
    });
    let elsewhere = async {
        stage.team.set("production", "A", "3").await;
        stage.secret_has("other", &[("A", "3")]).await;
    };
    tokio::join!(asking, elsewhere);
    all_of(&stage, "all answers", |status| status.last_handled_sync.as_deref() == Some("all")).await;
}

/// A way that a password comes to the operator.
struct Way {
    name: &'static str,
    /// The file that has it.
    file: PathBuf,
    variables: Vec<(&'static str, String)>,
    /// What the file has.
    text: Box<dyn Fn(&str) -> String + Send + Sync>,
}

fn ways(url: &str, home: &Path) -> [Way; 3] {
    let [user, old] = [1, 2].map(|at| url.split([':', '@']).nth(at).unwrap().trim_start_matches('/').to_owned());
    let (place, database) = url.split('@').nth(1).unwrap().split_once('/').unwrap();
    let (host, port) = place.split_once(':').unwrap();
    let whole = url.to_owned();
    let service = format!("[registry]\nhost={host}\nport={port}\ndbname={database}\nuser={user}\n");
    let file = |name: &str| home.join(name);
    let path = |name: &str| file(name).display().to_string();
    [
        Way {
            name: "file",
            file: file("url"),
            variables: vec![("TIDELOCK_DATABASE_URL", format!("file:{}", path("url")))],
            text: Box::new(move |password| whole.replace(&format!(":{old}@"), &format!(":{password}@"))),
        },
        Way {
            name: "passfile",
            file: file("passfile"),
            variables: vec![
                ("TIDELOCK_DATABASE_URL", format!("postgresql://{user}@{place}/{database}")),
                ("PGPASSFILE", path("passfile")),
            ],
            text: Box::new(|password| format!("*:*:*:*:{password}\n")),
        },
        Way {
            name: "service",
            file: file("services"),
            variables: vec![
                ("TIDELOCK_DATABASE_URL", "service=registry".to_owned()),
                ("PGSERVICEFILE", path("services")),
            ],
            text: Box::new(move |password| format!("{service}password={password}\n")),
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_rotated_under_the_operator_whichever_way_it_comes_and_whoever_is_first() {
    let stage = Stage::with_shop("rotated").await;
    stage.team.set("dev", "A", "0").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let proxy = TcpProxy::to(Postgres::shared().await.port()).await;
    let admin = stage.team.database.superuser().await;
    let rotate = async |password: &str| {
        let sql = format!("ALTER ROLE \"{}\" PASSWORD '{password}'", stage.team.operator.role);
        admin.batch_execute(&sql).await.unwrap();
    };
    for Way { name, file, variables, text } in ways(&proxy.reroute(&stage.team.operator.url), stage.team.home()) {
        let [first, second, third] = [1, 2, 3].map(|n| format!("{name}-h4nter{n}"));
        rotate(&first).await;
        put(&file, &text(&first));
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let operator = stage.operator_with(&variables).await;
        let arrives = async |value: &str| {
            let value = format!("{name} {value}");
            stage.team.set("dev", "A", &value).await;
            stage.secret_has("app", &[("A", &value)]).await;
        };
        arrives("at first").await;

        // The server first: sessions that are there go on, and there are no new ones.
        rotate(&second).await;
        arrives("by a session that was there").await;
        proxy.cut();
        stage.source_is("dev", &["Ready=False(DatabaseUnavailable)"]).await;
        proxy.restore();
        let source = stage.source_is("dev", &["Ready=False(DatabaseRefused)", "InSync=Unknown"]).await;
        let said = format!("{:?}", source.status.unwrap_or_default().conditions);
        assert!(said.contains("password authentication failed") && said.contains("authentication: "), "{said}");
        stage.binding_is("app", &["Ready=True", "Delivered=True"]).await;
        put(&file, &text(&second));
        stage.source_is("dev", &["Ready=True"]).await;
        arrives("after the file has it").await;

        if name != "file" {
            operator.stop();
            continue;
        }
        // The file first: what works goes on, in new sessions too, and is left once the other works.
        put(&file, &text(&third));
        let unused = "the settings of the database's connection have changed and do not work";
        logged(&operator, unused).await;
        arrives("before the server has it").await;
        proxy.cut();
        stage.source_is("dev", &["Ready=False(DatabaseUnavailable)"]).await;
        proxy.restore();
        arrives("by a session that is new").await;
        rotate(&third).await;
        logged(&operator, "the settings that took the place of earlier ones").await;
        arrives("in the end").await;
        let log = operator.log();
        let told = log.lines().filter(|line| line.contains(unused) && line.contains("28P01")).count();
        assert_eq!(told, 1, "{log}");
        assert!(!log.contains("h4nter") && !said.contains("h4nter"), "{log}");
        operator.stop();
    }
}
