//! PostgreSQL's own clients.

use crate::gateway::{App, Gateway};
use crate::home::Home;
use crate::process::{PATIENCE, finish, until};
use crate::program::certificate::Authority;
use crate::program::postgres::{HOST, Postgres};

/// A database, a gateway in front of it and a signed-in person.
struct Road {
    home: Home,
    authority: Authority,
    gateway: Gateway,
    _postgres: Postgres,
}

fn road() -> Road {
    let authority = Authority::new();
    let postgres = Postgres::start(&authority);
    let gateway = Gateway::dev(&[App("orders", "postgresql", postgres.port, &[HOST])]);
    let home = Home::signed_in(&gateway);
    Road { home, authority, gateway, _postgres: postgres }
}

const AS_APP: [&str; 4] = ["-U", "app", "-d", "postgres"];

#[test]
fn psql_queries_through_connect() {
    let road = road();
    let mut ztsa = road.home.ztsa(&["connect", "orders", "--", "psql"]);
    ztsa.args(AS_APP).args(["-Atc", "select 6 * 7, inet_server_port() > 0"]);
    assert_eq!(finish(&mut ztsa).ok(), "42|t\n");
}

#[test]
fn psql_takes_the_connection_string_and_the_uri_that_connect_prints() {
    let road = road();
    for (form, start, more) in
        [("dsn", "host=", " user=app dbname=postgres"), ("uri", "postgresql://", "&user=app&dbname=postgres")]
    {
        let mut connect = road.home.start(&["connect", "orders", "--listen", "127.0.0.1:0", "--print", form]);
        let printed = connect.shows(form, |log| {
            let mut lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            lines.find(|line| line.starts_with(start)).map(|line| line.trim().to_owned())
        });
        assert!(printed.contains(HOST), "{printed}");
        let mut psql = road.home.command("psql");
        // by its real name, although it is reached on this machine
        psql.env("PGSSLMODE", "verify-full").env("PGSSLROOTCERT", road.authority.file());
        assert_eq!(finish(psql.arg(format!("{printed}{more}")).args(["-Atc", "select 6 * 7"])).ok(), "42\n");
    }
}

#[test]
fn psql_s_own_exit_code_is_the_command_s() {
    let road = road();
    let mut ztsa = road.home.ztsa(&["connect", "orders", "--", "psql"]);
    ztsa.args(AS_APP).args(["-v", "ON_ERROR_STOP=1", "-c", "select nothing from nowhere", "-c", "select 1"]);
    let outcome = finish(&mut ztsa).exits(1);
    assert!(outcome.stderr.contains("nowhere"), "{outcome}");
}

#[test]
fn psql_verifies_the_server_s_real_name_through_the_tunnel() {
    let road = road();
    let mut ztsa = road.home.ztsa(&["connect", "orders", "--", "psql"]);
    ztsa.env("PGSSLMODE", "verify-full").env("PGSSLROOTCERT", road.authority.file());
    let ssl = "select ssl, version from pg_stat_ssl where pid = pg_backend_pid()";
    assert_eq!(finish(ztsa.args(AS_APP).args(["-Atc", ssl])).ok(), "t|TLSv1.3\n");
}

#[test]
fn pgbench_runs_many_connections_and_loses_nothing() {
    let road = road();
    let pgbench = |arguments: &[&str]| {
        let mut ztsa = road.home.ztsa(&["connect", "orders", "--", "pgbench", "-U", "app"]);
        finish(ztsa.args(arguments).arg("postgres"))
    };
    pgbench(&["--initialize", "--quiet", "--scale=1"]).ok();
    let report = pgbench(&["--client=8", "--jobs=2", "--transactions=25", "--no-vacuum"]).ok();
    assert!(report.contains("number of transactions actually processed: 200/200"), "{report}");
    assert!(report.contains("number of failed transactions: 0 "), "{report}");
    // a connection for each transaction
    let report = pgbench(&["--client=4", "--transactions=10", "--no-vacuum", "--connect", "--select-only"]).ok();
    assert!(report.contains("number of transactions actually processed: 40/40"), "{report}");
    let mut psql = road.home.ztsa(&["connect", "orders", "--", "psql"]);
    let balance = "select count(*), sum(delta) = (select sum(bbalance) from pgbench_branches) from pgbench_history";
    assert_eq!(finish(psql.args(AS_APP).args(["-Atc", balance])).ok(), "200|t\n");
}

#[test]
fn psql_sees_a_broken_connection_and_the_person_the_reason_when_access_is_revoked() {
    let road = road();
    let mut waiting =
        road.home.start(&[&["connect", "orders", "--", "psql", "-c", "select pg_sleep(600)"], &AS_APP[..]].concat());
    let audit = || road.gateway.audit().contains("orders").then_some(());
    until("the tunnel in the audit log", PATIENCE, audit);
    road.gateway.admin(&["risk", "set", "alice", "95", "--reason", "laptop reported stolen"]).ok();
    let status = waiting.ended();
    assert!(!status.success(), "psql ended with {status}");
    let said = waiting.log();
    assert!(said.contains("laptop reported stolen"), "the person was not told why: {said}");
    let denied = finish(road.home.ztsa(&["connect", "orders", "--", "psql"]).args(AS_APP).args(["-c", "select 1"]));
    assert_ne!(denied.code, Some(0), "{denied}");
    road.gateway.admin(&["risk", "clear", "alice"]).ok();
    let mut again = road.home.ztsa(&["connect", "orders", "--", "psql"]);
    assert_eq!(finish(again.args(AS_APP).args(["-Atc", "select 1"])).ok(), "1\n");
}
