//! The API server is away for a minute: how soon after its return the first delivery comes.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::figures::{Figures, millis};
use crate::harness::tcp_proxy::TcpProxy;
use crate::stage::Stage;

const AWAY: Duration = Duration::from_mins(1);

pub(crate) async fn measure(figures: &mut Figures) {
    let stage = Stage::with_shop("bench-recovery").await;
    stage.team.set("dev", "A", "start").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let (namespace, account) = stage.account();
    let token = stage.cluster.token(namespace, account).await;
    let kubeconfig = stage.cluster.kubeconfig("recovery", &token);
    let text = fs::read_to_string(&kubeconfig).expect("it was just written");
    let port = text.split("https://127.0.0.1:").nth(1).expect("an address").split(|c: char| !c.is_ascii_digit()).next();
    let proxy = TcpProxy::to(port.and_then(|port| port.parse().ok()).expect("a port")).await;
    fs::write(&kubeconfig, proxy.reroute(&text)).expect("it can be written");
    let operator = stage.operator_with(&[("RUST_LOG", "info"), ("KUBECONFIG", &kubeconfig.to_string_lossy())]).await;
    stage.secret_has("app", &[("A", "start")]).await;
    stage.binding_is("app", &["Ready=True"]).await;
    for (how, value) in [("refuses", "cut"), ("is silent", "stalled")] {
        if value == "cut" {
            proxy.cut();
        } else {
            proxy.stall();
        }
        stage.team.set("dev", "A", value).await;
        // So long, and not until something has happened: the pauses of whoever asks again have grown by then.
        tokio::time::sleep(AWAY).await;
        proxy.restore();
        let back = Instant::now();
        stage.secret_has("app", &[("A", value)]).await;
        let what = format!("the API server {how} for 60 s: from its return to the first delivery");
        figures.add(&what, &millis(back.elapsed()), "5 s");
        stage.binding_is("app", &["Ready=True"]).await;
    }
    operator.stop();
}
