//! Measurements of the exchange with each peer.
use super::{
    node::{Kind, builders, within},
    p,
};
use crate::Error;
use futures::StreamExt;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gauges_say_what_a_peer_owes_and_how_far_away_it_is() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let (mut nodes, mut handles) = (Vec::new(), Vec::new());
        for mut builder in builders(kind, 2) {
            handles.push(builder.best_effort::<String>("news").unwrap());
            nodes.push(builder.start().await.unwrap());
        }
        let mut status = nodes[0].status();
        within(status.wait_for(|now| now.connected().len() == 1))
            .await
            .unwrap();
        let gauges = nodes[0].gauges();
        let news = handles[0].0.clone();
        within(news.broadcast("hello".to_owned())).await.unwrap();
        within(handles[1].1.next()).await.unwrap().unwrap();
        // The message is acknowledged: a round trip was measured, and no bytes are unacknowledged.
        let near = within(async {
            loop {
                let now = gauges.read().await.unwrap();
                if now[0].owed == 0 && now[0].round_trip.is_some() {
                    return now;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        assert_eq!((near.len(), near[0].peer), (1, p(2)));
        assert!(near[0].window > 0 && near[0].in_flight == 0, "{near:?}");
        assert!(near[0].round_trip < Some(Duration::from_secs(30)));
        nodes[0].faults().cut(p(2));
        let long = "x".repeat(100_000);
        within(news.broadcast(long)).await.unwrap();
        let owing = within(async {
            loop {
                let now = gauges.read().await.unwrap();
                if now[0].owed > 0 {
                    return now[0];
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        assert!((100_000..200_000).contains(&owing.owed), "{owing:?}");
        nodes.remove(0).shutdown().await.unwrap();
        let stopped = gauges.read().await;
        assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
    }
}
