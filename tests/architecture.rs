//! The shape of the house: which crate and which module may name which, and where some calls may stand.
//! Every rule is a pure function over a [`Tree`] of texts, so that the tests below can plant a wrong line and see it found.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What each crate of the house may name; a crate that is not listed (the root package, xtask) may name all.
const EDGES: &[(&str, &[&str])] = &[
    ("ztsa-proto", &[]),
    ("ztsa-net", &["ztsa-proto"]),
    ("ztsa-idp", &["ztsa-proto", "ztsa-net"]),
    ("ztsa-core", &["ztsa-proto", "ztsa-net"]),
    ("ztsa-gateway", &["ztsa-proto", "ztsa-net", "ztsa-idp"]),
    ("ztsa-cli", &["ztsa-proto", "ztsa-net", "ztsa-core"]),
];
/// Other people's crates that a crate of the house must not name, and why.
const FOREIGN: &[(&[&str], &[&str], &str)] = &[
    (
        &["ztsa-proto"],
        &["tokio", "socket2", "rustix", "h2", "hyper", "reqwest", "rustls", "tokio-rustls"],
        "what crosses the wire has no socket, clock or runtime",
    ),
    (&["ztsa-core", "ztsa-cli"], &["axum", "cedar-policy", "rusqlite", "rcgen"], "the client links no server code"),
];
const LINES: usize = 400;
const NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "types", "manager", "misc"];
const FOLDERS: &[&str] = &[
    "ztsa-proto",
    "ztsa-net",
    "ztsa-core",
    "ztsa-cli",
    "ztsa-gateway",
    "ztsa-idp",
    "xtask",
    "tests",
    "examples",
    "src",
];

type Tree = BTreeMap<String, String>;

#[test]
fn the_house_keeps_its_shape() {
    let tree = read(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(tree.len() > 20, "only {} files were read: the check would say nothing", tree.len());
    let wrong = check(&tree);
    assert!(wrong.is_empty(), "{} violations:\n{}", wrong.len(), wrong.join("\n"));
}

fn check(tree: &Tree) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, text) in tree {
        match path.rsplit('.').next() {
            Some("toml") => edges(path, text, &mut wrong),
            Some("rs") => {
                form(path, text, &mut wrong);
                calls(path, &tokens(text), &mut wrong);
            }
            _ => {}
        }
        if path.starts_with("ztsa-") && (path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs")) {
            order(tree, path, text, &mut wrong);
        }
    }
    wrong
}

/// Crate edges, from a manifest.
fn edges(path: &str, text: &str, wrong: &mut Vec<String>) {
    let Ok(manifest) = text.parse::<toml::Table>() else { return wrong.push(format!("{path}: not TOML")) };
    let name = manifest.get("package").and_then(|p| p.get("name")).and_then(toml::Value::as_str).unwrap_or_default();
    let mut named = Vec::new();
    let targets = manifest.get("target").and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::values);
    for table in std::iter::once(&toml::Value::Table(manifest.clone())).chain(targets) {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (key, value) in table.get(kind).and_then(toml::Value::as_table).into_iter().flatten() {
                let package = value.get("package").and_then(toml::Value::as_str).unwrap_or(key);
                let optional = value.get("optional").and_then(toml::Value::as_bool).unwrap_or(false);
                named.push((kind, package.to_owned(), optional));
            }
        }
    }
    let allowed = EDGES.iter().find(|(from, _)| *from == name).map(|(_, to)| *to);
    for (kind, to, optional) in &named {
        if to.starts_with("ztsa-") && allowed.is_some_and(|allowed| !allowed.contains(&to.as_str())) {
            wrong.push(format!("{path}: {name} must not name {to} ({kind})"));
        }
        if name == "ztsa-gateway" && to == "ztsa-idp" && (*kind != "dependencies" || !optional) {
            wrong.push(format!(
                "{path}: ztsa-gateway may name ztsa-idp only as an optional dependency, for feature dev"
            ));
        }
        for (from, banned, why) in FOREIGN {
            if from.contains(&name) && banned.contains(&to.as_str()) && *kind == "dependencies" {
                wrong.push(format!("{path}: {name} must not name {to}: {why}"));
            }
        }
    }
    let features = manifest.get("features").and_then(toml::Value::as_table);
    for (feature, enables) in features.into_iter().flatten().filter(|_| name == "ztsa-gateway") {
        let idp = enables.as_array().into_iter().flatten().any(|e| e.as_str().is_some_and(|e| e.contains("ztsa-idp")));
        if idp && feature != "dev" {
            wrong.push(format!("{path}: feature {feature} turns ztsa-idp on; only dev may"));
        }
    }
}

