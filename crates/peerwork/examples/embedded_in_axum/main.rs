//! A web service whose users create, list, pause, resume and delete tasks of their own. Without an address it tries
//! itself out and ends.
//!
//!     cargo run -p peerwork --example embedded_in_axum [127.0.0.1:8080]
//!     curl -H 'x-user: ann' --json 1000000 127.0.0.1:8080/tasks

use axum::extract::{FromRequestParts, Path};
use axum::http::{StatusCode, request::Parts};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use count::Count;
use peerwork::{Client, Database, Handler, Node, State, Status, TaskId};
use std::error::Error;
use tokio::net::TcpListener;

mod count;
mod tryout;

type Answer<T> = Result<Json<T>, (StatusCode, String)>;

/// A client that finds the tasks of whoever asks, and nobody else's.
struct Mine(Client);

impl FromRequestParts<Client> for Mine {
    type Rejection = (StatusCode, String);

    async fn from_request_parts(parts: &mut Parts, all: &Client) -> Result<Self, Self::Rejection> {
        // How to know who asks is the service's own matter; here one simply says so.
        let user = parts.headers.get("x-user");
        let user = user.and_then(|user| user.to_str().ok());
        let user = user.ok_or((StatusCode::UNAUTHORIZED, "who are you?".to_owned()))?;
        all.of_user(user).map(Self).map_err(refused)
    }
}

fn refused(error: peerwork::Error) -> (StatusCode, String) {
    let status = match &error {
        error if error.is_not_found() || error.is_gone() => StatusCode::NOT_FOUND,
        error if error.is_refused() => StatusCode::CONFLICT,
        error if error.is_invalid() => StatusCode::BAD_REQUEST,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, error.to_string())
}

async fn create(Mine(client): Mine, Json(to): Json<u64>) -> Answer<TaskId> {
    let task = client.create(Count::task(to)).await.map_err(refused)?;
    Ok(Json(task.id()))
}

async fn list(Mine(client): Mine) -> Answer<Vec<(TaskId, State)>> {
    let page = client.tasks().list().await.map_err(refused)?;
    Ok(Json(
        page.tasks
            .iter()
            .map(|task| (task.id, task.state()))
            .collect(),
    ))
}

fn answer(status: peerwork::Result<Status>) -> Answer<String> {
    Ok(Json(status.map_err(refused)?.to_string()))
}

fn service(client: Client) -> Router {
    let pause = async |Mine(client): Mine, Path(id)| answer(client.task(id).pause().await);
    let resume = async |Mine(client): Mine, Path(id)| answer(client.task(id).resume().await);
    let remove = async |Mine(client): Mine, Path(id)| answer(client.task(id).delete().await);
    Router::new()
        .route("/tasks", get(list).post(create))
        .route("/tasks/{id}", delete(remove))
        .route("/tasks/{id}/pause", post(pause))
        .route("/tasks/{id}/resume", post(resume))
        .with_state(client)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}/tasks.db", folder.path().display());
    let node = Node::builder(Database::connect(&url).await?);
    let node = node.register(Count).start().await?;

    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0")).await?;
    let at = listener.local_addr()?;
    println!("listening on {at}");
    let server = axum::serve(listener, service(node.client()));
    let end = async move {
        match address {
            Some(_) => tokio::signal::ctrl_c().await.expect("it can be heard"),
            None => tryout::run(at).await.expect("it works"),
        }
    };
    server.with_graceful_shutdown(end).await?;
    // Whoever runs a task is told to stop; it goes on at the next start, or on another node.
    node.drain().await;
    Ok(())
}
