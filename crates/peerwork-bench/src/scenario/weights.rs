//! `weights`: three users, each in a group of its own, who weigh 1, 2 and 4 and always have work: what they get, to what is due to
//! them. Weights are set in the database, for users and for groups; and the simulation of the same trace beside it.

use crate::figures::Figure;
use crate::options::Options;
use crate::play::{Play, Played};
use crate::report::{Report, Round};
use crate::target::Target;
use peerwork::simulate::Workload;

/// By users, and by groups.
const POLICIES: [&str; 2] = ["fair", "weighted-groups"];

/// How far a share may be from what is due, and from the simulated one, as a part of it. The share of whoever has two slots varies by
/// two per cent in forty seconds of tasks that take a tenth of one on average.
const SHARE: f64 = 0.05;

pub async fn run(target: &Target, options: &Options) -> anyhow::Result<Vec<Report>> {
    let play = Play::of(Workload::Weights, 1, options);
    let mut reports = Vec::new();
    for policy in POLICIES {
        let simulated = Shares::of(&play.simulated(policy)?);
        let mut rounds = Vec::new();
        for _ in 0..options.rounds() {
            let played = play.on(target, policy).await?;
            let shares = Shares::of(&played);
            let pairs = shares.0.iter().zip(&simulated.0);
            let mut agrees = pairs.map(|(a, b)| (a - b).abs() <= SHARE);
            let is_due = shares.0.iter().all(|share| (share - 1.0).abs() <= SHARE);
            let round = Round::new(shares.worst(), Figure::Amount("got_to_due", 1.0))
                .with("weight_1_got_to_due", shares.0[0])
                .with("weight_2_got_to_due", shares.0[1])
                .with("weight_4_got_to_due", shares.0[2])
                .with("simulated_weight_1_got_to_due", simulated.0[0])
                .with("simulated_weight_2_got_to_due", simulated.0[1])
                .with("simulated_weight_4_got_to_due", simulated.0[2])
                .with("utilisation", played.outcome.utilisation)
                .with("within_5_per_cent", f64::from(u8::from(is_due)))
                .with(
                    "agrees_with_the_simulation",
                    f64::from(u8::from(agrees.all(|agrees| agrees))),
                );
            rounds.push(round);
        }
        reports.push(Report {
            scenario: options.scenario.name().into(),
            database: target.sort.name(),
            settings: play.settings(policy),
            yardstick: "what is due by weight",
            rounds,
        });
    }
    Ok(reports)
}

/// The part of all slot time that was used which each got, to the part that is due by weight; the smallest weight first.
struct Shares([f64; 3]);

impl Shares {
    fn of(played: &Played) -> Self {
        let mut users: Vec<_> = played.outcome.users.iter().collect();
        users.sort_by_key(|user| user.weight);
        let got: f64 = users.iter().map(|user| user.got_us).sum();
        let weights: u32 = users.iter().map(|user| user.weight).sum();
        let share = |n: usize| {
            let user = users.get(n)?;
            let due = f64::from(user.weight) / f64::from(weights);
            Some(user.got_us / got.max(1.0) / due)
        };
        Self([0, 1, 2].map(|n| share(n).unwrap_or(0.0)))
    }

    /// The one that is farthest from 1.
    fn worst(&self) -> Figure {
        let far = |share: &f64| (share - 1.0).abs();
        let worst = self.0.iter().copied();
        let worst = worst.max_by(|a, b| far(a).total_cmp(&far(b)));
        Figure::Amount("got_to_due", worst.unwrap_or(0.0))
    }
}
