//! The road of a connection: sign in, ask the database, go by proxy, go by ssh, be denied.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::command::Failure;

use super::app::{Database, Shell};
use super::bridge::{Bridge, Way};
use super::page;
use super::place::Place;
use super::process::{PATIENCE, Running, Server, finish, said};
use super::timeline::Told;

/// How long a person may take at the issuer's page.
const PERSON: Duration = Duration::from_secs(600);
/// The title of the wiki's page.
const WIKI: &str = "<h1>The wiki</h1>";

type Step<T> = Result<(T, Told), Failure>;

/// Starts issuer, gateway and sample apps, with the real apps added; returns the gateway's URL.
pub(super) async fn start(
    place: &Place,
    servers: &mut Vec<Server>,
    database: &Database,
    shell: Option<&Shell>,
) -> Step<String> {
    let mut apps = String::new();
    let mut are = vec!["echo, wiki and payroll are the gateway's own samples".to_owned()];
    match database {
        Database::Postgres { port, version } => {
            apps.push_str(&table("db-prod", "postgresql", *port, "hosts = [\"db.prod.internal\"]\n"));
            are.push(format!("db-prod is a real PostgreSQL {version}, started for this demo on 127.0.0.1:{port}"));
        }
        Database::Echo { why } => {
            are.push(format!("there is no PostgreSQL here ({why}): the echo app stands in for db-prod"));
        }
    }
    if let Some(Shell { port, version }) = shell {
        apps.push_str(&table("bastion", "ssh", *port, ""));
        are.push(format!("bastion is a real {version} server, started for this demo on 127.0.0.1:{port}"));
    }
    place.folder("added")?;
    let added = place.write("added/apps.toml", &apps)?;
    let mut gateway = place.gateway(&["dev", "--json", "--listen", "127.0.0.1:0", "--dir"]);
    gateway.arg(place.join("gateway")).arg("--add-config").arg(added);
    let mut server = Server::start("gateway", &place.logs(), &mut gateway)?;
    let ready = server.line("\"ready\"").await;
    servers.push(server);
    let ready: Value = json(&ready?)?;
    let (url, issuer) = (text(&ready, "gateway")?, text(&ready, "issuer")?);
    let told = Told::note(format!("gateway {url}, issuer {issuer}")).and(are.join("\n"));
    Ok((url, told))
}

fn table(name: &str, kind: &str, port: u16, more: &str) -> String {
    format!(
        "[[app]]\nname = \"{name}\"\nkind = \"{kind}\"\ntarget = \"127.0.0.1:{port}\"\ntags = [\"sample\"]\n{more}\n"
    )
}

/// Signs alice in by a code that is approved on the issuer's own page.
pub(super) async fn login(place: &Place, gateway: &str, interactive: bool) -> Step<()> {
    let mut command = place.ztsa(&["login", "--device", "--no-open", gateway]);
    let typed = said(&command);
    let mut login = Running::start(command.arg("--json"))?;
    let prompt = login.line("\"sign_in\"", PATIENCE).await?;
    let prompt: Value = json(&prompt.text)?;
    let (code, address) = (text(&prompt, "user_code")?, text(&prompt, "verification_uri_complete")?);
    let how = if interactive {
        println!("\n  Open this address in a browser on this machine and approve the code {code}:");
        println!("    {address}");
        println!("  The name is alice, the password alice. This waits for you.\n");
        format!("you approved the code {code}")
    } else {
        let pages = page::approve(place, &address, "alice").await?;
        format!("the code {code} was approved on the issuer's pages: {}", pages.join(" > "))
    };
    login.line("\"signed_in\"", if interactive { PERSON } else { PATIENCE }).await?;
    login.ended(PATIENCE).await?.ok()?;
    Ok((
        (),
        Told::typed(typed)
            .and(how)
            .and("the tokens are bound to a key of this device, sealed on disk, useless elsewhere"),
    ))
}

/// Lists what alice may know of.
pub(super) async fn apps(place: &Place, database: &Database) -> Step<()> {
    let mut command = place.ztsa(&["apps"]);
    let typed = said(&command);
    let listed = finish(&mut command).await?.ok()?;
    if !listed.contains(database.app()) {
        return Err(Failure::Wrong(format!("{} is not in the list:\n{listed}", database.app())));
    }
    Ok(((), Told::typed(typed).and(listed)))
}

/// Asks the database a question with its own client.
pub(super) async fn query(place: &Place, database: &Database) -> Step<()> {
    let mut command = place.ztsa(&["connect", database.app(), "--"]);
    command.args(database.ask());
    let typed = said(&command);
    let answer = finish(&mut command).await?.ok()?;
    expect(&answer, &database.answer())?;
    Ok(((), Told::typed(typed).and(answer)))
}

