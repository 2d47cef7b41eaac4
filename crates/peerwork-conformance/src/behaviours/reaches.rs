//! Claims and looks from where on a node has not claimed yet: ranges are a matter of speed, and lose nothing.

use crate::*;
use peerwork_core::*;
use peerwork_store::*;
use std::collections::BTreeMap;

/// Where a task stands in its lane.
type Spot = (Rank, Timestamp, TaskId);

fn lane_of(user: &str) -> LaneId {
    LaneId::new(&name("maths"), &name(user))
}

fn rank(priority: i16) -> Rank {
    Rank::new(Status::Queued, priority)
}

fn key(kind: &str) -> KindKey {
    KindKey::new(&name(kind))
}

/// Three tasks of a user in each of three ranks, two of each at the same time; in the order of the lane.
async fn three_ranks(f: &Fixture, user: &str) -> Vec<Spot> {
    let mut line = Vec::new();
    for pause_ms in [0, 10, 1] {
        for priority in [5, -1, 0] {
            let id = f.create(NewTask {
                user: name(user),
                priority,
                ..task()
            });
            line.push((rank(priority), f.clock.now(), id.await));
        }
        f.clock.pass_ms(pause_ms);
    }
    line.sort_unstable();
    line
}

/// From the spots on, each up to the next one's rank.
fn reaches(lane: LaneId, from: &[(Rank, Timestamp)]) -> Vec<Reach> {
    let untils = from.iter().skip(1).map(|(rank, _)| *rank);
    let untils = untils.chain([Rank(i32::MAX)]);
    let reach = |((rank, since), until): (&(Rank, Timestamp), Rank)| Reach {
        lane,
        rank: *rank,
        since: *since,
        until,
    };
    from.iter().zip(untils).map(reach).collect()
}

fn ids(claimed: &[Claimed]) -> Vec<TaskId> {
    claimed.iter().map(|claimed| claimed.id).collect()
}

fn ids_of(line: &[Spot]) -> Vec<TaskId> {
    line.iter().map(|(.., id)| *id).collect()
}

/// In the order of rank, time and id, over the bounds of ranges, no more than granted, and none twice.
pub async fn a_claim_takes_the_first_tasks_of_its_ranges(f: &Fixture) {
    let node = f.node().await;
    for (user, sizes) in [
        ("ann", vec![1, 1, 4, 2, 9]),
        ("bob", vec![9]),
        ("eve", vec![8, 1, 1]),
        ("joe", vec![100]),
    ] {
        let line = three_ranks(f, user).await;
        let begin = (line[0].0, line[0].1);
        // The last one is also the range of all that comes after it.
        let reaches = reaches(
            lane_of(user),
            &[
                begin,
                (rank(0), Timestamp(i64::MIN)),
                (rank(1), f.clock.now()),
            ],
        );
        let mut left = ids_of(&line);
        for tasks in sizes {
            let grant = Grant {
                lane: lane_of(user),
                tasks,
            };
            let claimed = f.claim_within(node, &[grant], &[KIND], &reaches).await;
            let first: Vec<_> = left.drain(..tasks.min(left.len())).collect();
            assert_eq!(ids(&claimed), first, "{user}, {tasks}");
        }
        assert_eq!(left, []);
    }
}

/// Also where other lanes of the same claim have ranges.
pub async fn a_lane_without_a_range_is_claimed_from_its_beginning(f: &Fixture) {
    let node = f.node().await;
    let lines = [three_ranks(f, "ann").await, three_ranks(f, "bob").await];
    let grant = |user: &str, tasks| Grant {
        lane: lane_of(user),
        tasks,
    };
    let reaches = reaches(lane_of("bob"), &[(lines[1][0].0, lines[1][0].1)]);
    let grants = [grant("bob", 4), grant("ann", 5)];
    let claimed = f.claim_within(node, &grants, &[KIND], &reaches).await;
    let of = |user: &str| -> Vec<_> {
        let of = claimed.iter().filter(|claimed| claimed.user == *user);
        of.map(|claimed| claimed.id).collect()
    };
    assert_eq!(of("ann"), ids_of(&lines[0][..5]));
    assert_eq!(of("bob"), ids_of(&lines[1][..4]));
}

/// It may be left by the claim, and is claimed from where the look showed it. A store may also look at more than was asked for.
pub async fn what_lies_before_all_ranges_is_found_by_a_look(f: &Fixture) {
    let node = f.node().await;
    let line = three_ranks(f, "ann").await;
    let lane = lane_of("ann");
    let grant = [Grant { lane, tasks: 100 }];
    // Past the first rank, and past the first two of the second.
    let from = (line[5].0, line[5].1);
    assert!(line[4].1 < from.1, "they are of different times");
    let claimed = f
        .claim_within(node, &grant, &[KIND], &reaches(lane, &[from]))
        .await;
    let claimed = ids(&claimed);
    let left: Vec<_> = line
        .iter()
        .filter(|(.., id)| !claimed.contains(id))
        .copied()
        .collect();
    assert!(claimed.ends_with(&ids_of(&line[5..])));
    assert_eq!(claimed.len() + left.len(), line.len());
    let lanes = f
        .store
        .lanes(vec![key(KIND)], LaneLook::first(10))
        .await
        .expect("lanes");
    let seen: Vec<_> = lanes.iter().map(|lane| (lane.rank, lane.since)).collect();
    let first = left.first().map(|(rank, since, _)| (*rank, *since));
    assert_eq!(seen, Vec::from_iter(first));
    let again = f
        .claim_within(node, &grant, &[KIND], &reaches(lane, &seen))
        .await;
    assert_eq!(ids(&again), ids_of(&left));
}

