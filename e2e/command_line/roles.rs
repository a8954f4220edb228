//! Who may do what, by command: each verb by each login, in production and elsewhere. `e2e/registry/rights.rs` is the
//! same in SQL.

use tokio_postgres::Client;

use super::Typed;
use crate::harness::database::Login;
use crate::stage::{Finished, Team};

/// What eve (no member), vic (VIEWER), the operator (ADMIN, read-only), bob (DEVELOPER) and ana (ADMIN) are answered:
/// 0 done, 2 wrong usage, 3 differs or behind, 4 refused, 5 not found.
type Codes = [i32; 5];

const EVERYONE: Codes = [0; 5];
const MEMBERS: Codes = [5, 0, 0, 0, 0];
const ADMINS: Codes = [5, 4, 4, 4, 0];
const DEVELOPERS: Codes = [5, 4, 4, 0, 0];
/// Who may read production.
const READERS: Codes = [5, 4, 0, 4, 0];
const BEHIND: Codes = [5, 3, 3, 3, 3];
/// Nobody; a project that is not theirs they do not see.
const NO_MEMBER: Codes = [5, 4, 4, 4, 4];
const NOBODY: Codes = [4; 5];
const NOT_THERE: Codes = [5; 5];
const USAGE: Codes = [2; 5];

#[derive(Clone, Copy, PartialEq)]
enum Verb {
    /// Changes nothing.
    Looks,
    /// As [`Verb::Looks`], and answers every member the same.
    Alike,
    /// Changes something, when it is done.
    Writes,
}
use Verb::{Alike, Looks, Writes};

/// A verb, how it is typed, what it comes to, and what ana does before, so that it has something to do. `{}` is the
/// environment, and `{n}` never the same; what follows `<` goes to standard input.
type Row = (Verb, &'static str, Codes, &'static str);

/// In dev and in production alike, or about the project as a whole.
const PROJECT: &[Row] = &[
    (Alike, "status -o json", BEHIND, ""),
    (Alike, "status KEY -e {} -o json", MEMBERS, ""),
    (Alike, "status OTHER -e {} -o json", BEHIND, ""),
    (Looks, "status NONE", NOT_THERE, ""),
    (Looks, "status -e nowhere", NOT_THERE, ""),
    (Looks, "status -p nowhere", NOT_THERE, ""),
    (Looks, "status --nonsense", USAGE, ""),
    (Looks, "secret list -e {}", MEMBERS, ""),
    (Looks, "secret list", USAGE, ""),
    (Looks, "secret get KEY -e nowhere", NOT_THERE, ""),
    (Looks, "secret set KEY -e nowhere < {n}", NOT_THERE, ""),
    (Looks, "secret set KEY=hunter2 -e {}", USAGE, ""),
    (Looks, "secret set KEY hunter2 -e {}", USAGE, ""),
    (Looks, "diff {} nowhere", NOT_THERE, ""),
    (Looks, "diff {}", USAGE, ""),
    (Alike, "key list -o json", MEMBERS, ""),
    (Alike, "key list --retired -o json", MEMBERS, ""),
    (Writes, "key define KEY --description {n} --reason x", ADMINS, ""),
    (Looks, "key define NONE --description {n} --reason x", [5, 4, 4, 4, 5], ""),
    (Looks, "key define KEY --reason x", USAGE, ""),
    (Writes, "key retire ENDING --reason x", ADMINS, "secret set ENDING -e staging < {n}"),
    (Looks, "key retire NONE --reason x", [5, 4, 4, 4, 5], ""),
    (Looks, "key retire KEY", USAGE, ""),
    (Alike, "environment list -o json", MEMBERS, ""),
    (Writes, "environment create new-{n}", DEVELOPERS, ""),
    (Looks, "environment create {}", NO_MEMBER, ""),
    (Looks, "environment create second --production", NO_MEMBER, ""),
    (Alike, "member list -o json", MEMBERS, ""),
    (Writes, "member add guest --role viewer", ADMINS, "member add guest --role viewer; member remove guest"),
    (Writes, "member remove guest", ADMINS, "member add guest --role viewer"),
    (Looks, "member add nobody --role viewer", [5, 4, 4, 4, 5], ""),
    (Looks, "member remove nobody", [5, 4, 4, 4, 5], ""),
    (Looks, "member add guest", USAGE, ""),
    (Looks, "project list", EVERYONE, ""),
    (Writes, "project create of-{n}", [0, 0, 4, 0, 0], ""),
    (Looks, "project create shop", NOBODY, ""),
    (Looks, "project archive nowhere", [5, 5, 4, 5, 5], ""),
    (Alike, "registry check -o json", EVERYONE, ""),
    (Looks, "registry check --repair", [0, 0, 4, 0, 0], ""),
    (Looks, "user list", EVERYONE, ""),
    (Looks, "user add mallory", NOBODY, ""),
    (Looks, "user disable ana", NOBODY, ""),
];

