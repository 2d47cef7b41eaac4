//! The outcomes as an SVG: how many tasks waited at most so long, and what each user got to its fair share.

use peerwork::simulate::{Class, Outcome, UserOutcome};
use std::fmt::Write;

const WIDTH: f64 = 1_040.0;
/// Of a panel.
const TOP: f64 = 40.0;
const HEIGHT: f64 = 330.0;
/// From an axis to the first row of the legend, and from row to row.
const UNDER_AXIS: f64 = 64.0;
const ROW: f64 = 18.0;
/// Points of a curve: more would not be seen.
const POINTS: usize = 240;
/// Told apart also by those who see few colours: M. Okabe, K. Ito, "Color universal design", 2008.
const COLOURS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000",
];
/// The shortest wait that is told from none, in microseconds.
const WAIT_MIN_US: f64 = 1_000.0;
/// Ratios above it are drawn at it.
const RATIO_MAX: f64 = 2.0;

/// A picture, 1040 points wide. Waits have a logarithmic axis in seconds.
pub(super) fn of(outcomes: &[Outcome]) -> String {
    let mut svg = String::new();
    let height = TOP + HEIGHT + UNDER_AXIS + ROW * outcomes.len() as f64;
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    waits(&mut svg, outcomes);
    shares(&mut svg, outcomes);
    svg.push_str("</svg>\n");
    svg
}

/// A part of the picture with axes; inside, positions go from 0 to 1, upwards.
#[derive(Clone, Copy)]
struct Panel {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Panel {
    fn x(self, at: f64) -> f64 {
        self.left + at.clamp(0.0, 1.0) * self.width
    }

    fn y(self, at: f64) -> f64 {
        self.top + (1.0 - at.clamp(0.0, 1.0)) * self.height
    }

    fn frame(self, svg: &mut String, title: &str, across: &str, upwards: &str) {
        let (left, top) = (self.left, self.top);
        let (width, height) = (self.width, self.height);
        let (middle, centre) = (self.x(0.5), self.y(0.5));
        let (bottom, side) = (top + height + 38.0, left - 44.0);
        let (above, title) = (top - 12.0, escaped(title));
        let _ = write!(
            svg,
            "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" fill=\"none\" stroke=\"#888\"/>\n\
             <text x=\"{left}\" y=\"{above}\" font-size=\"14\" font-weight=\"bold\">{title}</text>\n\
             <text x=\"{middle}\" y=\"{bottom}\" text-anchor=\"middle\">{across}</text>\n\
             <text x=\"{side}\" y=\"{centre}\" text-anchor=\"middle\" transform=\"rotate(-90 {side} {centre})\">{upwards}</text>\n"
        );
    }

    fn tick_across(self, svg: &mut String, at: f64, label: &str) {
        let (x, top, bottom) = (self.x(at), self.y(1.0), self.y(0.0));
        let under = bottom + 16.0;
        let _ = write!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#e4e4e4\"/>\n\
             <text x=\"{x:.1}\" y=\"{under}\" text-anchor=\"middle\">{label}</text>\n"
        );
    }

    fn tick_upwards(self, svg: &mut String, at: f64, label: &str) {
        let (y, left, right) = (self.y(at), self.x(0.0), self.x(1.0));
        let (beside, base) = (left - 6.0, y + 4.0);
        let _ = write!(
            svg,
            "<line x1=\"{left}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#e4e4e4\"/>\n\
             <text x=\"{beside}\" y=\"{base:.1}\" text-anchor=\"end\">{label}</text>\n"
        );
    }

    fn curve(self, svg: &mut String, points: &[(f64, f64)], stroke: &Stroke) {
        let mut line = String::new();
        for (x, y) in points {
            let _ = write!(line, "{:.1},{:.1} ", self.x(*x), self.y(*y));
        }
        let (colour, dash) = (stroke.colour, stroke.dash);
        let line = line.trim_end();
        let _ = writeln!(
            svg,
            "<polyline points=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>"
        );
    }

    /// An entry of the legend, under the axis: in a row of each policy, from some place across on.
    fn key(self, svg: &mut String, across: f64, row: usize, text: &str, stroke: &Stroke) {
        let (x, y) = (self.x(across), self.y(0.0) + UNDER_AXIS + ROW * row as f64);
        let (end, start, base) = (x + 28.0, x + 34.0, y + 4.0);
        let (colour, dash, text) = (stroke.colour, stroke.dash, escaped(text));
        let _ = write!(
            svg,
            "<line x1=\"{x}\" y1=\"{y}\" x2=\"{end}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>\n\
             <text x=\"{start}\" y=\"{base}\">{text}</text>\n"
        );
    }
}

struct Stroke {
    colour: &'static str,
    dash: &'static str,
}

impl Stroke {
    fn of(policy: usize, class: &str) -> Self {
        Self {
            colour: COLOURS[policy % COLOURS.len()],
            dash: if class == "heavy" { "6 4" } else { "none" },
        }
    }
}

/// Light and heavy users apart where there are such; otherwise all together.
fn drawn(outcome: &Outcome) -> Vec<Class> {
    let mut classes = outcome.classes();
    let is_split = classes.iter().any(|class| class.name == "light");
    classes.retain(|class| (class.name == "all") != is_split && (is_split || class.name == "all"));
    classes
}

