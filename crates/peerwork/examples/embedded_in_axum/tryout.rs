//! A few requests by two users, who see nothing of each other.

use peerwork::TaskId;
use std::error::Error;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Asks the service at `at`, and checks its answers.
pub async fn run(at: SocketAddr) -> Result<(), Box<dyn Error>> {
    let ann = async |request: String, body| ask(at, "ann", &request, body).await;
    let bob = async |request: String| ask(at, "bob", &request, "").await;

    let (status, id) = ann("POST /tasks".into(), "1000000").await?;
    assert_eq!(status, 200, "{id}");
    let id: TaskId = serde_json::from_str(&id)?;
    assert!(
        ann("GET /tasks".into(), "")
            .await?
            .1
            .contains(&id.to_string())
    );
    assert_eq!(bob("GET /tasks".into()).await?.1, "[]");
    assert_eq!(bob(format!("POST /tasks/{id}/pause")).await?.0, 404);

    let (status, _) = ann(format!("POST /tasks/{id}/pause"), "").await?;
    assert_eq!(status, 200);
    while !ann("GET /tasks".into(), "").await?.1.contains("paused") {}
    let (status, _) = ann(format!("POST /tasks/{id}/resume"), "").await?;
    assert_eq!(status, 200);

    assert_eq!(bob(format!("DELETE /tasks/{id}")).await?.0, 404);
    assert_eq!(ann(format!("DELETE /tasks/{id}"), "").await?.0, 200);
    while ann("GET /tasks".into(), "").await?.1 != "[]" {}
    assert_eq!(ann(format!("POST /tasks/{id}/resume"), "").await?.0, 404);
    assert_eq!(ann("POST /tasks".into(), "\"many\"").await?.0, 422);
    println!("it works");
    Ok(())
}

/// The status and the body of the answer to one request.
async fn ask(
    at: SocketAddr,
    user: &str,
    request: &str,
    body: &str,
) -> Result<(u16, String), Box<dyn Error>> {
    let text = format!(
        "{request} HTTP/1.0\r\nx-user: {user}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(at).await?;
    stream.write_all(text.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
    println!("{user}: {request} -> {status} {body}");
    Ok((status, body.to_owned()))
}