/// About values: in dev, then in production.
const VALUES: &[(Row, Codes)] = &[
    ((Looks, "secret get KEY -e {}", MEMBERS, ""), READERS),
    ((Looks, "secret get NONE -e {}", NOT_THERE, ""), [5, 4, 5, 4, 5]),
    ((Looks, "diff {} {}", MEMBERS, ""), READERS),
    ((Looks, "diff {} staging", BEHIND, ""), [5, 4, 3, 4, 3]),
    ((Writes, "secret set KEY -e {} < {n}", DEVELOPERS, ""), ADMINS),
    ((Writes, "secret set KEY -e {} --follow < {n}", DEVELOPERS, "secret set KEY -e staging < {n}"), ADMINS),
    ((Looks, "secret set NONE -e {} --follow < {n}", [5, 4, 4, 5, 5], ""), [5, 4, 4, 4, 5]),
    ((Writes, "secret confirm KEY -e {}", DEVELOPERS, "secret set KEY -e staging < {n}"), ADMINS),
    ((Looks, "secret confirm NONE -e {}", [5, 4, 4, 5, 5], ""), [5, 4, 4, 4, 5]),
    ((Writes, "secret rm GONE -e {}", DEVELOPERS, "secret set GONE -e {} < {n}"), ADMINS),
    ((Looks, "secret rm NONE -e {}", [5, 4, 4, 5, 5], ""), [5, 4, 4, 4, 5]),
    ((Writes, "secret restore GONE -e {}", DEVELOPERS, "secret set GONE -e {} < {n}; secret rm GONE -e {}"), ADMINS),
    ((Looks, "secret restore NONE -e {}", [5, 4, 4, 5, 5], ""), [5, 4, 4, 4, 5]),
    ((Looks, "secret restore KEY -e {}", NO_MEMBER, ""), NO_MEMBER),
    ((Writes, "import -e {} < KEY={n}", DEVELOPERS, ""), ADMINS),
    ((Looks, "import -e {} --dry-run < KEY={n}", DEVELOPERS, ""), ADMINS),
    ((Looks, "import -e {} < no key", [5, 4, 4, 2, 2], ""), [5, 4, 4, 4, 2]),
    ((Writes, "import -e {} --follow < KEY={n}", DEVELOPERS, "secret set KEY -e staging < {n}"), ADMINS),
    (
        (
            Writes,
            "key exempt OTHER -e {} --reason x",
            DEVELOPERS,
            "key exempt OTHER -e {} --reason x; key exempt OTHER -e {} --reason x --undo",
        ),
        ADMINS,
    ),
    ((Writes, "key exempt OTHER -e {} --reason x --undo", DEVELOPERS, "key exempt OTHER -e {} --reason x"), ADMINS),
    ((Looks, "key exempt NONE -e {} --reason x", [5, 4, 4, 5, 5], ""), [5, 4, 4, 4, 5]),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_keeps_to_the_role_in_production_and_elsewhere() {
    let team = stocked("roles").await;
    for place in ["dev", "production"] {
        for (row, production) in VALUES {
            let (verb, typed, dev, before) = *row;
            attempt(&team, place, (verb, typed, if place == "dev" { dev } else { *production }, before)).await;
        }
        for row in PROJECT {
            attempt(&team, place, *row).await;
        }
    }
}

/// What makes production, or ends a project, happens once: nobody takes it back.
#[tokio::test(flavor = "multi_thread")]
async fn only_an_admin_makes_production_and_archives_a_project() {
    let team = stocked("annex").await;
    team.done(&team.ana, &["project", "create", "annex"]).await;
    for (name, membership) in
        [("vic", &["viewer"][..]), ("tidelock", &["admin", "--read-only"]), ("bob", &["developer"])]
    {
        team.done(&team.ana, &[&["member", "add", name, "-p", "annex", "--role"], membership].concat()).await;
    }
    attempt(&team, "", (Writes, "environment create live -p annex --production", ADMINS, "")).await;
    attempt(&team, "", (Writes, "project archive annex", ADMINS, "")).await;
    for typed in ["environment create late -p annex", "secret set KEY -p annex -e live < {n}"] {
        assert_eq!(run(&team, &team.ana, "", typed).await.code, 4, "{typed}: the project is archived");
    }
}

/// A shop where `KEY` has a value of its own everywhere, all in sync, and `OTHER` is in staging alone.
async fn stocked(what: &str) -> Team {
    let team = Team::with_shop(what).await;
    team.done(&team.database.owner, &["user", "add", "guest"]).await;
    for typed in ["secret set KEY -e dev < {n}", "secret set KEY -e staging --follow < {n}"] {
        run(&team, &team.ana, "", typed).await.expect(0);
    }
    run(&team, &team.ana, "", "secret set KEY -e production --follow < {n}").await.expect(0);
    run(&team, &team.ana, "", "secret set OTHER -e staging < {n}").await.expect(0);
    team
}

async fn run(team: &Team, who: &Login, place: &str, typed: &str) -> Finished {
    Typed::new(&typed.replace("{}", place)).run(team, who).await
}

/// Each login's turn at one verb.
async fn attempt(team: &Team, place: &str, (verb, typed, codes, before): Row) {
    let client = team.database.superuser().await;
    let mut ready = false;
    let mut alike: Option<String> = None;
    for (who, code) in [&team.eve, &team.vic, &team.operator, &team.bob, &team.ana].into_iter().zip(codes) {
        if !ready {
            for typed in before.split("; ").filter(|typed| !typed.is_empty()) {
                run(team, &team.ana, place, typed).await.expect(0);
            }
            ready = true;
        }
        let stood = status(&client).await;
        let said = run(team, who, place, typed).await;
        let told = format!("{} in {place}: {typed}: {}{}", who.role, said.stdout, said.stderr);
        assert_eq!(said.code, code, "{told}");
        assert!(!["h1:", "t1:", "hunter2"].iter().any(|value| told.replace(typed, "").contains(value)), "{told}");
        assert!(code < 4 || said.stdout.is_empty(), "{told}");
        if verb == Writes && code == 0 {
            assert_ne!(status(&client).await, stood, "it did nothing: {told}");
            ready = false;
        } else {
            assert_eq!(status(&client).await, stood, "it changed something: {told}");
        }
        if verb == Alike && code < 4 && who.role != team.eve.role {
            assert_eq!(alike.get_or_insert_with(|| said.stdout.clone()), &said.stdout, "{told}");
        }
    }
}

/// Moves with every change.
async fn status(client: &Client) -> (i64, i64) {
    let sql = "SELECT (SELECT sum(revision) FROM tidelock.project_revisions)::bigint,
                   (SELECT count(*) FROM tidelock.audit_logs)";
    let row = client.query_one(sql, &[]).await.expect("the superuser may look");
    (row.get(0), row.get(1))
}
