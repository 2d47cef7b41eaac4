//! The command line of `setting`, as types.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum SettingCommand {
    /// List what is set
    List,
    /// Set limits, starts per second and weights; what is not named stays as it is
    Set(SetArgs),
    /// Close a gate: nothing of it starts before it is opened
    Gate(GateArgs),
    /// Open a gate
    Open(ScopeArgs),
    /// Take everything back that is set
    Clear(ScopeArgs),
    /// Choose the policy of all nodes
    Policy(PolicyArgs),
}

/// Which policy: one of the two.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct PolicyArgs {
    /// A built-in one (fifo, fair, weighted-groups=5, priority-ageing=60s), or the name by which nodes know another
    #[arg(value_name = "POLICY")]
    pub policy: Option<String>,
    /// None for all: each node has its own
    #[arg(long)]
    pub own: bool,
}

/// What it is for: a group, a user, a user in a group, a kind, or everything.
#[derive(Clone, Debug, Args)]
pub(crate) struct ScopeArgs {
    /// The tasks in this group
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// The tasks of this user; with --group: of this user in that group
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// The tasks of this kind
    #[arg(long, value_name = "KIND", conflicts_with_all = ["group", "user"])]
    pub kind: Option<String>,
    /// All tasks
    #[arg(long, conflicts_with_all = ["group", "user", "kind"])]
    pub everything: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// Tasks that run at once in the whole cluster, or `none`
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<Number>,
    /// Tasks that run at once on each node, or `none`
    #[arg(long, value_name = "NUMBER")]
    pub limit_per_node: Option<Number>,
    /// Starts per second; a second's worth may start at once after a quiet time
    #[arg(long, value_name = "STARTS")]
    pub starts_per_second: Option<f64>,
    /// Starts at once after a quiet time
    #[arg(long, value_name = "NUMBER", requires = "starts_per_second")]
    pub burst: Option<u32>,
    /// No limit of starts per second any more
    #[arg(long, conflicts_with = "starts_per_second")]
    pub no_rate: bool,
    /// The share, for a policy that weighs
    #[arg(long, value_name = "NUMBER")]
    pub weight: Option<u32>,
}

/// A number, or `none`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number(pub Option<u32>);

impl std::str::FromStr for Number {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            text => match text.parse() {
                Ok(number) => Ok(Self(Some(number))),
                Err(_) => Err("a number or `none`".to_owned()),
            },
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct GateArgs {
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// Why it is closed
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Who closes it
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// It opens by itself after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<u64>,
    /// Ask what runs to stop; it resumes by itself when the gate opens
    #[arg(long)]
    pub pausing: bool,
    /// At most so many starts per second once it opens ..
    #[arg(long, value_name = "STARTS")]
    pub ramp: Option<f64>,
    /// .. for so many seconds
    #[arg(long, value_name = "SECONDS", requires = "ramp", default_value_t = 60)]
    pub ramp_seconds: u64,
}
