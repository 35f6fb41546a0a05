//! The ztsa client library: sign in, keep the session, describe the device, open tunnels to apps, serve them locally.
//!
//! Modules, each naming only those above it: [`config`], `apart` (work that may hang), [`http`] (requests with DPoP), [`discovery`] (who signs people
//! in), [`login`] (device and browser flow), [`workload`] (a job's own token), [`tpm`], [`store`] (sealed credentials), [`device`] (the device key), [`token`] (one session for all processes),
//! [`posture`] (what this device says about itself), [`api`] (the gateway's JSON endpoints), [`tunnel`] (HTTP/2 streams
//! on warm connections), [`stream`] (a tunnel as a byte stream), [`listener`] (where local programs come in), [`client`] (the
//! front door).
//!
//! The library reads no terminal and no home directory: values come in with [`config::Config`].
//!
//! ```no_run
//! # async fn example() -> Result<(), ztsa_core::Error> {
//! use ztsa_core::{Client, DeviceFlow};
//!
//! let client = Client::builder("https://gw.example.com").state_dir("/home/me/.local/state/my-tool").build().await?;
//! if client.session().await.is_err() {
//!     let flow = DeviceFlow::new(|prompt| eprintln!("open {} and enter {}", prompt.verification_uri, prompt.user_code));
//!     client.login(flow).await?;
//! }
//! // a byte stream to an app, without a local port
//! let stream = client.connect("db-prod").await?;
//! // the same app on a local port, for programs that want one
//! let forward = client.forward("db-prod", "127.0.0.1:0").await?;
//! println!("db-prod is at {}", forward.local_addr());
//! // and every app behind one SOCKS5 and HTTP proxy
//! let proxy = client.proxy("127.0.0.1:1080").await?;
//! proxy.closed().await;
//! # drop(stream);
//! # Ok(())
//! # }
//! ```

pub mod config;

mod apart;

pub mod http;

pub mod discovery;

pub mod login;

pub mod workload;

pub mod tpm;

pub mod store;

pub mod device;

pub mod posture;

pub mod token;

pub mod api;

pub mod tunnel;

pub mod stream;

pub mod listener;

pub mod client;

pub use crate::client::{AppStream, Client, Error};
pub use crate::config::Config;
pub use crate::listener::event::{Event, Events};
pub use crate::login::{BrowserFlow, DeviceFlow};
