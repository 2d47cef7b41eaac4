//! What the commands do and print, on a SQLite file.

mod kit;

use kit::{Add, Fail, Hold, Place, peerwork};
use peerwork::{Draft, Handler, State, TaskHandle};
use serde_json::json;
use std::process::Stdio;

async fn held(place: &Place, user: &str, group: &str) -> TaskHandle {
    let draft = Draft::of_kind("encode", &()).user(user).group(group).hold();
    place.client.create(draft).await.unwrap()
}

#[tokio::test]
async fn a_list_is_one_json_object_a_line_newest_first_with_stable_fields() {
    let place = Place::new().await;
    let first = held(&place, "ann", "films").await;
    let second = held(&place, "bob \"b\"", "").await;
    let listed = place.run("task list -o json").await;
    let lines = listed.assert_done().json();
    let ids: Vec<_> = lines.iter().map(|line| line["id"].clone()).collect();
    assert_eq!(ids, [json!(second.id()), json!(first.id())]);
    assert_eq!(lines[0]["user"], "bob \"b\"");
    let created_at = lines[1]["created_at"].as_str().unwrap();
    let expected = format!(
        r#"{{"id":"{}","kind":"encode","user":"ann","group":"films","priority":0,"state":"created","status":"created","attempt":0,"failures":0,"crashes":0,"progress":null,"node":null,"parent":null,"created_at":"{created_at}","wake_at":null,"started_at":null,"finished_at":null,"error":null}}"#,
        first.id()
    );
    assert_eq!(listed.lines()[1], expected);
    let text = place.run("task list").await;
    assert!(
        text.out.contains(r#""bob \"b\"""#) && text.out.starts_with("ID "),
        "{text:?}"
    );
}

#[tokio::test]
async fn a_list_goes_on_after_the_last_task_of_a_page() {
    let place = Place::new().await;
    for _ in 0..5 {
        held(&place, "ann", "films").await;
    }
    let all = place.run("task list -o json").await.json();
    let first = place.run("task list --limit 2").await;
    let last = all[1]["id"].as_str().unwrap();
    assert!(first.err.contains(&format!("--after {last}")), "{first:?}");
    let rest = place
        .run(&format!("task list -o json --after {last}"))
        .await;
    assert_eq!(rest.json(), all[2..]);
}

#[tokio::test]
async fn filters_and_the_scope_of_a_user_are_exact() {
    let place = Place::new().await;
    let films = held(&place, "ann", "films").await;
    held(&place, "ann", "books").await;
    let other = held(&place, "bob", "films").await;
    films.pause().await.unwrap();
    let count = async |line: &str| place.run(line).await.assert_done().lines().len();
    assert_eq!(count("task list -o json --user ann").await, 2);
    assert_eq!(
        count("task list -o json --user ann --group films --kind encode").await,
        1
    );
    assert_eq!(
        count("task list -o json --state paused --state failed").await,
        1
    );
    assert_eq!(count("task list -o json --kind other").await, 0);
    assert_eq!(count("task list -o json --as-user bob").await, 1);
    assert_eq!(count("task list -o json --as-user bob --user ann").await, 0);
    let get = place
        .run(&format!("task get {} --as-user ann", other.id()))
        .await;
    get.assert_error(3, "does not exist");
    let deleted = place
        .run(&format!("task delete {} --as-user ann", other.id()))
        .await;
    deleted.assert_error(3, "does not exist");
    assert_eq!(place.state(other.id()).await, State::Created);
}

#[tokio::test]
async fn named_tasks_are_steered_and_each_that_refuses_is_an_error() {
    let place = Place::new().await;
    let node = place.node().await;
    let finished = place.client.create(Add::task((1, 2))).await.unwrap();
    assert_eq!(finished.result().await.unwrap(), 3);
    let (task, gone) = (
        held(&place, "ann", "films").await,
        held(&place, "ann", "films").await,
    );
    let paused = place
        .run(&format!("task pause {} -o json", task.id()))
        .await;
    assert_eq!(
        paused.assert_done().json(),
        [json!({"id": task.id(), "status": "paused"})]
    );
    let moved = place
        .run(&format!("task move --to books {} {}", task.id(), gone.id()))
        .await;
    assert_eq!(moved.assert_done().lines().len(), 2);
    assert_eq!(task.get().await.unwrap().group.as_str(), "books");
    place
        .run(&format!("task resume {}", task.id()))
        .await
        .assert_done();
    place
        .run(&format!("task delete {}", gone.id()))
        .await
        .assert_done();
    assert_eq!(place.state(gone.id()).await, State::Deleted);
    let refused = place
        .run(&format!("task pause {} {}", task.id(), finished.id()))
        .await;
    refused.assert_error(1, "already finished");
    assert_eq!(refused.lines().len(), 1, "the other one was paused");
    place
        .run(&format!("task rerun {}", finished.id()))
        .await
        .assert_done();
    assert_eq!(finished.result().await.unwrap(), 3);
    node.drain().await;
}

#[tokio::test]
async fn a_filter_changes_nothing_until_it_is_confirmed() {
    let place = Place::new().await;
    let ann = [
        held(&place, "ann", "films").await,
        held(&place, "ann", "films").await,
    ];
    let bob = held(&place, "bob", "films").await;
    let asked = place.run("task delete --user ann").await;
    asked.assert_error(2, "the filter means 2 tasks");
    assert!(asked.err.contains("--all-matching"));
    assert_eq!(place.state(ann[0].id()).await, State::Created);
    place
        .run("task delete --all-matching")
        .await
        .assert_error(2, "every task there is");
    place
        .run("task delete")
        .await
        .assert_error(2, "no task was named");
    let both = format!("task delete {} --user ann --all-matching", bob.id());
    place.run(&both).await.assert_error(2, "together");
    let deleted = place
        .run("task delete --user ann --all-matching -o json")
        .await;
    let counts = json!({"changed": 2, "unchanged": 0, "refused": 0});
    assert_eq!(deleted.assert_done().json(), [counts]);
    assert_eq!(place.state(ann[1].id()).await, State::Deleted);
    assert_eq!(place.state(bob.id()).await, State::Created);
}

#[tokio::test]
async fn a_cleanup_that_failed_is_seen_and_can_be_forced() {
    let place = Place::new().await;
    let node = place.node().await;
    let task = place.client.create(Hold::task(())).await.unwrap();
    let id = task.id();
    place
        .run(&format!("task wait {id} --until running"))
        .await
        .assert_done();
    place.run(&format!("task delete {id}")).await.assert_done();
    place
        .run(&format!(
            "task wait {id} --until delete_failed --timeout 60"
        ))
        .await
        .assert_done();
    let page = place.run(&format!("task get {id}")).await;
    assert!(page.out.contains("the broom is broken"), "{page:?}");
    place
        .run(&format!("task delete {id} --force"))
        .await
        .assert_done();
    place
        .run(&format!("task wait {id} --until deleted"))
        .await
        .assert_done();
    place
        .run(&format!("task wait {id}"))
        .await
        .assert_error(3, "deleted");
    node.drain().await;
}

#[tokio::test]
async fn waiting_ends_with_what_became_of_the_task() {
    let place = Place::new().await;
    let node = place.node().await;
    let good = place.client.create(Add::task((2, 3))).await.unwrap();
    let waited = place.run(&format!("task wait {} -o json", good.id())).await;
    assert_eq!(waited.assert_done().json()[0]["state"], "finished");
    let bad = place.client.create(Fail::task(())).await.unwrap();
    let waited = place
        .run(&format!("task wait {} {}", good.id(), bad.id()))
        .await;
    waited.assert_error(5, "the disk is on fire");
    let never = held(&place, "ann", "films").await;
    let waited = place
        .run(&format!("task wait {} --timeout 0", never.id()))
        .await;
    waited.assert_error(6, "0 seconds were up");
    let paused = format!("task wait {} --until paused", good.id());
    place.run(&paused).await.assert_error(1, "already finished");
    node.drain().await;
}

#[tokio::test]
async fn a_followed_task_is_printed_at_every_change_until_it_is_over() {
    let place = Place::new().await;
    let task = held(&place, "ann", "films").await;
    let mut follow = place.command(&format!("task follow {} -o json", task.id()));
    let mut follow = follow.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(follow.stdout.take().unwrap()));
    let mut state = || -> String {
        let line: serde_json::Value =
            serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        line["state"].as_str().unwrap().to_owned()
    };
    // Each line is the signal for the next change.
    assert_eq!(state(), "created");
    task.pause().await.unwrap();
    assert_eq!(state(), "paused");
    task.delete().await.unwrap();
    // The kind is not known here, so its cleanup waits for a node: force it.
    assert_eq!(state(), "deleting");
    task.force_delete().await.unwrap();
    assert_eq!(state(), "deleted");
    assert_eq!(follow.wait().unwrap().code(), Some(3));
}

