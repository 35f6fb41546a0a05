//! HAProxy between the client and the gateway.

use crate::gateway::{App, Gateway, Issuer};
use crate::home::Home;
use crate::process::{PATIENCE, finish, free_port, until};
use crate::program::certificate::Authority;
use crate::program::haproxy::HaProxy;
use crate::program::oidc_provider::OidcProvider;
use crate::program::postgres::Postgres;
use crate::sign_in::{begin, end};

#[test]
fn psql_queries_through_haproxy_and_the_gateway() {
    let authority = Authority::new();
    let (front, behind) = (free_port(), free_port());
    let audience = format!("https://127.0.0.1:{front}");
    let postgres = Postgres::start(&authority);
    let provider = OidcProvider::start(&audience);
    let scopes = ["openid", "profile", "email", "groups", "offline_access"];
    let issuer = Issuer { url: &provider.issuer, audience: &audience, port: behind, scopes: &scopes };
    let gateway = Gateway::run(&[App("orders", "postgresql", postgres.port, &[])], &authority, &issuer);
    let balancer = HaProxy::start(front, behind, &authority);
    let home = Home::new(&gateway);
    let (login, url) = begin(&home, &gateway);
    provider.approve(&url, "alice");
    end(login);
    let mut psql = home.ztsa(&["connect", "orders", "--", "psql", "-U", "app", "-d", "postgres", "-Atc"]);
    assert_eq!(finish(psql.arg("select count(*) from generate_series(1, 100000)")).ok(), "100000\n");
    // an extended CONNECT is an upgrade to HAProxy
    let tunnel = |line: &str| line.contains(" 101 ") && line.contains("/.well-known/masque/tcp/orders/");
    until("HAProxy to tell of the tunnel", PATIENCE, || balancer.log().lines().any(tunnel).then_some(()));
}
