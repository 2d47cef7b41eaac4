//! What a node does next, for each way in which it hears of work.

use super::*;
use crate::Name;
use uuid::Uuid;

const BOTH: [Work; 2] = [Work::Cleanup, Work::Run];

fn lane(n: u128) -> LaneId {
    LaneId(Uuid::from_u128(n))
}

fn view(n: u128, since: i64) -> LaneView {
    LaneView {
        lane: lane(n),
        group: Name::default(),
        user: Name::default(),
        work: Work::Run,
        rank: Rank(0),
        since: Timestamp(since),
    }
}

fn ms(ms: u64) -> Mono {
    Mono(0).plus_ms(ms)
}

fn next(book: &LaneBook, now: u64) -> Step {
    book.next(&BOTH, ms(now), ms(0))
}

/// Nothing is known of the time.
const THEN: Timestamp = Timestamp(0);

fn claim(book: &mut LaneBook, n: u128, asked: usize, got: usize) {
    let grant = Grant {
        lane: lane(n),
        tasks: asked,
    };
    let tasks = (0..got).map(|i| (lane(n), Rank(0), Timestamp(1_000_000_000 + i as i64)));
    book.claimed(Work::Run, &[grant], &BTreeMap::new(), tasks, THEN);
}

fn look(book: &mut LaneBook, from: u64, to: u64, lanes: Vec<LaneView>) {
    book.looking(ms(from));
    book.looked(lanes, ms(to));
}

/// After a look that took a tenth of a second, and a claim that found something.
fn costly() -> LaneBook {
    let mut book = LaneBook::default();
    book.heard();
    look(&mut book, 0, 100, vec![view(1, 5)]);
    claim(&mut book, 1, 10, 4);
    book
}

#[test]
fn whatever_is_heard_is_followed_by_one_look() {
    let mut book = LaneBook::default();
    assert_eq!(next(&book, 0), Step::Rest(None));
    book.heard();
    assert_eq!(next(&book, 0), Step::Look);
    look(&mut book, 0, 1, vec![]);
    assert_eq!(next(&book, 2), Step::Rest(None));
    assert_eq!(book.next(&[], ms(2), ms(0)), Step::Rest(None), "no credit");
}

#[test]
fn a_look_is_repeated_while_it_leads_to_something() {
    let mut book = LaneBook::default();
    book.heard();
    look(&mut book, 0, 1, vec![view(1, 5)]);
    assert_eq!(next(&book, 1), Step::Claim(Work::Run));
    claim(&mut book, 1, 10, 10);
    assert_eq!(next(&book, 2), Step::Claim(Work::Run), "there may be more");
    claim(&mut book, 1, 10, 3);
    assert_eq!(next(&book, 3), Step::Look);
    look(&mut book, 3, 4, vec![view(1, 5)]);
    claim(&mut book, 1, 10, 0);
    assert_eq!(next(&book, 5), Step::Rest(None), "others were faster");
}

#[test]
fn news_are_claimed_without_a_look() {
    let mut book = LaneBook::default();
    book.heard_of(view(1, 0), 1, ms(9_000));
    assert_eq!(next(&book, 9_000), Step::Claim(Work::Run));
    claim(&mut book, 1, 16, 1);
    assert_eq!(next(&book, 9_001), Step::Rest(None));
}

#[test]
fn fewer_tasks_than_were_announced_are_looked_for() {
    let mut book = LaneBook::default();
    book.heard_of(view(1, 0), 2, ms(0));
    book.heard_of(view(1, 0), 1, ms(0));
    claim(&mut book, 1, 2, 2);
    assert_eq!(next(&book, 1), Step::Claim(Work::Run));
    claim(&mut book, 1, 2, 0);
    assert_eq!(next(&book, 1), Step::Look);
}

#[test]
fn lanes_are_used_for_half_a_second_and_then_looked_at_again() {
    let mut book = LaneBook::default();
    book.heard();
    look(&mut book, 0, 1, vec![view(1, 5)]);
    claim(&mut book, 1, 10, 10);
    assert_eq!(next(&book, 500), Step::Claim(Work::Run));
    assert_eq!(next(&book, 501), Step::Look);
}

#[test]
fn what_the_policy_does_not_want_keeps_nobody_from_looking() {
    let mut book = LaneBook::default();
    book.heard();
    look(&mut book, 0, 1, vec![view(1, 5)]);
    book.declined(Work::Run);
    assert_eq!(next(&book, 1), Step::Rest(None));
    book.heard();
    assert_eq!(next(&book, 1), Step::Look);
    look(&mut book, 1, 2, vec![view(1, 5), view(2, 6)]);
    assert_eq!(next(&book, 2), Step::Claim(Work::Run), "it is asked again");
}