/// The form of one file: its name and its length.
fn form(path: &str, text: &str, wrong: &mut Vec<String>) {
    let lines = text.lines().count();
    if lines > LINES {
        wrong.push(format!("{path}: {lines} lines, more than {LINES}: split it"));
    }
    if path.ends_with("/mod.rs") {
        wrong.push(format!("{path}: a module is foo.rs and foo/, never mod.rs"));
    }
    for part in path.trim_end_matches(".rs").split('/') {
        if NAMES.contains(&part) {
            wrong.push(format!("{path}: `{part}` names no thing of the domain"));
        }
    }
}

/// Calls that belong to one place.
fn calls(path: &str, tokens: &[Token], wrong: &mut Vec<String>) {
    if !path.starts_with("ztsa-") {
        return;
    }
    let mut environment = path.starts_with("ztsa-cli/") || path.contains("/tests/");
    environment |= path == "ztsa-gateway/src/main.rs" || path.starts_with("ztsa-gateway/src/command");
    for_each_path(tokens, &mut |words, line| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let spawns =
            matches!(words.as_slice(), ["tokio", "spawn", ..] | ["tokio", "task", "spawn" | "spawn_local", ..]);
        if spawns && path != "ztsa-net/src/task.rs" {
            wrong.push(format!("{path}:{line}: a task belongs to a ztsa_net::task::Scope, not to tokio::spawn"));
        }
        let reads = words.windows(2).any(|w| matches!(w, ["env", "var" | "var_os" | "vars" | "vars_os"]));
        if reads && !environment {
            wrong.push(format!("{path}:{line}: the environment is read by the command line only; take a value"));
        }
        if let ["mod", name] = words.as_slice()
            && NAMES.contains(name)
        {
            wrong.push(format!("{path}:{line}: `mod {name}` names no thing of the domain"));
        }
    });
}

/// The order of modules: the `mod` lines of a crate's root from top to bottom; a module names only modules above it.
fn order(tree: &Tree, root: &str, text: &str, wrong: &mut Vec<String>) {
    let mut modules = Vec::new();
    for_each_path(&tokens(text), &mut |words, _| {
        if let [word, name] = words
            && word == "mod"
        {
            modules.push(name.clone());
        }
    });
    let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder);
    for (place, module) in modules.iter().enumerate() {
        let below: BTreeSet<&str> = modules.iter().skip(place + 1).map(String::as_str).collect();
        for (path, text) in tree.iter().filter(|(path, _)| {
            **path == format!("{folder}/{module}.rs") || path.starts_with(&format!("{folder}/{module}/"))
        }) {
            for_each_path(&tokens(text), &mut |words, line| {
                let supers = words.iter().take_while(|word| *word == "super").count();
                let depth = path.trim_start_matches(folder).matches('/').count();
                let named = match words {
                    [first, name, ..] if first == "crate" => name,
                    [.., name] if supers > 0 && supers == depth && words.len() == supers + 1 => name,
                    _ if supers > 0 && supers == depth => match words.get(supers) {
                        Some(name) => name,
                        None => return,
                    },
                    _ => return,
                };
                if below.contains(named.as_str()) {
                    wrong.push(format!("{path}:{line}: `{module}` names `{named}`, which stands below it in {root}"));
                }
                if words.first().is_some_and(|w| w == "crate") && named.starts_with(char::is_uppercase) {
                    wrong.push(format!(
                        "{path}:{line}: `crate::{named}` goes round the order of modules; name its module"
                    ));
                }
            });
        }
    }
}

