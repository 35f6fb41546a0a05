//! A small HTTP server on loopback that answers as a test says, and keeps what it was sent.

use std::{
    collections::HashMap,
    fmt::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use ztsa_net::task::Scope;

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl Received {
    /// A field of the form in the body.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.body.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The claims of the DPoP proof.
    pub(crate) fn proof(&self) -> serde_json::Value {
        let jws = ztsa_proto::jws::Compact::parse(self.header("dpop")).unwrap();
        jws.claims().unwrap()
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: String,
    },
    /// Nothing, with the connection left open.
    Hang,
    /// The connection is closed without an answer.
    Close,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::text(status, "application/json", &body.to_string())
    }

    pub(crate) fn text(status: u16, media: &str, body: &str) -> Self {
        let headers = vec![("content-type".to_owned(), media.to_owned())];
        Self::Answer { status, headers, body: body.to_owned() }
    }

    pub(crate) fn html(status: u16) -> Self {
        Self::text(status, "text/html", "<html><title>Hotel WiFi</title></html>")
    }

    pub(crate) fn with(self, name: &str, value: &str) -> Self {
        match self {
            Self::Answer { status, mut headers, body } => {
                headers.push((name.to_owned(), value.to_owned()));
                Self::Answer { status, headers, body }
            }
            other => other,
        }
    }
}

/// The running server.
pub(crate) struct Script {
    pub(crate) url: String,
    received: Arc<Mutex<Vec<Received>>>,
    _scope: Scope,
}

impl Script {
    pub(crate) async fn serve(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (scope, received) = (Scope::new(), Arc::new(Mutex::new(Vec::new())));
        let (spawner, log, answer) = (scope.spawner(), Arc::clone(&received), Arc::new(answer));
        scope.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                spawner.spawn(async move { one(stream, &log, &*answer).await });
            }
        });
        Self { url, received, _scope: scope }
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// How often a path was asked for.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.received().iter().filter(|request| request.path == path).count()
    }
}

async fn one(mut stream: TcpStream, log: &Mutex<Vec<Received>>, answer: &(dyn Fn(&Received) -> Reply + Send + Sync)) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let request = loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
        if bytes.first() == Some(&0x16) {
            // A TLS handshake; answered in plain text, as a server on the wrong port does.
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            return;
        }
        if let Some(request) = parse(&bytes) {
            break request;
        }
    };
    log.lock().unwrap().push(request.clone());
    match answer(&request) {
        Reply::Hang => std::future::pending().await,
        Reply::Close => {}
        Reply::Answer { status, headers, body } => {
            let mut head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
            for (name, value) in headers {
                let _ = write!(head, "{name}: {value}\r\n");
            }
            let _ = stream.write_all(format!("{head}\r\n{body}").as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    }
}

fn parse(bytes: &[u8]) -> Option<Received> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    if body.len() < length {
        return None;
    }
    Some(Received { method: first.next()?.to_owned(), path: first.next()?.to_owned(), headers, body: body.to_owned() })
}

/// A directory that is removed at the end of a test.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("ztsa-core-{}", ztsa_proto::jws::random_id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