#[test]
fn claims_do_not_wait_for_a_costly_look() {
    let mut book = LaneBook::default();
    book.heard();
    look(&mut book, 0, 100, vec![view(1, 5)]);
    claim(&mut book, 1, 10, 4);
    // The known lanes are asked, and the next look is a second away.
    assert_eq!(next(&book, 101), Step::Heads);
    book.saw_heads(vec![view(1, 9)], ms(101), ms(101));
    assert_eq!(next(&book, 101), Step::Claim(Work::Run));
    claim(&mut book, 1, 10, 4);
    assert_eq!(next(&book, 102), Step::Heads);
    book.saw_heads(vec![], ms(102), ms(102));
    assert_eq!(next(&book, 102), Step::Rest(Some(ms(1_100))));
    assert_eq!(next(&book, 1_100), Step::LookBeside);
    book.looking(ms(1_100));
    book.heard_of(view(1, 0), 1, ms(1_110));
    assert_eq!(next(&book, 1_110), Step::Claim(Work::Run), "meanwhile");
    claim(&mut book, 1, 10, 1);
    assert_eq!(next(&book, 1_111), Step::Rest(None));
    // Cheap again: the next one is waited for.
    book.looked(vec![], ms(1_115));
    book.heard();
    assert_eq!(next(&book, 1_116), Step::Look);
}

#[test]
fn what_arrives_late_is_reached_after_a_look() {
    let mut book = LaneBook::default();
    book.heard();
    look(&mut book, 0, 1, vec![view(1, 900_000_000)]);
    claim(&mut book, 1, 10, 4);
    let since = |book: &LaneBook| book.known()[0].since;
    assert!(since(&book) > Timestamp(800_000_000));
    look(&mut book, 3, 4, vec![view(1, 7)]);
    assert_eq!(since(&book), Timestamp(7));
}

#[test]
fn looks_wait_for_their_time_and_news_do_not() {
    let mut book = LaneBook::default();
    book.heard();
    assert_eq!(book.next(&BOTH, ms(1), ms(5)), Step::Rest(Some(ms(5))));
    book.heard_of(view(1, 0), 1, ms(1));
    assert_eq!(book.next(&BOTH, ms(1), ms(5)), Step::Claim(Work::Run));
}

#[test]
fn the_known_lanes_are_asked_once_for_what_was_heard() {
    let mut book = costly();
    assert_eq!(next(&book, 101), Step::Heads);
    book.saw_heads(vec![], ms(101), ms(102));
    book.wake();
    assert_eq!(next(&book, 103), Step::Rest(Some(ms(1_100))));
    book.heard();
    assert_eq!(next(&book, 104), Step::Heads);
}

#[test]
fn the_known_lanes_are_asked_a_tenth_of_the_time_where_that_is_costly_too() {
    let mut book = costly();
    book.saw_heads(vec![], ms(101), ms(151));
    book.heard();
    assert_eq!(next(&book, 152), Step::Rest(Some(ms(651))));
    assert_eq!(next(&book, 651), Step::Heads);
    book.saw_heads(vec![], ms(651), ms(751));
    book.heard();
    assert_eq!(next(&book, 752), Step::Rest(Some(ms(1_100))));
    book.looking(ms(1_100));
    book.heard();
    assert_eq!(next(&book, 1_101), Step::Rest(Some(ms(1_751))));
}

#[test]
fn what_came_to_a_lane_that_was_looked_at_is_looked_for() {
    let mut book = LaneBook::default();
    book.heard();
    look(&mut book, 0, 1, vec![view(1, 5)]);
    book.heard_of(view(1, 0), 1, ms(2));
    claim(&mut book, 1, 10, 0);
    assert_eq!(next(&book, 3), Step::Look);
}

#[test]
fn what_is_announced_during_a_look_is_looked_for_after_it() {
    let mut book = costly();
    book.looking(ms(1_100));
    book.heard_of(view(2, 0), 2, ms(1_110));
    book.looked(vec![], ms(1_200));
    assert_eq!(next(&book, 1_201), Step::Claim(Work::Run));
    claim(&mut book, 2, 10, 0);
    assert_eq!(next(&book, 1_202), Step::Heads);
    book.saw_heads(vec![], ms(1_202), ms(1_203));
    assert_eq!(next(&book, 1_204), Step::Rest(Some(ms(2_200))));
}

