//! A key's times only grow, whatever the clock does, to the microsecond.

use super::*;

/// Every time that a write gave the key, in the order of the writes. Values are never repeated in these tests, so each
/// write but the newest of a row has left a version behind.
async fn is_strictly_growing(shop: &Shop, times: &[String]) {
    let list = times.iter().map(|time| format!("'{time}'::timestamptz")).collect::<Vec<_>>().join(", ");
    let falls = format!(
        "SELECT count(*) FROM (SELECT t, lag(t) OVER (ORDER BY n) AS before FROM unnest(ARRAY[{list}]) WITH ORDINALITY AS x(t, n)) y
         WHERE t <= before"
    );
    assert_eq!(shop.cell(&falls).await, "0", "{times:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn times_grow_strictly_though_the_clock_goes_back_an_hour() {
    let shop = Shop::open("clock-back").await;
    for place in ["dev", "staging"] {
        shop.ana(&begun(&insert(place, "API_KEY", &format!("first in {place}"), "NULL"))).await;
    }
    let superuser = shop.superuser().await;
    // As the counter stands after a write by a clock that was an hour ahead and has been set right since.
    done(&superuser, "UPDATE project_revisions SET changed_at = clock_timestamp() + interval '1 hour'").await;

    let mut times = vec![shop.cell(&format!("SELECT {}", newest("API_KEY"))).await];
    for round in 0..20 {
        let place = ["dev", "staging"][round % 2];
        shop.ana(&begun(&update(place, "API_KEY", &format!("{round}"), "NULL"))).await;
        times.push(shop.cell(&format!("SELECT {}", newest("API_KEY"))).await);
        let (new, old) = if round % 2 == 0 { ("dev", "staging") } else { ("staging", "dev") };
        let states = shop.states("API_KEY").await;
        assert!(states.contains(&format!("{new}=InSync")) && states.contains(&format!("{old}=Stale")), "{states}");
    }
    is_strictly_growing(&shop, &times).await;
    assert_eq!(
        shop.cell(&format!("SELECT {} > clock_timestamp() + interval '59 minutes'", newest("API_KEY"))).await,
        "t"
    );
    let log = rows(&shop.ana, "SELECT at FROM revision_log ORDER BY revision").await;
    is_strictly_growing(&shop, &log).await;
    let last = "SELECT max(at) > clock_timestamp() + interval '59 minutes' FROM revision_log";
    assert_eq!(shop.cell(last).await, "t", "the log goes on from there, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_ahead_of_its_project_is_passed_all_the_same() {
    let shop = Shop::open("key-ahead").await;
    for place in ["dev", "staging"] {
        shop.ana(&begun(&insert(place, "API_KEY", place, "NULL"))).await;
    }
    let superuser = shop.superuser().await;
    done(
        &superuser,
        "ALTER TABLE project_secret_registry DISABLE TRIGGER USER;
         UPDATE project_secret_registry SET last_updated_at = clock_timestamp() + interval '1 hour';
         ALTER TABLE project_secret_registry ENABLE ALWAYS TRIGGER stamp;
         ALTER TABLE project_secret_registry ENABLE ALWAYS TRIGGER settle",
    )
    .await;
    let mut times = vec![shop.cell(&format!("SELECT {}", newest("API_KEY"))).await];
    for (place, other) in [("dev", "staging"), ("staging", "dev")] {
        shop.ana(&begun(&update(place, "API_KEY", &format!("next in {place}"), "NULL"))).await;
        times.push(shop.cell(&format!("SELECT {}", newest("API_KEY"))).await);
        let states = shop.states("API_KEY").await;
        assert!(states.contains(&format!("{place}=InSync")) && states.contains(&format!("{other}=Stale")), "{states}");
    }
    shop.ana(&begun(&format!("UPDATE secrets SET deleted_at = now() WHERE {}", live("dev", "API_KEY")))).await;
    times.push(shop.cell(&format!("SELECT {}", newest("API_KEY"))).await);
    shop.ana(&begun("UPDATE project_secret_registry SET description = 'described'")).await;
    times.push(shop.cell(&format!("SELECT {}", newest("API_KEY"))).await);
    is_strictly_growing(&shop, &times).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_changes_in_one_transaction_have_different_times() {
    let shop = Shop::open("one-transaction").await;
    shop.ana(&begun(&insert("dev", "API_KEY", "one", "NULL"))).await;
    for tracking in ["tracked", "independent"] {
        shop.ana(&begun(&format!("UPDATE project_secret_registry SET tracking = '{tracking}'"))).await;
        let time = format!("SELECT updated_at FROM secrets WHERE {}", live("dev", "API_KEY"));
        done(&shop.ana, "BEGIN").await;
        shop.ana(&begun(&update("dev", "API_KEY", &format!("two {tracking}"), "NULL"))).await;
        let first = shop.cell(&time).await;
        shop.ana(&update("dev", "API_KEY", &format!("three {tracking}"), "NULL")).await;
        let second = shop.cell(&time).await;
        done(&shop.ana, "COMMIT").await;
        is_strictly_growing(&shop, &[first, second]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn microseconds_are_kept_from_the_write_to_the_follow() {
    let shop = Shop::open("microseconds").await;
    let mut odd = 0;
    for round in 0..20 {
        let key = format!("KEY_{round}");
        shop.ana(&begun(&insert("dev", &key, "one", "NULL"))).await;
        let look = shop.cell(&format!("SELECT {}", newest(&key))).await;
        shop.ana(&begun(&insert("staging", &key, "other", &format!("'{look}'")))).await;
        let equal = format!("SELECT count(DISTINCT updated_at) FROM secrets WHERE key = '{key}'");
        assert_eq!(shop.cell(&equal).await, "1", "the follower has exactly the time that it answers");
        let micros = shop.cell(&format!("SELECT extract(microseconds FROM {})::bigint % 1000", newest(&key))).await;
        odd += usize::from(micros != "0");
    }
    assert!(odd > 10, "only {odd} of 20 times are finer than a millisecond");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_does_not_choose_its_times() {
    let shop = Shop::open("no-choice").await;
    let forged = insert("dev", "API_KEY", "one", "NULL")
        .replace(", answers)", ", answers, updated_at, created_at)")
        .replace(", NULL FROM", ", NULL, '2040-01-01', '1990-01-01' FROM");
    shop.ana(&begun(&forged)).await;
    shop.ana(&begun(&update("dev", "API_KEY", "two", "NULL").replace("SET ", "SET updated_at = '2040-01-01', "))).await;
    let near = "clock_timestamp() - interval '1 hour' AND clock_timestamp()";
    let times = format!("SELECT updated_at BETWEEN {near} AND created_at BETWEEN {near} FROM secrets");
    assert_eq!(shop.cell(&times).await, "t");

    shop.ana(&begun("UPDATE environments SET deleted_at = '2040-01-01' WHERE name = 'dev'")).await;
    let tombstone = format!("SELECT deleted_at BETWEEN {near} FROM environments WHERE name = 'dev'");
    assert_eq!(shop.cell(&tombstone).await, "t", "a tombstone proves something only by its time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_is_newer_than_what_its_own_transaction_wrote_before() {
    let shop = Shop::open("define-ahead").await;
    shop.ana(&begun(&insert("dev", "API_KEY", "one", "NULL"))).await;
    shop.ana(&begun("UPDATE project_secret_registry SET tracking = 'independent'")).await;
    let [two, three] = ["two", "three"].map(|value| update("dev", "API_KEY", value, "NULL"));
    shop.ana(&begun(&format!("{two}; {three}; UPDATE project_secret_registry SET tracking = 'tracked'"))).await;
    assert_eq!(shop.states("API_KEY").await, "dev=Stale production=Missing staging=Missing");
}