/// A kind that it cannot run is passed over in every range.
pub async fn a_claim_within_ranges_takes_only_kinds_that_the_node_can_run(f: &Fixture) {
    let node = f.node().await;
    let mut expected = Vec::new();
    let begin = f.clock.now();
    for priority in [0, 1] {
        for kind in ["other", KIND, "other", KIND] {
            let id = f
                .create(NewTask {
                    kind: name(kind),
                    priority,
                    ..task()
                })
                .await;
            expected.extend((kind == KIND).then_some(id));
            f.clock.pass_ms(1);
        }
    }
    let lane = lane_of("ann");
    let reaches = reaches(lane, &[(rank(0), begin), (rank(1), begin)]);
    for some in [&expected[..3], &expected[3..]] {
        let grant = [Grant { lane, tasks: 3 }];
        let claimed = f.claim_within(node, &grant, &[KIND], &reaches).await;
        assert_eq!(ids(&claimed), some);
    }
}

/// Of each lane one, whatever the number of ranges; nothing of a lane that has nothing within them.
pub async fn heads_show_the_first_task_within_the_ranges(f: &Fixture) {
    let mut lines: BTreeMap<&str, Vec<Spot>> = BTreeMap::new();
    for user in ["ann", "bob", "eve", "joe"] {
        lines.insert(user, three_ranks(f, user).await);
    }
    let after = f.clock.now();
    let spot = |user: &str, at: usize| (lines[user][at].0, lines[user][at].1);
    let mut asked = Vec::new();
    // The third of its first rank; it has several ranges with something in them.
    asked.extend(reaches(
        lane_of("ann"),
        &[spot("ann", 2), (rank(0), after), (rank(3), after)],
    ));
    // Nothing in the first two ranges, and the second of the third.
    asked.extend(reaches(
        lane_of("bob"),
        &[(rank(-1), after), (rank(0), after), spot("bob", 8)],
    ));
    // Nothing, and a lane in which nothing ever was.
    asked.extend(reaches(lane_of("eve"), &[(rank(5), after)]));
    asked.push(Reach::all_of(lane_of("nobody")));
    // A range that ends before anything else.
    asked.push(Reach {
        lane: lane_of("joe"),
        rank: rank(-1),
        since: after,
        until: rank(0),
    });
    let heads = async |kinds: &[&str], asked: &[Reach]| {
        let kinds = kinds.iter().map(|kind| key(kind)).collect();
        let mut heads = f.store.heads(kinds, asked.to_vec()).await.expect("heads");
        heads.sort_by(|a, b| a.user.cmp(&b.user));
        heads
    };
    let view = |user: &str, at: usize| LaneView {
        lane: lane_of(user),
        group: name("maths"),
        user: name(user),
        work: Work::Run,
        rank: lines[user][at].0,
        since: lines[user][at].1,
    };
    let expected = [view("ann", 2), view("bob", 8)];
    assert_eq!(heads(&[KIND, "other"], &asked).await, expected);
    assert_eq!(heads(&["other"], &asked).await, []);
    assert_eq!(heads(&[], &asked).await, []);
    assert_eq!(heads(&[KIND], &[]).await, []);
}

/// The two agree on every lane, of both sorts of work and for any set of kinds; also on more lanes than a statement takes ranges.
pub async fn heads_of_whole_lanes_are_what_lanes_show(f: &Fixture) {
    let kinds = [KIND, "other"];
    let tasks = (0..120).map(|i| NewTask {
        user: name(&format!("user {}", i % 40)),
        priority: (i % 7) as i16,
        kind: name(kinds[usize::from(i % 3 == 0)]),
        ..task()
    });
    f.publish(Rules::default()).await;
    let tasks: Vec<_> = tasks.collect();
    let cleaned = tasks[100].id;
    f.store.create(tasks).await.expect("create");
    f.must(cleaned, Wish::Delete).await;
    for kinds in [&kinds[..], &kinds[..1], &kinds[1..]] {
        let kinds: Vec<_> = kinds.iter().map(|kind| key(kind)).collect();
        let mut lanes = f
            .store
            .lanes(kinds.clone(), LaneLook::first(100))
            .await
            .expect("lanes");
        let reaches = lanes.iter().map(|lane| Reach::all_of(lane.lane));
        let heads = f.store.heads(kinds, reaches.collect()).await;
        let mut heads = heads.expect("heads");
        lanes.sort_by_key(|lane| lane.lane);
        heads.sort_by_key(|lane| lane.lane);
        assert!(lanes.len() >= 40, "of each user");
        assert_eq!(heads, lanes);
    }
}