#[test]
fn a_costly_look_renews_what_is_known_of_the_lanes_and_drops_those_that_are_gone() {
    let mut book = costly();
    book.saw_heads(vec![view(1, 9), view(2, 9)], ms(101), ms(102));
    book.looking(ms(1_100));
    book.heard_of(view(3, 0), 1, ms(1_110));
    let urgent = LaneView {
        rank: Rank(-3),
        ..view(1, 7)
    };
    book.looked(vec![urgent.clone(), view(4, 8)], ms(1_200));
    let mut lanes = book.lanes(Work::Run).to_vec();
    lanes.sort_by_key(|lane| lane.lane);
    let ids: Vec<_> = lanes.iter().map(|lane| lane.lane).collect();
    assert_eq!(ids, [lane(1), lane(3), lane(4)]);
    assert_eq!(lanes[0], urgent);
}

#[test]
fn the_rank_of_a_lane_follows_what_is_claimed() {
    let mut book = LaneBook::default();
    book.heard();
    let urgent = LaneView {
        rank: Rank(-3),
        ..view(1, 5)
    };
    look(&mut book, 0, 1, vec![urgent]);
    claim(&mut book, 1, 2, 2);
    assert_eq!(book.lanes(Work::Run)[0].rank, Rank(0));
}

/// Two lanes at a time.
fn narrow() -> LaneBook {
    let mut book = LaneBook::with_limit(2);
    book.heard();
    book
}

#[test]
fn of_more_lanes_than_a_look_shows_each_look_shows_the_next_ones() {
    let mut book = narrow();
    let first = book.looking(ms(0));
    assert_eq!(first, LaneLook::first(2));
    book.looked(vec![view(1, 5), view(2, 5)], ms(0));
    assert_eq!(next(&book, 0), Step::Claim(Work::Run));
    // All of them are shut.
    book.declined(Work::Run);
    assert_eq!(next(&book, 1), Step::Look);
    assert_eq!(book.looking(ms(1)).after, Some(lane(2)));
    book.looked(vec![view(3, 5)], ms(1));
    assert_eq!(book.lanes(Work::Run), [view(3, 5)]);
    book.declined(Work::Run);
    assert_eq!(
        next(&book, 2),
        Step::Rest(None),
        "nothing is to be had anywhere"
    );
    book.heard();
    assert_eq!(book.looking(ms(3)).after, None, "from the first one on");
}

#[test]
fn lanes_that_the_last_look_did_not_show_are_not_forgotten() {
    let mut book = narrow();
    look(&mut book, 0, 0, vec![view(1, 5), view(2, 5)]);
    claim(&mut book, 1, 10, 10);
    // Both have work still when their time is up.
    assert_eq!(next(&book, 500), Step::Look);
    assert_eq!(book.looking(ms(500)).after, Some(lane(2)));
    book.looked(vec![], ms(500));
    assert_eq!(next(&book, 501), Step::Look);
    assert_eq!(book.looking(ms(501)).after, None);
    book.looked(vec![view(1, 5)], ms(501));
    claim(&mut book, 1, 10, 0);
    assert_eq!(next(&book, 502), Step::Rest(None));
}

#[test]
fn a_look_that_failed_begins_again_where_it_began() {
    let mut book = narrow();
    look(&mut book, 0, 0, vec![view(1, 5), view(2, 5)]);
    let second = book.looking(ms(500));
    book.look_failed(ms(500));
    assert_eq!(book.looking(ms(501)), second);
}

fn ranked(n: u128, rank: i32, since: i64) -> LaneView {
    LaneView {
        rank: Rank(rank),
        ..view(n, since)
    }
}

fn by_rank(limit: usize) -> LaneBook {
    let mut book = LaneBook::with_limit(limit);
    book.tell_ranks(true);
    book
}

#[test]
fn a_look_that_began_before_a_claim_does_not_take_it_back() {
    let mut book = by_rank(10);
    book.heard();
    look(&mut book, 0, 100, vec![ranked(1, 0, 50), ranked(1, 5, 7)]);
    book.looking(ms(1_200));
    let grant = [Grant {
        lane: lane(1),
        tasks: 1,
    }];
    let only = BTreeMap::from([(lane(1), Rank(0))]);
    let one = [(lane(1), Rank(0), Timestamp(60))].into_iter();
    book.claimed(Work::Run, &grant, &only, one, THEN);
    book.looked(vec![ranked(1, 0, 50), ranked(1, 5, 7)], ms(1_300));
    let shown = |book: &LaneBook| -> Vec<_> {
        let shown = book.lanes(Work::Run).iter();
        shown.map(|view| (view.rank.0, view.since.0)).collect()
    };
    assert_eq!(shown(&book), [(0, 60), (5, 7)]);
    // The next one has seen what came of the claim.
    look(&mut book, 2_000, 2_001, vec![ranked(1, 0, 55)]);
    assert_eq!(shown(&book), [(0, 55)]);
}

