//! The list of all tests, made for one backend after the other.

/// Makes a test of every behaviour, on one [`Backend`](crate::Backend).
/// A file in `tests/` for each: `peerwork_conformance::suite!(peerwork_conformance::Backend::Memory);`
#[macro_export]
macro_rules! suite {
    ($backend:expr) => {
        $crate::behaviours! { $backend;
            calls {
                ga_18_every_call_works_with_one_connection
                a_create_that_nobody_waits_for_is_whole
                a_claim_that_nobody_waits_for_is_whole
                an_end_that_nobody_waits_for_is_whole
            }
            children {
                a_parent_is_woken_when_its_children_are_over
                children_that_are_over_before_their_parent_parks_wake_it
                a_child_is_over_in_every_final_status
                a_child_that_fails_for_now_wakes_nobody
                a_child_that_is_run_again_counts_once
                a_paused_parent_is_woken_after_its_pause
                a_parent_that_parks_while_pausing_waits_after_its_pause
                a_parent_may_wait_again_for_more
                a_parent_that_waits_for_a_time_is_not_woken_by_children
                a_timer_ends_a_wait_for_children
                a_deleted_parent_is_not_woken
                a_batch_of_children_counts_each
                waking_is_bounded
                a_glance_tells_of_children_that_are_over
                children_of_nobody_are_looked_at_once
            }
            claim {
                a_claim_brings_all_that_a_handler_needs
                ga_23_a_claim_gives_a_lane_in_order_of_rank_time_and_id
                order_is_by_value_for_any_id_and_time
                a_claim_takes_no_more_than_it_was_granted
                what_is_not_ready_is_not_claimed
                a_claim_takes_only_kinds_that_the_node_can_run
                nothing_is_claimed_for_a_node_that_is_not_alive
                a_cleanup_is_not_claimed_as_a_run
                lanes_show_their_first_task
                lanes_are_bounded
                lanes_are_shown_in_parts_and_by_rank
                a_claim_takes_only_the_ranks_that_it_reaches
                what_runs_elsewhere_is_counted_by_lane
                a_claim_may_be_as_large_as_a_batch
            }
            reaches {
                a_claim_takes_the_first_tasks_of_its_ranges
                a_lane_without_a_range_is_claimed_from_its_beginning
                what_lies_before_all_ranges_is_found_by_a_look
                a_claim_within_ranges_takes_only_kinds_that_the_node_can_run
                heads_show_the_first_task_within_the_ranges
                heads_of_whole_lanes_are_what_lanes_show
            }
            counters {
                an_attempt_is_a_claim
                a_checkpoint_clears_the_crashes
                deaths_without_progress_are_bounded
                deaths_beside_others_accuse_and_never_condemn
                a_checkpoint_ends_a_trial
                a_hand_over_charges_nothing
                a_person_gives_a_fresh_budget
                a_cleanup_starts_with_a_fresh_budget
            }
            operations {
                ga_45_an_operation_that_is_repeated_answers_the_same
                ga_45_a_refused_operation_stays_refused
                ga_45_a_repeated_operation_finishes_what_it_left
                an_operations_id_is_for_one_wish
                an_operation_on_nobody_is_not_noted
                an_operation_over_a_filter_is_concluded_once
                operations_are_forgotten_after_a_day
                racing_repetitions_of_an_operation_change_once
            }
            create {
                a_created_task_is_read_back_as_it_was_given
                a_task_begins_created_scheduled_or_queued
                ga_45_creating_again_changes_nothing
                ga_45_a_deleted_task_is_not_created_again
                a_batch_is_answered_in_its_order
                an_id_that_is_twice_in_a_batch_is_created_once
                a_batch_is_created_whole_or_not_at_all
                a_child_of_nobody_is_a_task_like_others
                nothing_asked_is_nothing_answered
            }
            eager {
                tasks_are_claimed_as_they_are_created
                only_what_is_claimable_is_claimed_as_it_is_created
                tasks_that_are_claimed_as_they_are_created_come_in_order
                nobody_is_passed_over_by_tasks_that_are_claimed_as_they_are_created
                a_claim_of_new_tasks_looks_within_its_ranges
                who_may_not_claim_gets_no_new_tasks
                ga_45_creating_and_claiming_again_changes_nothing
                racing_creates_of_the_same_tasks_claim_each_once
            }
            deletion {
                ga_46_a_deletion_can_be_watched_until_it_is_gone
                a_tombstone_keeps_no_payload
                ga_09_a_cleanup_that_fails_is_retried_then_stays_visible
                ga_09_a_cleanup_can_be_forced
                a_forced_deletion_still_waits_for_the_run
                a_kind_without_a_cleanup_is_deleted_at_once
                the_rules_in_force_are_those_published_last
                a_tombstone_is_pruned_after_a_day_and_nothing_else
                pruning_is_bounded
                pruning_a_child_or_a_parent_leaves_the_other
                ga_04_a_forgotten_task_is_gone_but_not_reborn
                a_failure_that_is_retried_is_not_forgotten
                ga_44_nothing_supersedes_a_deletion
            }
            ends {
                every_end_of_every_run_is_recorded_as_decided
                a_finish_keeps_its_output_and_its_run
                an_output_is_there_only_of_a_finished_task
                ga_36_the_last_failures_are_kept_with_their_text
                ga_36_a_failures_text_is_bounded
                a_finished_task_still_tells_its_failures
                ga_45_an_end_that_is_repeated_is_known_and_changes_nothing
                a_repeated_end_is_known_until_the_next_claim
                what_others_have_ended_is_no_repetition
            }
            explain {
                a_task_that_is_not_there_is_not_explained
                what_is_ahead_in_line_is_what_is_claimed_before
                what_is_ahead_is_counted_up_to_a_bound
                what_is_set_for_a_task_is_told_with_what_runs_under_it
                nodes_tell_their_kinds_and_what_they_run
                a_held_task_tells_of_its_node_alone
                a_waiting_parent_tells_how_many_children_are_over
                every_status_can_be_explained
            }
            fence {
                ga_01_a_save_of_a_superseded_run_changes_nothing
                ga_02_an_end_of_a_superseded_run_changes_nothing
                a_nodes_own_older_run_is_fenced_too
                a_run_ends_only_the_task_it_names
                ga_04_a_forgetful_finish_deletes_nothing_it_does_not_own
                ga_04_a_forgetful_finish_does_not_skip_a_cleanup
                ga_07_a_finish_that_races_a_death_stays_finished
                ga_07_a_finish_after_the_sweep_is_lost
                ga_33_no_run_changes_a_final_task
                a_run_that_never_was_is_lost
                a_batch_of_saves_and_ends_is_answered_in_its_order
                a_save_tells_that_the_run_shall_stop
                a_paused_task_has_no_holder
                verify_tells_what_a_run_still_holds
            }
            hints {
                a_hint_reaches_who_listens
                a_hint_that_nobody_hears_is_no_error
            }
            limits {
                ga_24_no_more_run_than_a_limit_allows
                ga_24_a_task_counts_under_all_its_limits
                ga_24_a_full_kind_stands_in_nobodys_way
                a_look_tells_which_limits_are_full
                what_runs_already_counts_once_a_limit_is_set
                a_lowered_limit_blocks_claims_and_ends_nothing
                what_changes_nothing_leaves_the_version
                what_is_told_to_stop_counts_and_cleanups_do_not
                a_dead_nodes_tasks_count_until_they_are_rescued
                a_claim_keeps_to_what_its_node_has_room_for
                ga_20_a_burst_is_followed_by_so_many_starts_a_second
                a_gate_that_was_opened_lets_tasks_through_as_its_ramp_says
                a_claim_on_other_settings_takes_nothing
                a_claim_under_limits_is_like_others
                a_claim_under_limits_keeps_to_its_ranges
                ga_25_a_moved_run_counts_in_its_new_group
                ga_25_a_run_that_was_nowhere_limited_counts_after_a_move
            }
            lists {
                a_list_runs_from_the_newest_to_the_oldest
                an_older_id_that_is_created_later_is_newer
                ga_47_pages_are_stable_under_inserts_and_deletions
                a_page_begins_after_any_place
                ga_47_a_page_is_bounded
                every_state_can_be_listed
                filters_combine
                records_come_in_the_order_of_what_was_asked
                ga_47_a_rare_task_is_found_in_a_long_list
            }
            moves {
                ga_25_a_move_changes_the_group_and_nothing_else
                ga_25_a_moved_task_is_in_one_lane_only
                ga_25_a_queued_task_is_moved_with_its_age
                ga_25_a_running_task_moves_without_noticing
                ga_25_a_queued_cleanup_moves_too
                ga_45_a_move_that_is_repeated_changes_nothing
                a_new_priority_changes_the_order
                a_priority_is_kept_while_a_task_is_parked
                a_resuming_task_stays_first_with_any_priority
                a_held_tasks_priority_cannot_be_changed
            }
            named {
                named_tasks_are_claimed_in_the_order_in_which_they_are_named
                of_named_tasks_only_those_are_claimed_that_are_claimable_there
                named_tasks_are_claimed_only_for_a_live_node_that_knows_what_is_set
                ga_24_named_tasks_keep_to_limits
                what_is_claimable_is_read_page_by_page
                the_first_tasks_of_lanes_are_read
            }
            nodes {
                a_node_registers_with_a_lease
                ga_45_registering_again_changes_nothing
                a_beat_renews_the_lease
                ga_45_a_beat_that_is_repeated_finds_its_number
                ga_45_a_claim_whose_answer_was_lost_is_found_again
                a_beat_that_was_acknowledged_and_is_not_there_is_told
                ga_03_a_dead_nodes_beat_does_not_revive_it
                a_death_is_declared_only_of_the_beat_that_was_seen
                ga_13_a_users_operation_does_not_extend_a_lease
                a_node_retires_when_it_holds_nothing
                a_dead_node_is_remembered_for_a_day
                a_glance_shows_what_concerns_a_node
                a_brief_glance_leaves_out_what_is_held_and_what_is_claimable
                a_glance_shows_the_peers_that_are_not_dead
                a_glance_shows_the_peers_that_follow
                a_cleanup_is_held_like_a_run
            }
            payloads {
                ga_55_any_bytes_are_kept_in_every_payload
                ga_55_the_largest_payload_passes
                ga_55_a_payload_over_the_bound_is_refused
                ga_55_a_batch_of_large_payloads_passes
                a_save_changes_only_what_it_names
                the_last_checkpoint_stands
                what_is_not_there_has_no_payload
                ga_56_a_batch_over_the_bound_is_refused
                ga_56_the_largest_batch_passes
            }
            retries {
                a_failed_run_is_tried_again_when_its_delay_is_over
                a_handler_may_say_when_to_try_again
                a_due_task_enters_the_line_at_its_due_time
                promotion_is_bounded_and_tells_of_more
                only_what_sleeps_is_promoted
                a_timer_ends_a_wait
                a_glance_tells_the_next_alarm
            }
            schema {
                migrating_again_keeps_everything
                ga_42_many_may_migrate_at_once
                ga_53_all_times_are_the_stores
            }
            settings {
                nothing_is_set_in_the_beginning
                what_is_set_is_read_back_with_a_version_that_rises
                a_change_that_makes_no_sense_changes_nothing
                what_is_set_settles_in_time
                a_policy_is_kept_as_it_is
                racing_changes_of_a_setting_are_all_made
            }
            steer {
                ga_44_every_wish_in_every_status_is_answered_as_decided
                ga_45_a_wish_that_is_repeated_finds_it_done
                a_task_that_is_not_there_is_not_found
                a_batch_of_wishes_is_answered_in_its_order
                a_wish_reaches_only_what_its_filter_means
                the_empty_filter_leaves_the_deleted_out
                ga_49_a_user_scope_keeps_others_out
                a_rerun_starts_from_the_beginning
                running_a_failed_task_keeps_its_checkpoint
                a_paused_task_keeps_its_age
                a_pause_does_not_stop_the_clock
            }
            strings {
                ga_48_users_are_exact
                ga_48_groups_are_exact
                ga_48_a_task_moves_to_any_group
                ga_48_kinds_are_exact
                ga_48_labels_are_kept_as_they_are
            }
            sweeps {
                a_sweep_takes_back_what_the_dead_hold_and_nothing_else
                ga_08_a_crash_with_a_pending_wish_leads_where_the_wish_wanted
                ga_08_a_crash_during_a_cleanup_queues_it_again
                a_rescued_task_goes_on_first_from_its_checkpoint
                a_dead_node_is_remembered_while_it_holds_tasks
                sweeping_is_bounded_and_tells_of_more
                a_glance_tells_of_the_dead
                a_child_that_a_death_fails_wakes_its_parent
            }
        }
        mod races {
            $crate::races! { $backend;
                brawls {
                    whatever_happens_at_once_every_invariant_holds
                }
                claims {
                    racing_claimers_never_get_the_same_task
                    racing_creates_of_the_same_ids_make_each_once
                    ga_25_a_move_that_races_claims_loses_and_doubles_nothing
                    ga_15_claims_of_eight_nodes_at_once_are_useful
                }
                ends {
                    racing_ends_of_a_run_are_recorded_once
                    a_pause_that_races_a_finish_is_too_late_or_harmless
                    a_deletion_that_races_a_finish_leads_to_the_cleanup
                    ga_19_crossing_batches_do_not_deadlock
                }
                limits {
                    ga_24_racing_claims_never_exceed_a_limit
                    ga_24_racing_claims_of_the_same_names_take_each_once_within_limits
                    ga_25_moves_that_race_claims_are_counted_where_they_are
                    what_is_claimed_while_a_limit_is_set_is_counted
                    ga_20_racing_claims_never_exceed_a_rate
                }
                readers {
                    a_task_on_the_move_is_always_found
                }
                rescues {
                    ga_07_a_finish_that_races_the_rescue_is_recorded_or_lost
                    ga_01_a_save_that_races_the_rescue_is_kept_or_lost
                    racing_sweeps_take_each_task_once
                    a_declaration_of_death_and_a_beat_exclude_each_other
                    a_claim_that_races_a_death_is_swept
                    a_claim_that_races_a_retirement_is_swept
                }
                wakes {
                    racing_promotions_promote_each_once
                    no_wake_up_is_lost_between_parking_and_finishing
                }
            }
        }
        mod model {
            #[test]
            fn every_answer_is_the_references() {
                $crate::model::every_answer_is_the_references($backend);
            }

            #[test]
            fn what_a_store_takes_is_what_decide_says() {
                $crate::model::what_a_store_takes_is_what_decide_says($backend);
            }
        }
    };
}