#[tokio::test]
async fn everything_about_a_task_is_shown_with_its_payloads_on_request() {
    let place = Place::new().await;
    let node = place.node().await;
    let task = place
        .client
        .create(Add::task((4, 5)).user("ann"))
        .await
        .unwrap();
    task.result().await.unwrap();
    let page = place
        .run(&format!("task get {} --payloads -o json", task.id()))
        .await;
    let page = &page.assert_done().json()[0];
    assert_eq!(page["input"], json!([4, 5]));
    assert_eq!(page["checkpoint"], "added");
    assert_eq!(page["output"], 9);
    assert_eq!(page["errors"], json!([]));
    let without = place.run(&format!("task get {} -o json", task.id())).await;
    assert!(without.json()[0].get("input").is_none());
    let failed = place.client.create(Fail::task(())).await.unwrap();
    failed.until(State::Failed).await.unwrap();
    let page = place
        .run(&format!("task get {} -o json", failed.id()))
        .await;
    assert_eq!(page.json()[0]["errors"][0]["error"], "the disk is on fire");
    node.drain().await;
}

#[tokio::test]
async fn nodes_are_listed_with_what_they_hold() {
    let place = Place::new().await;
    assert_eq!(place.run("node list -o json").await.assert_done().out, "");
    let node = place.node().await;
    let task = place.client.create(Hold::task(())).await.unwrap();
    task.until(State::Running).await.unwrap();
    let lines = place.run("node list -o json").await.assert_done().json();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["id"], json!(node.id()));
    assert_eq!(
        (&lines[0]["state"], &lines[0]["held"]),
        (&json!("alive"), &json!(1))
    );
    assert!(place.run("node list").await.out.contains("alive"));
    node.drain().await;
}