#[test]
fn ranks_of_a_lane_are_claimed_and_emptied_one_by_one() {
    let mut book = by_rank(10);
    assert_eq!(next(&book, 0), Step::Look);
    assert!(book.looking(ms(0)).by_rank);
    book.looked(vec![ranked(1, 0, 50), ranked(1, 5, 7)], ms(0));
    book.heard_of(ranked(1, 9, 0), 2, ms(1));
    assert_eq!(book.lanes(Work::Run).len(), 3);
    let grant = [Grant {
        lane: lane(1),
        tasks: 4,
    }];
    let only = BTreeMap::from([(lane(1), Rank(5))]);
    let reaches = book.reaches(&grant, &only);
    assert_eq!((reaches[0].rank, reaches[0].until), (Rank(5), Rank(6)));
    assert_eq!(reaches.len(), 1);
    let tasks = (0..4).map(|i| (lane(1), Rank(5), Timestamp(100 + i)));
    book.claimed(Work::Run, &grant, &only, tasks, THEN);
    let since = |book: &LaneBook, rank| {
        let mut shown = book.lanes(Work::Run).iter();
        shown
            .find(|view| view.rank == Rank(rank))
            .map(|view| view.since)
    };
    assert_eq!(since(&book, 5), Some(Timestamp(103)));
    assert_eq!(since(&book, 0), Some(Timestamp(50)));
    book.claimed(Work::Run, &grant, &only, std::iter::empty(), THEN);
    assert_eq!(since(&book, 5), None);
    assert_eq!(book.lanes(Work::Run).len(), 2);
    // In the lane's own order all of it is emptied.
    let one = [(lane(1), Rank(0), Timestamp(60))].into_iter();
    book.claimed(Work::Run, &grant, &BTreeMap::new(), one, THEN);
    assert_eq!(book.lanes(Work::Run), []);
    assert_eq!(next(&book, 2), Step::Look, "two were announced");
}

#[test]
fn a_lane_whose_ranks_were_not_all_shown_is_shown_by_the_next_look() {
    let mut book = by_rank(3);
    book.looking(ms(0));
    let lanes = vec![ranked(1, 0, 5), ranked(1, 1, 5), ranked(2, 0, 5)];
    book.looked(lanes.clone(), ms(0));
    assert_eq!(book.lanes(Work::Run), &lanes[..2]);
    assert_eq!(book.looking(ms(500)).after, Some(lane(1)));
    // One with more ranks than a look shows is not looked at for ever.
    let many = vec![ranked(2, 0, 5), ranked(2, 1, 5), ranked(2, 2, 5)];
    book.looked(many.clone(), ms(500));
    assert_eq!(book.lanes(Work::Run), many);
    assert_eq!(book.looking(ms(1_000)).after, Some(lane(2)));
}

#[test]
fn another_way_to_tell_lanes_apart_begins_with_a_look() {
    let mut book = LaneBook::default();
    book.heard_of(view(1, 0), 1, ms(0));
    book.tell_ranks(false);
    assert_eq!(next(&book, 0), Step::Claim(Work::Run));
    book.tell_ranks(true);
    assert_eq!(next(&book, 0), Step::Look);
}

#[test]
fn after_a_failure_it_looks_again() {
    let mut book = LaneBook::default();
    book.heard_of(view(1, 0), 1, ms(0));
    book.claim_failed();
    assert_eq!(next(&book, 1), Step::Look);
    book.looking(ms(1));
    book.look_failed(ms(2));
    assert_eq!(next(&book, 2), Step::Look);
}

#[test]
fn a_lane_of_which_all_that_was_announced_was_taken_by_ids_needs_no_look_when_it_is_empty() {
    let after = |taken: usize| {
        let mut book = LaneBook::default();
        book.heard_of(view(1, 0), 2, ms(0));
        book.took(std::iter::repeat_n(lane(1), taken));
        assert_eq!(next(&book, 0), Step::Claim(Work::Run), "it is shown still");
        claim(&mut book, 1, 1, 0);
        next(&book, 0)
    };
    assert_eq!(after(2), Step::Rest(None));
    assert_eq!(after(1), Step::Look, "somebody else has it, or it is late");
}

#[test]
fn a_newcomer_is_behind_all_that_was_seen_and_as_new_as_the_clock_says() {
    let mut book = LaneBook::default();
    book.heard();
    look(&mut book, 0, 1, vec![view(1, 50)]);
    book.heard_of(view(2, 0), 1, ms(2));
    book.heard_of(view(3, 70), 1, ms(2));
    let since: Vec<_> = book
        .lanes(Work::Run)
        .iter()
        .map(|lane| lane.since.0)
        .collect();
    assert_eq!(since, [50, 50, 70]);
}