/// A module for each topic, with a test for each behaviour.
#[doc(hidden)]
#[macro_export]
macro_rules! behaviours {
    ($backend:expr; $($topic:ident { $($behaviour:ident)* })*) => { $(
        mod $topic { $(
            #[tokio::test]
            async fn $behaviour() {
                let f = $backend.fixture().await;
                $crate::behaviours::$topic::$behaviour(&f).await;
                f.close().await;
            }
        )* }
    )* };
}

/// The same on several threads.
#[doc(hidden)]
#[macro_export]
macro_rules! races {
    ($backend:expr; $($topic:ident { $($race:ident)* })*) => { $(
        mod $topic { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $race() {
                let f = $backend.fixture().await;
                $crate::races::$topic::$race(&f).await;
                f.close().await;
            }
        )* }
    )* };
}

#[cfg(test)]
mod tests {
    use std::fs;

    #[test]
    fn every_behaviour_that_is_written_is_in_the_list() {
        let src = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        let list = fs::read_to_string(format!("{src}/suite.rs")).unwrap();
        let listed: Vec<_> = list.lines().map(str::trim).collect();
        let mut seen = 0;
        for topic in ["behaviours", "races"] {
            for file in fs::read_dir(format!("{src}/{topic}")).unwrap() {
                let text = fs::read_to_string(file.unwrap().path()).unwrap();
                for line in text.lines() {
                    let Some((name, rest)) = line
                        .strip_prefix("pub async fn ")
                        .and_then(|rest| rest.split_once('('))
                    else {
                        continue;
                    };
                    if rest.starts_with("f: &Fixture) {") {
                        assert!(
                            listed.contains(&name),
                            "{name} is written, but never run: add it to suite!"
                        );
                        seen += 1;
                    }
                }
            }
        }
        assert!(seen > 100, "only {seen} behaviours were found");
    }
}