fn waits(svg: &mut String, outcomes: &[Outcome]) {
    let panel = Panel {
        left: 70.0,
        top: TOP,
        width: 560.0,
        height: HEIGHT,
    };
    let longest = outcomes.iter().flat_map(|outcome| &outcome.waits);
    let longest = longest.map(|(_, wait)| *wait).max().unwrap_or(0) as f64;
    let decades = (longest / WAIT_MIN_US).max(10.0).log10().ceil();
    for decade in 0..=decades as i32 {
        let label = match decade {
            0 => "1 ms".to_owned(),
            1 => "10 ms".to_owned(),
            2 => "100 ms".to_owned(),
            _ => format!("{} s", 10_u64.pow(decade as u32 - 3)),
        };
        panel.tick_across(svg, f64::from(decade) / decades, &label);
    }
    for percent in [0, 25, 50, 75, 100] {
        panel.tick_upwards(svg, f64::from(percent) / 100.0, &format!("{percent} %"));
    }
    panel.frame(
        svg,
        "How long tasks waited",
        "wait for a slot (logarithmic)",
        "tasks that waited at most so long",
    );
    for (policy, outcome) in outcomes.iter().enumerate() {
        for (n, class) in drawn(outcome).into_iter().enumerate() {
            let waits = outcome.sorted_waits_us(&class.users);
            if waits.is_empty() {
                continue;
            }
            let point = |n: usize| {
                let part = n as f64 / POINTS as f64;
                let wait = waits[(waits.len() - 1) * n / POINTS] as f64;
                ((wait / WAIT_MIN_US).max(1.0).log10() / decades, part)
            };
            let stroke = Stroke::of(policy, &class.name);
            let points: Vec<_> = (0..=POINTS).map(point).collect();
            panel.curve(svg, &points, &stroke);
            let text = match class.name.as_str() {
                "all" => outcome.policy.clone(),
                class => format!("{}, {class} users", outcome.policy),
            };
            panel.key(svg, 0.5 * n as f64, policy, &text, &stroke);
        }
    }
}

fn shares(svg: &mut String, outcomes: &[Outcome]) {
    let panel = Panel {
        left: 710.0,
        top: TOP,
        width: 300.0,
        height: HEIGHT,
    };
    for percent in [0, 50, 100] {
        panel.tick_across(svg, f64::from(percent) / 100.0, &format!("{percent} %"));
    }
    for (at, label) in [
        (0.0, "0"),
        (0.5, "0.5"),
        (1.0, "1"),
        (1.5, "1.5"),
        (RATIO_MAX, "2"),
    ] {
        panel.tick_upwards(svg, at / RATIO_MAX, label);
    }
    panel.frame(
        svg,
        "What users got",
        "users, those who got least first",
        "slot time got / fair share",
    );
    for (policy, outcome) in outcomes.iter().enumerate() {
        let ratios = outcome.users.iter().filter_map(UserOutcome::ratio);
        let mut ratios: Vec<f64> = ratios.collect();
        ratios.sort_by(f64::total_cmp);
        if ratios.is_empty() {
            continue;
        }
        let point = |n: usize| {
            let ratio = ratios[(ratios.len() - 1) * n / POINTS];
            (n as f64 / POINTS as f64, ratio / RATIO_MAX)
        };
        let stroke = Stroke::of(policy, "all");
        let points: Vec<_> = (0..=POINTS).map(point).collect();
        panel.curve(svg, &points, &stroke);
        let text = format!("{} (Jain {:.3})", outcome.policy, outcome.jain);
        panel.key(svg, 0.0, policy, &text, &stroke);
    }
}

/// Names of policies are anybody's text.
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerwork::policy::Policies;
    use peerwork::simulate::{Cluster, Mix, Trace, Workload};

    fn outcome(workload: Workload, policy: &str) -> Outcome {
        let mix = Mix {
            tasks: 300,
            ..Mix::default()
        };
        let policy = Policies::default().find(policy).unwrap();
        let trace = workload.trace(&mix);
        Cluster::default().run(&trace, &workload.weights(), policy)
    }

    #[test]
    fn a_plot_has_a_curve_and_a_key_for_each_policy_and_class_within_its_bounds() {
        let fifo = Outcome {
            policy: "<mine & \"yours\">".to_owned(),
            ..outcome(Workload::HeavyLight, "fifo")
        };
        let svg = of(&[fifo, outcome(Workload::HeavyLight, "fair")]);
        // Light and heavy waits, and the shares, of two policies.
        assert_eq!(svg.matches("<polyline").count(), 6);
        assert!(svg.contains("fair, heavy users") && svg.contains("fair (Jain "));
        assert!(svg.contains("&lt;mine &amp; &quot;yours&quot;&gt;, light users"));
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        let points = svg.split("points=\"").skip(1);
        for point in points.flat_map(|rest| rest.split('"').next().unwrap().split(' ')) {
            let (x, y) = point.split_once(',').unwrap();
            let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
            assert!(
                (0.0..=WIDTH).contains(&x) && (TOP..=TOP + HEIGHT).contains(&y),
                "{point}"
            );
        }
    }

    #[test]
    fn few_users_have_one_curve_of_waits() {
        let svg = of(&[outcome(Workload::Weights, "fair")]);
        assert_eq!(svg.matches("<polyline").count(), 2);
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        let fair = Policies::default().find("fair").unwrap();
        let none = Cluster::default().run(&Trace::default(), &Default::default(), fair);
        assert!(!of(&[none]).contains("NaN"));
    }
}
