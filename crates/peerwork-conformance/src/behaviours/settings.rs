//! What is set for groups, users and kinds: kept, changed, read back.

use crate::*;
use peerwork_core::*;
use peerwork_store::*;

fn close(reason: &str) -> SettingChange {
    SettingChange::Close {
        reason: reason.to_owned(),
        by: Some("ann".to_owned()),
        until: None,
        pauses: true,
        ramp: None,
    }
}

fn group(text: &str) -> Scope {
    Scope::Group(name(text))
}

/// A fresh database limits nothing.
pub async fn nothing_is_set_in_the_beginning(f: &Fixture) {
    assert_eq!(f.store.config().await.expect("config"), Config::default());
    let node = f.node().await;
    assert_eq!(f.glance(node).await.version, 0);
}

/// Each scope has a setting of its own, whatever its names are; a glance tells that something was changed.
pub async fn what_is_set_is_read_back_with_a_version_that_rises(f: &Fixture) {
    let node = f.node().await;
    let names = ["", "a", "a ", "A", "O'Hara \"%_\\", "🦀"].map(name);
    let mut scopes = vec![Scope::Everything];
    for one in &names {
        scopes.extend([
            Scope::Group(one.clone()),
            Scope::User(one.clone()),
            Scope::Kind(one.clone()),
            Scope::UserIn {
                group: one.clone(),
                user: names[3].clone(),
            },
        ]);
    }
    let starts = Rate::per_second(2.5, 7).expect("a rate");
    for (i, scope) in scopes.iter().enumerate() {
        let changes = vec![SettingChange::Starts(Some(starts)), close("it is \"late\"")];
        let applied = f.store.set(scope.clone(), changes).await.expect("set");
        assert_eq!(applied.version, i as u64 + 1);
        assert_eq!(f.glance(node).await.version, applied.version);
    }
    let config = f.store.config().await.expect("config");
    assert_eq!(config.version, scopes.len() as u64);
    let mut found: Vec<_> = config
        .settings
        .iter()
        .map(|row| row.scope.clone())
        .collect();
    found.sort_unstable();
    let mut wanted = scopes.clone();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    let gate = Gate {
        reason: "it is \"late\"".to_owned(),
        by: Some("ann".to_owned()),
        since: f.clock.now(),
        until: None,
        pauses: true,
        ramp: None,
    };
    let setting = Setting {
        starts: Some(starts),
        gate: Some(gate),
        ..Setting::default()
    };
    assert!(config.settings.iter().all(|row| row.setting == setting));

    // One is changed, one is cleared, and the rest stays.
    f.set(group("a"), [SettingChange::Open]).await;
    f.set(group("A"), [SettingChange::Clear]).await;
    f.set(group("never"), [SettingChange::Clear]).await;
    let config = f.store.config().await.expect("config");
    assert_eq!(config.settings.len(), scopes.len() - 1);
    let opened = config.settings.iter().find(|row| row.scope == group("a"));
    let wanted = Setting {
        starts: Some(starts),
        ..Setting::default()
    };
    assert_eq!(opened.map(|row| &row.setting), Some(&wanted));
}

/// All of it is made, or nothing.
pub async fn a_change_that_makes_no_sense_changes_nothing(f: &Fixture) {
    let changes = vec![
        SettingChange::MaxRunning(Some(3)),
        SettingChange::Weight(Some(0)),
    ];
    let error = f.store.set(group("g"), changes).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("group \"g\""), "{error}");
    assert_eq!(f.store.config().await.expect("config"), Config::default());
}

/// Where claims may be under way that pass a change over, it is noted until that time has passed and they are counted.
pub async fn what_is_set_settles_in_time(f: &Fixture) {
    let limit = vec![SettingChange::MaxRunning(Some(3))];
    let applied = f.store.set(group("g"), limit).await.expect("set");
    let unsettled = async || {
        let config = f.store.config().await.expect("config");
        config.settings[0].unsettled
    };
    let since = (applied.settles_in_ms > 0).then(|| f.clock.now());
    assert_eq!(unsettled().await, since);
    f.store.settle(group("g")).await.expect("settle");
    assert_eq!(unsettled().await, since, "it is too early");
    f.clock.pass_ms(applied.settles_in_ms);
    f.store.settle(group("g")).await.expect("settle");
    assert_eq!(unsettled().await, None);
    f.store
        .settle(group("never"))
        .await
        .expect("settle nothing");
}

/// It is for nodes to make sense of; no text is too strange to be kept.
pub async fn a_policy_is_kept_as_it_is(f: &Fixture) {
    let policy = async || f.store.config().await.expect("config").policy;
    for (i, text) in ["fair", "priority-ageing=60s", "🦀 'x'"]
        .into_iter()
        .enumerate()
    {
        let applied = f.store.set_policy(Some(text.to_owned())).await;
        assert_eq!(applied.expect("set").version, i as u64 + 1);
        assert_eq!(policy().await.as_deref(), Some(text));
    }
    f.store.set_policy(None).await.expect("set");
    assert_eq!(policy().await, None);
}

/// Two who change different things of one scope at once undo nothing of each other's.
pub async fn racing_changes_of_a_setting_are_all_made(f: &Fixture) {
    let handles = f.handles(4).await;
    let changes = [
        SettingChange::MaxRunning(Some(1)),
        SettingChange::MaxRunningPerNode(Some(2)),
        SettingChange::Weight(Some(3)),
        SettingChange::Starts(Some(Rate::per_second(4.0, 4).expect("a rate"))),
    ];
    let all = handles.iter().zip(changes);
    let all = all.map(|(store, change)| store.set(group("g"), vec![change]));
    for applied in futures_util::future::join_all(all).await {
        applied.expect("set");
    }
    let config = f.store.config().await.expect("config");
    assert_eq!(config.version, 4);
    let setting = &config.settings[0].setting;
    assert_eq!(
        (
            setting.max_running,
            setting.max_running_per_node,
            setting.weight
        ),
        (Some(1), Some(2), Some(3))
    );
    assert!(setting.starts.is_some());
}