/// A piece of Rust's text; comments and literals are gone.
#[derive(Debug, PartialEq)]
struct Token {
    text: String,
    line: usize,
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            _ if rest.starts_with("::") => 2,
            '"' => string(rest),
            'r' | 'b' if raw(rest).is_some() => raw(rest).unwrap_or(1),
            '\'' => character(rest),
            _ if first.is_alphanumeric() || first == '_' => {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
            }
            _ => first.len_utf8(),
        };
        let (piece, left) = rest.split_at(length);
        let literal = piece.starts_with("//") || piece.starts_with("/*") || piece.contains(['"', '\'']);
        if !literal && !piece.trim().is_empty() {
            tokens.push(Token { text: piece.to_owned(), line });
        }
        line += piece.matches('\n').count();
        rest = left;
    }
    tokens
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn raw(rest: &str) -> Option<usize> {
    let body = rest.trim_start_matches('b').strip_prefix('r')?;
    let marks = body.len() - body.trim_start_matches('#').len();
    let inside = body.get(marks..)?.strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(marks));
    let start = rest.len() - inside.len();
    Some(inside.find(&close).map_or(rest.len(), |end| start + end + close.len()))
}

/// The length of a character literal, or of the mark of a lifetime.
fn character(rest: &str) -> usize {
    match rest.as_bytes() {
        [_, b'\\', _, tail @ ..] => tail.iter().position(|b| *b == b'\'').map_or(rest.len(), |end| end + 4),
        _ => {
            let mut chars = rest.char_indices().skip(2);
            chars.next().filter(|(_, c)| *c == '\'').map_or(1, |(at, _)| at + 1)
        }
    }
}

/// Calls back for each path (`a::b::c`, groups unfolded) and each `mod name`, with its line.
fn for_each_path(tokens: &[Token], found: &mut dyn FnMut(&[String], usize)) {
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let word = |i: usize| tokens.get(i).map_or("", |t| t.text.as_str());
        let next = word(at + 1);
        if token.text == "mod" && next.starts_with(|c: char| c.is_alphabetic()) {
            found(&["mod".to_owned(), next.to_owned()], token.line);
            at += 2;
        } else if next == "::" && token.text.starts_with(|c: char| c.is_alphabetic()) {
            at = path(tokens, at, &mut Vec::new(), found);
        } else {
            at += 1;
        }
    }
}

/// Reads one path from a word on and returns where it ends.
fn path(tokens: &[Token], mut at: usize, before: &mut Vec<String>, found: &mut dyn FnMut(&[String], usize)) -> usize {
    let depth = before.len();
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "{" => {
                at += 1;
                while let Some(inner) = tokens.get(at).filter(|t| t.text != "}") {
                    at = if inner.text == "," { at + 1 } else { path(tokens, at, before, found).max(at + 1) };
                }
                before.truncate(depth);
                return at + 1;
            }
            word => before.push(word.to_owned()),
        }
        at += 1;
        if tokens.get(at).is_none_or(|t| t.text != "::") {
            found(before, token.line);
            break;
        }
        at += 1;
    }
    before.truncate(depth);
    at
}

