//! The binary `peerwork`: everything is in the library beside it.

use peerwork_cli::Exit;

#[tokio::main]
async fn main() -> Exit {
    peerwork_cli::program(std::env::args_os().skip(1)).await
}
