//! A test can take a server away from one client without taking it from the others.

use std::time::Duration;

use crate::harness::postgres::connect;
use crate::harness::tcp_proxy::TcpProxy;
use crate::harness::{TestDatabase, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_can_be_cut_stalled_and_restored() {
    let database = TestDatabase::empty("proxy").await;
    let proxy = TcpProxy::to(database.postgres().port()).await;
    let url = proxy.reroute(&database.owner.url);
    let session = connect(&url).await.unwrap();
    session.batch_execute("SELECT 1").await.unwrap();

    proxy.stall();
    let mut answer = std::pin::pin!(session.batch_execute("SELECT 1"));
    tokio::time::timeout(Duration::from_millis(200), &mut answer).await.unwrap_err();
    proxy.restore();
    answer.await.unwrap();

    proxy.cut();
    wait_for("the session to end", Duration::from_secs(10), async || {
        session.batch_execute("SELECT 1").await.err().map(drop).ok_or_else(|| "it answers".to_owned())
    })
    .await;
    assert!(connect(&url).await.is_err());
    database.owner.connect().await.batch_execute("SELECT 1").await.unwrap();

    proxy.restore();
    connect(&url).await.unwrap().batch_execute("SELECT 1").await.unwrap();
}