fn read(root: &Path) -> Tree {
    fn walk(root: &Path, folder: &Path, tree: &mut Tree) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && name != "node_modules" {
                walk(root, &path, tree);
            } else if name.ends_with(".rs") || name == "Cargo.toml" {
                let relative = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
                tree.insert(relative, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut tree = Tree::new();
    for folder in FOLDERS.iter().map(|name| root.join(name)).filter(|folder| folder.is_dir()) {
        walk(root, &folder, &mut tree);
    }
    tree
}

/// Asserts that a tree of these files is reported with exactly these words.
fn planted(files: &[(&str, &str)], expected: &[&str]) {
    let tree = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    let wrong = check(&tree);
    assert_eq!(wrong.len(), expected.len(), "{wrong:?}");
    for (report, words) in wrong.iter().zip(expected) {
        assert!(report.contains(words), "{report:?} does not say {words:?}");
    }
}

#[test]
fn a_wrong_crate_edge_is_found() {
    let manifest = |name: &str, rest: &str| format!("[package]\nname = \"{name}\"\n{rest}");
    let one = |name: &str, rest: &str, expected: &[&str]| {
        planted(&[("x/Cargo.toml", &manifest(name, rest))], expected);
    };
    one("ztsa-core", "[dependencies]\nztsa-gateway.workspace = true", &["ztsa-core must not name ztsa-gateway"]);
    one("ztsa-core", "[dev-dependencies]\nztsa-gateway.workspace = true", &["must not name ztsa-gateway (dev-"]);
    one("ztsa-gateway", "[dependencies]\nc = { package = \"ztsa-core\", path = \"\" }", &["must not name ztsa-core"]);
    one("ztsa-cli", "[target.'cfg(unix)'.dependencies]\nztsa-idp.workspace = true", &["must not name ztsa-idp"]);
    one("ztsa-proto", "[dependencies]\nztsa-net = \"1\"\ntokio = \"1\"", &["tokio: what crosses", "name ztsa-net"]);
    one("ztsa-gateway", "[dependencies]\nztsa-idp.workspace = true", &["only as an optional dependency"]);
    one("ztsa-gateway", "[features]\nfull = [\"dep:ztsa-idp\"]", &["feature full turns ztsa-idp on"]);
    one("ztsa-core", "[dependencies]\naxum = \"1\"", &["the client links no server code"]);
    one("ztsa-cli", "[dependencies]\nztsa-core = \"1\"\nztsa-net = \"1\"\nztsa-proto = \"1\"", &[]);
}

#[test]
fn a_wrong_module_order_is_found() {
    let lib = (
        "ztsa-core/src/lib.rs",
        "mod config;\n/// mod zero;\npub mod token;\npub(crate) mod client;\npub use client::Client;",
    );
    let one = |path: &str, text: &str, expected: &[&str]| planted(&[lib, (path, text)], expected);
    one("ztsa-core/src/config.rs", "use crate::token::X;", &["`config` names `token`"]);
    one(
        "ztsa-core/src/token/refresh.rs",
        "\n\nuse crate::{config::C, client::{Client}};",
        &["refresh.rs:3: `token` names"],
    );
    one("ztsa-core/src/token/refresh.rs", "fn f() { g(super::super::client::new()) }", &["`token` names `client`"]);
    one("ztsa-core/src/config.rs", "use super::token;", &["`config` names `token`"]);
    one("ztsa-core/src/token.rs", "use crate::Client;", &["goes round the order"]);
    one(
        "ztsa-core/src/client.rs",
        "use crate::{config, token}; // crate::nothing\nconst X: &str = \"crate::client\";",
        &[],
    );
    one(
        "ztsa-core/src/config.rs",
        "const X: char = '\"'; /* crate::client */ fn f<'a>() { r#\"crate::client\"#; }",
        &[],
    );
}

#[test]
fn a_wrong_name_length_or_call_is_found() {
    planted(&[("ztsa-net/src/relay/mod.rs", "")], &["never mod.rs"]);
    planted(&[("ztsa-net/src/util.rs", "")], &["`util` names no thing"]);
    planted(&[("ztsa-net/src/relay.rs", "mod helpers { }")], &["`mod helpers` names no thing"]);
    planted(&[("tests/e2e/main.rs", &"//\n".repeat(LINES + 1))], &["401 lines"]);
    planted(&[("ztsa-net/src/relay.rs", "fn f() { tokio::spawn(async {}); }")], &["relay.rs:1: a task belongs"]);
    planted(&[("ztsa-net/src/relay.rs", "use tokio::{task::{spawn}};")], &["a task belongs"]);
    planted(&[("ztsa-core/src/config.rs", "let home = std::env::var(\"HOME\");")], &["config.rs:1: the environment"]);
    planted(&[("ztsa-core/src/config.rs", "use std::env::var_os;")], &["the environment"]);
    planted(
        &[
            ("ztsa-net/src/task.rs", "fn f() { tokio::spawn(async {}); }"),
            ("ztsa-cli/src/env.rs", "fn f() { std::env::var(\"X\"); }"),
            ("ztsa-gateway/src/command/run.rs", "use std::env::var;"),
            (
                "ztsa-net/src/tls.rs",
                "/// `tokio::spawn` is not for us\nfn f() { \"std::env::var\"; task::spawn_blocking(f) }",
            ),
            ("xtask/src/main.rs", "fn f() { std::env::var(\"X\"); }"),
        ],
        &[],
    );
}