/// Starts the person's proxy; returns it with its address.
pub(super) async fn proxy(place: &Place) -> Step<(Running, SocketAddr)> {
    let mut command = place.ztsa(&["proxy", "--listen", "127.0.0.1:0"]);
    let typed = said(&command);
    let mut proxy = Running::start(command.arg("--json"))?;
    let ready: Value = json(&proxy.line("\"ready\"", PATIENCE).await?.text)?;
    let listen = text(&ready, "listen")?;
    let address = listen.parse().map_err(|_| Failure::Wrong(format!("{listen} is no address")))?;
    Ok(((proxy, address), Told::typed(typed).and(format!("{listen} serves this user's programs only"))))
}

/// Reads the wiki's page and asks the database, both by the person's proxy.
pub(super) async fn by_proxy(place: &Place, proxy: SocketAddr, way: Way, database: &Database) -> Step<()> {
    let mut curl = place.command("curl");
    curl.args(["--silent", "--show-error", "--max-time", "20"]);
    match way {
        Way::Socks5 => curl.args(["--socks5-hostname", &proxy.to_string()]),
        Way::HttpConnect => curl.args(["--proxytunnel", "--proxy", &format!("http://{proxy}")]),
    };
    let typed = said(curl.arg("http://wiki.ztsa/"));
    let page = finish(&mut curl).await?.ok()?;
    expect(&page, WIKI)?;
    let told = Told::typed(typed).and("The wiki: You reached a private app through ztsa.");
    let Database::Postgres { .. } = database else { return Ok(((), told)) };
    let bridge = Bridge::start(proxy, way, database.app()).await?;
    let mut words = database.ask().into_iter();
    let mut psql = place.command(words.next().unwrap_or_default());
    psql.args(words).env("PGHOST", "127.0.0.1").env("PGPORT", bridge.port.to_string());
    let answer = finish(&mut psql).await?.ok()?;
    expect(&answer, &database.answer())?;
    Ok(((), told.and(format!("psql, by a small bridge to the same proxy: {answer}"))))
}

/// Runs a command on the real ssh server.
pub(super) async fn ssh(place: &Place) -> Step<()> {
    let mut ssh = place.command("ssh");
    ssh.arg("-F").arg(place.join("ssh/config")).args(["-o", "ProxyCommand=ztsa stdio %h:%p", "bastion"]);
    ssh.arg("echo \"here is $(whoami), reached from ${SSH_CONNECTION%% *} by a key\"; exit 42");
    let outcome = finish(&mut ssh).await?;
    if outcome.status.code() != Some(42) {
        return Err(Failure::Wrong(outcome.all()));
    }
    expect(&outcome.stdout(), "here is ")?;
    if outcome.stderr().contains("ztsa:") {
        return Err(Failure::Wrong(format!("ztsa said something about a good connection: {}", outcome.stderr())));
    }
    let typed = "ssh -o ProxyCommand=\"ztsa stdio %h:%p\" bastion 'echo ..; exit 42'";
    Ok(((), Told::typed(typed).and(outcome.stdout()).and("exit code 42, the remote command's own")))
}

/// Is denied an app, with the reason and what to do.
pub(super) async fn denied(place: &Place) -> Step<()> {
    let mut command = place.ztsa(&["connect", "payroll", "--", "curl", "http://{addr}/"]);
    let typed = said(&command);
    let outcome = finish(&mut command).await?;
    if outcome.status.code() != Some(4) {
        return Err(Failure::Wrong(format!("not exit code 4, denied: {}", outcome.all())));
    }
    for wanted in ["payroll is for the operations team", "ask an administrator to add you to the group ops"] {
        expect(&outcome.stderr(), wanted)?;
    }
    Ok(((), Told::typed(typed).and(outcome.stderr()).and("exit code 4: denied by policy")))
}

/// Insists that an output holds a text.
pub(super) fn expect(output: &str, text: &str) -> Result<(), Failure> {
    if output.contains(text) { Ok(()) } else { Err(Failure::Wrong(format!("no {text:?} in:\n{output}"))) }
}

/// Reads one JSON value.
pub(super) fn json(line: &str) -> Result<Value, Failure> {
    serde_json::from_str(line).map_err(|error| Failure::Wrong(format!("no JSON ({error}): {line}")))
}

fn text(value: &Value, member: &str) -> Result<String, Failure> {
    let found = value.get(member).and_then(Value::as_str);
    found.map(str::to_owned).ok_or_else(|| Failure::Wrong(format!("no {member:?} in {value}")))
}
