//! A schema that is not as its migrations make it, as a person hears of it.

use crate::snapshot::assert_reads;
use crate::stage::Team;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_different_about_the_schema_is_told_by_migrate_by_its_check_and_by_registry_check() {
    let team = Team::with_shop("drift").await;
    let owner = &team.database.owner;
    team.run(&team.bob, &["registry", "check"]).await.expect(0);
    let admin = team.database.superuser().await;
    admin
        .batch_execute(
            "ALTER TABLE tidelock.schema_floor ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
             ALTER TABLE tidelock.secrets DISABLE TRIGGER stamp",
        )
        .await
        .unwrap();
    let said = team.run(owner, &["migrate", "--check"]).await.expect(1);
    assert_reads!("migrate-of-another-schema", said.stderr);
    assert_eq!(team.run(owner, &["migrate"]).await.expect(1).stderr, said.stderr);
    for who in [&team.bob, &team.eve, owner] {
        let said = team.run(who, &["registry", "check"]).await.expect(3);
        assert_reads!("registry-check-of-another-schema", format!("{}{}", said.stdout, said.stderr));
    }
    let found = team.run(&team.bob, &["registry", "check", "-o", "json"]).await.expect(3).json();
    let remedies: Vec<&str> = found.as_array().unwrap().iter().map(|found| found["remedy"].as_str().unwrap()).collect();
    let said = team.run(&team.bob, &["status"]).await.expect(1);
    assert_reads!("schema-answers-nothing", said.stderr);

    admin.batch_execute(&remedies.join(";")).await.unwrap();
    team.run(&team.bob, &["registry", "check"]).await.expect(0);
    team.run(owner, &["migrate"]).await.expect(0);
}
