//! `make demo`: the main job, step by step, on a real control plane and a real PostgreSQL.
//!
//! Every step is a command that a person could type, shown with what it prints. Nothing here is staged: where something
//! does not happen within its deadline, the demo fails and says what it saw last.

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../stage/mod.rs"]
mod stage;

mod scene;
mod screen;

use std::process::ExitCode;

use anyhow::Result;

use scene::Scene;
use screen::{heading, note};

#[tokio::main]
async fn main() -> ExitCode {
    match play().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("\nThe demo stopped: {why:#}");
            ExitCode::FAILURE
        }
    }
}

async fn play() -> Result<()> {
    heading("Starting PostgreSQL and a Kubernetes control plane, on loopback only");
    let scene = Scene::set().await?;

    heading("A registry: the owner of the database migrates it and adds people");
    scene.registry().await?;

    heading("A project with three environments, and its secrets");
    scene.type_in("ana", &["project", "create", "shop"], "").await?;
    scene.type_in("ana", &["environment", "create", "dev"], "").await?;
    scene.type_in("ana", &["environment", "create", "staging"], "").await?;
    scene.type_in("ana", &["environment", "create", "production", "--production"], "").await?;
    scene.type_in("ana", &["member", "add", "tidelock", "--role", "admin", "--read-only"], "").await?;
    let dotenv = "DATABASE_URL=postgres://shop:s3cret@db/shop\nSESSION_KEY=6f1ed002ab5595859014ebf0951522d9\nSENTRY_DSN=https://k@sentry.example/1\n";
    scene.type_in("ana", &["import", "-", "-e", "dev"], dotenv).await?;
    for environment in ["staging", "production"] {
        scene.type_in("ana", &["import", "-", "-e", environment, "--follow"], dotenv).await?;
    }
    scene.type_in("ana", &["status"], "").await?;

    heading("The custom resources: the platform team grants, the application team binds");
    scene.apply_resources().await?;
    scene.apply_workload().await?;

    heading("The operator starts, and the Secrets appear");
    let operator = scene.operator()?;
    scene.secret_appears().await?;
    scene.kubectl(&["get", "secret", "shop", "--namespace", "shop-dev"]).await?;
    scene.kubectl(&["get", "projectenvironments"]).await?;

    heading("Somebody sets a value in dev");
    scene.change_arrives().await?;

    heading("The Deployment web takes it as an environment variable: it is restarted once, some seconds later");
    scene.restart_comes().await?;

    heading("staging and production are behind, and say so, with the key");
    scene.wait_in_sync("staging", "False").await?;
    scene.wait_in_sync("production", "False").await?;
    scene.kubectl(&["get", "projectenvironments"]).await?;
    scene.show_out_of_sync("production").await?;
    scene.type_in_and_expect("ana", &["status"], "", 3).await?;

    heading("staging follows with a value of its own; production looked, and keeps its value");
    scene
        .type_in(
            "ana",
            &["secret", "set", "DATABASE_URL", "-e", "staging", "--follow"],
            "postgres://shop:n3w@staging-db/shop\n",
        )
        .await?;
    scene
        .type_in(
            "ana",
            &["secret", "confirm", "DATABASE_URL", "-e", "production", "--reason", "production keeps its own"],
            "",
        )
        .await?;
    for environment in ["dev", "staging", "production"] {
        scene.wait_in_sync(environment, "True").await?;
    }
    scene.kubectl(&["get", "projectenvironments"]).await?;
    scene.kubectl(&["get", "secretbindings", "--namespace", "shop-dev"]).await?;

    if scene.keeps_running() {
        scene.print_how_to_go_on()?;
        tokio::signal::ctrl_c().await?;
        note("Ending the operator and the servers.");
    }
    drop(operator);
    scene.clean_up().await
}
