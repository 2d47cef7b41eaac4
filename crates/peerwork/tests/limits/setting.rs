//! What users see of settings: mistakes, and who may change them.

use crate::kit::{Place, Puppet, Stage};
use peerwork::{Handler, Rate, Scope};
use std::time::{Duration, SystemTime};

on_every_database!(
    a_setting_that_makes_no_sense_is_refused_with_its_reason,
    several_changes_are_made_together,
    ga_20_only_so_many_start_a_second,
);

async fn a_setting_that_makes_no_sense_is_refused_with_its_reason(place: Place) {
    let client = place.client().await;
    let past = SystemTime::from(client.now().await.unwrap()) - Duration::from_secs(1);
    let of_ann = client.of_user("ann").unwrap();
    let refused = [
        (client.group("g\0").limit(1), "NUL"),
        (client.everything().limit(1), "slots"),
        (client.group("g").weight(0), "weight of 0"),
        (client.group("g").starts_per_second(0.0), "0.001"),
        (client.group("g").starts_per_second(1.0).burst(0), "burst"),
        (client.group("g").burst(5), "starts_per_second"),
        (client.group("g").limit(1).by("ann"), "gate"),
        (client.group("g").gate("x").until(past), "later"),
        (
            client.group("g").gate("x").ramp(-1.0, Duration::ZERO),
            "0.001",
        ),
        (of_ann.user("ann").limit(1), "one user"),
    ];
    for (change, why) in refused {
        let error = change.await.unwrap_err();
        assert!(error.is_invalid(), "{error}");
        assert!(error.to_string().contains(why), "{error}: {why}");
    }
    assert_eq!(
        client.settings().await.unwrap(),
        peerwork::Config::default()
    );
}

async fn several_changes_are_made_together(place: Place) {
    let client = place.client().await;
    let change = client.user("ann").limit(5).limit_per_node(2).weight(3);
    change.starts_per_second(10.0).burst(20).await.unwrap();
    let config = client.settings().await.unwrap();
    assert_eq!((config.version, config.settings.len()), (1, 1));
    let row = &config.settings[0];
    assert_eq!(row.scope.to_string(), "user \"ann\"");
    let setting = &row.setting;
    assert_eq!(
        (
            setting.max_running,
            setting.max_running_per_node,
            setting.weight
        ),
        (Some(5), Some(2), Some(3))
    );
    let rate = Rate {
        per_1000_s: 10_000,
        burst: 20,
    };
    assert_eq!((setting.starts, row.unsettled), (Some(rate), None));
    client
        .scope_of(Scope::clone(&row.scope))
        .clear()
        .await
        .unwrap();
    assert_eq!(client.settings().await.unwrap().settings, []);
}

async fn ga_20_only_so_many_start_a_second(place: Place) {
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a")).slots(16);
    let node = node.start().await.unwrap();
    let client = place.client().await;
    client
        .group("g")
        .starts_per_second(20.0)
        .burst(5)
        .await
        .unwrap();
    let begun = client.now().await.unwrap();
    let drafts = (0..12).map(|_| Puppet::task(String::new()).user("ann").group("g"));
    client.create_many(drafts).await.unwrap();
    let running = stage.take(12).await;
    let took_ms = client.now().await.unwrap().ms_since(begun);
    assert!(took_ms >= 300, "seven after the burst, in {took_ms} ms");
    drop(running);
    node.drain().await;
}
