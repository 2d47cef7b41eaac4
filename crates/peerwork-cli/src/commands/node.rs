//! `node list`, and `node run` for a service with handlers.

use crate::args::{Connection, Format, NodeCommand};
use crate::connect;
use crate::exit::{Exit, Trouble};
use crate::host::Host;
use crate::output::json::NodeLine;
use crate::output::{Output, text};
use peerwork::Node;

pub(super) async fn run(
    command: NodeCommand,
    connection: &Connection,
    host: Host,
    output: Output,
) -> Result<Exit, Trouble> {
    match command {
        NodeCommand::List => list(connection, &host, output).await,
        NodeCommand::Run => run_node(connection, host, output).await,
    }
}

async fn list(connection: &Connection, host: &Host, output: Output) -> Result<Exit, Trouble> {
    let client = connect::client(connection, host).await?;
    let trouble = |error| Trouble::of("cannot list nodes", &error);
    let nodes = client.nodes().await.map_err(trouble)?;
    let now = client.now().await.map_err(trouble)?;
    match output.format {
        Format::Text if nodes.is_empty() => output.remark("no nodes"),
        Format::Text => output.line(&text::nodes(&nodes, now))?,
        Format::Json => {
            for node in &nodes {
                output.print(String::new, &NodeLine::new(node, now))?;
            }
        }
    }
    Ok(Exit::Done)
}

async fn run_node(
    connection: &Connection,
    mut host: Host,
    output: Output,
) -> Result<Exit, Trouble> {
    let Some(setup) = host.node.take() else {
        return Err(Trouble::new(
            Exit::Usage,
            "cannot run a node",
            "this program has no handlers",
            "run it in the service that has them",
        ));
    };
    let database = connect::database(connection, &host).await?;
    let node = setup(Node::builder(database))
        .start()
        .await
        .map_err(|error| Trouble::opening(&error))?;
    output.remark(&format!(
        "node {} runs; Ctrl-C hands its tasks over",
        node.id()
    ));
    crate::signals::interrupted().await;
    let report = node.drain().await;
    output.remark(&format!(
        "handed over {}, ended {}, abandoned {} in {} ms",
        report.handed_over,
        report.ended,
        report.abandoned,
        report.took.as_millis()
    ));
    Ok(if report.abandoned == 0 {
        Exit::Done
    } else {
        Exit::Failed
    })
}