#[tokio::test]
async fn the_schema_is_made_looked_at_and_printed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("new.db");
    let run = |words: &[&str]| -> kit::Ran {
        let url = format!("sqlite:{}", file.display());
        let mut command = peerwork();
        command.args(words).env("PEERWORK_DATABASE_URL", url);
        command.output().unwrap().into()
    };
    let sql = run(&["migrate", "sql", "--prefix", "films_"]);
    assert!(sql.assert_done().out.contains("films_task"));
    assert!(!file.exists(), "printing needs no database");
    run(&["migrate", "status"]).assert_error(4, "there is no file");
    std::fs::write(&file, "").unwrap();
    let missing = run(&["migrate", "status", "-o", "json"]);
    assert_eq!(
        (missing.code, &missing.json()[0]["state"]),
        (4, &json!("missing"))
    );
    run(&["task", "list"]).assert_error(4, "migrate up");
    let up = run(&["migrate", "up", "-o", "json"]);
    assert_eq!(up.assert_done().json()[0]["state"], "current");
    run(&["migrate", "up"]).assert_done();
    run(&["migrate", "status"]).assert_done();
    run(&["task", "list"]).assert_done();
    run(&["task", "list", "--prefix", "films_"]).assert_error(4, "migrate up");
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_error() {
    let place = Place::new().await;
    for _ in 0..3 {
        held(&place, "ann", "films").await;
    }
    let mut list = place.command("task list -o json");
    let mut list = list
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(list.stdout.take());
    let output = list.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn settings_are_set_listed_and_cleared() {
    let place = Place::new().await;
    let set = "setting set --group films --limit 5 --starts-per-second 2.5 --burst 4 --weight 3";
    place.run(set).await.assert_done();
    let gate = "setting gate --user ann --group films --reason holidays --by bob --seconds 600";
    place.run(gate).await.assert_done();
    let listed = place.run("setting list -o json").await.json();
    let of_films = listed.iter().find(|line| line["user"].is_null()).unwrap();
    let expected = json!({
        "group": "films", "user": null, "kind": null, "limit": 5, "limit_per_node": null,
        "starts_per_second": 2.5, "burst": 4, "weight": 3, "gate": null,
    });
    assert_eq!(*of_films, expected);
    let of_ann = listed.iter().find(|line| line["user"] == "ann").unwrap();
    assert_eq!(of_ann["gate"]["reason"], "holidays");
    let text = place.run("setting list").await;
    assert!(text.out.contains("by bob: holidays"), "{text:?}");

    place
        .run("setting set --group films --limit none")
        .await
        .assert_done();
    place
        .run("setting open --user ann --group films")
        .await
        .assert_done();
    let listed = place.run("setting list -o json").await.json();
    assert_eq!((listed.len(), &listed[0]["limit"]), (1, &json!(null)));
    place.run("setting clear --group films").await.assert_done();
    assert_eq!(
        place.run("setting list -o json").await.json(),
        [json!(null); 0]
    );
    let nowhere = place.run("setting open").await;
    nowhere.assert_error(2, "--everything");
    let senseless = place.run("setting set --everything --limit 5").await;
    senseless.assert_error(2, "slots");
    let forever = "setting gate --everything --reason ever --seconds 18446744073709551615";
    place.run(forever).await.assert_error(2, "--seconds");
}

#[tokio::test]
async fn a_policy_is_chosen_shown_and_given_up() {
    let place = Place::new().await;
    place.run("setting policy fair").await.assert_done();
    let listed = place.run("setting list").await;
    assert!(
        listed.err.contains("the policy of all nodes is fair"),
        "{listed:?}"
    );
    place
        .run("setting policy fair=3")
        .await
        .assert_error(2, "its name alone");
    place.run("setting policy --own").await.assert_done();
    let listed = place.run("setting list").await;
    assert!(!listed.err.contains("policy"), "{listed:?}");
    place.run("setting policy").await.assert_error(2, "--own");
}

#[tokio::test]
async fn a_task_that_does_not_run_is_explained() {
    let place = Place::new().await;
    let draft = Draft::of_kind("encode", &()).user("ann").group("films");
    let task = place.client.create(draft).await.unwrap();
    let id = task.id();
    let set = "setting set --group films --limit 0";
    place.run(set).await.assert_done();
    let gate = "setting gate --user ann --reason holidays --by bob --seconds 600";
    place.run(gate).await.assert_done();

    // One sentence about what binds most, and a line for each other cause.
    let text = place.run(&format!("task explain {id}")).await;
    let lines = text.assert_done().lines();
    assert!(lines[0].starts_with("queued: no node is alive"), "{text:?}");
    assert!(
        lines[1].starts_with(r#"also: the gate of user "ann" is closed"#),
        "{text:?}"
    );
    assert_eq!(
        lines[2..],
        [
            r#"also: 0 of 0 run under the limit of group "films", and 0 tasks are ahead of it in its lane"#
        ]
    );
    let told = place.run(&format!("task explain {id} --json")).await;
    let told = &told.assert_done().json()[0];
    assert_eq!(told["sentence"], lines[0]);
    assert_eq!(
        (&told["id"], &told["state"], &told["status"]),
        (&json!(id), &json!("queued"), &json!("queued"))
    );
    let [no_node, gate, limit] = &told["causes"].as_array().unwrap()[..] else {
        panic!("{told}");
    };
    assert_eq!(
        (&no_node["cause"], &no_node["kind"], &no_node["live_nodes"]),
        (&json!("no_node"), &json!("encode"), &json!(0))
    );
    assert_eq!(gate["cause"], "gate");
    assert_eq!(
        gate["scope"],
        json!({"group": null, "user": "ann", "kind": null})
    );
    assert_eq!(gate["gate"]["reason"], "holidays");
    assert_eq!(gate["gate"]["by"], "bob");
    assert_eq!((&limit["limit"], &limit["running"]), (&json!(0), &json!(0)));
    assert_eq!(limit["ahead"], json!({"n": 0, "at_least": false}));
    assert_eq!(
        told["starts"],
        json!(null),
        "nobody knows when a node comes"
    );

    // Who acts for a user learns no names of others, and nothing of others' tasks.
    let anns = format!("task explain {id} --as-user ann -o json");
    let anns = place.run(&anns).await;
    assert!(!anns.assert_done().out.contains("bob"), "{anns:?}");
    let bobs = place.run(&format!("task explain {id} --as-user bob")).await;
    bobs.assert_error(3, "does not exist");
    let nobody = "task explain 00000000-0000-7000-8000-000000000000";
    place.run(nobody).await.assert_error(3, "does not exist");
}

#[tokio::test]
async fn a_start_that_can_be_foretold_is_foretold() {
    let place = Place::new().await;
    let node = place.node().await;
    let draft = Hold::task(()).start_in(std::time::Duration::from_secs(3_600));
    let task = place.client.create(draft).await.unwrap();
    let explain = format!("task explain {} -o json", task.id());
    let told = &place.run(&explain).await.assert_done().json()[0];
    assert_eq!(told["causes"][0]["cause"], "due");
    let due = &told["causes"][0]["at"];
    assert_eq!(
        told["starts"],
        json!({"earliest": due, "basis": "due", "ahead": null})
    );
    task.run().await.unwrap();
    task.until(State::Running).await.unwrap();
    let told = &place.run(&explain).await.assert_done().json()[0];
    let running = &told["causes"][0];
    assert_eq!(
        (&running["cause"], &running["node"], &running["node_state"]),
        (&json!("running"), &json!(node.id()), &json!("alive"))
    );
    node.drain().await;
}
